"""Arrays whose equal values stand in long runs, as the partitions of fetched records do."""

import numpy as np

from streamgauge.types import Int64s


def first_rows(values: Int64s) -> dict[int, int]:
    """Where each value stands first: much faster than sorting them."""
    if not len(values):
        return {}
    starts = np.concatenate(([0], np.flatnonzero(np.diff(values)) + 1))[::-1]
    return dict(zip(values[starts].tolist(), starts.tolist(), strict=True))
