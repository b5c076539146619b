"""When minutes become complete: a watermark that passes a minute's end says that no more of its events are expected."""

import numpy as np

from streamgauge.rollup.plan import MINUTE_MS
from streamgauge.types import Int64s

_MOST = 60
"""A replay of a year passes half a million minutes in a step: the latest of them say as much, and cost nothing."""


def windows_completed(before: int | None, after: int | None) -> Int64s:
    """The ends of the minutes that a watermark passed on its way, the latest if there are many. All in epoch ms."""
    if before is None or after is None:
        return np.array([], np.int64)
    last = after // MINUTE_MS
    first = max(before // MINUTE_MS + 1, last - _MOST + 1)
    return np.arange(first, last + 1, dtype=np.int64) * MINUTE_MS
