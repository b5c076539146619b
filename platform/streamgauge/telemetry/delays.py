"""Delays as counts by upper bound, so that those of many commits and workers add up."""

import bisect
from collections.abc import Mapping

_STEP = 10 ** (1 / 10)
BOUNDS_MS = tuple(dict.fromkeys(round(10 * _STEP**i) for i in range(71)))
"""From 10 ms to 28 hours, each a quarter more than the one before: so exact are the percentiles."""


def bound_ms(delay_ms: float) -> int:
    """The least bound that is not below the delay; the last one stands for all that is longer."""
    return BOUNDS_MS[min(bisect.bisect_left(BOUNDS_MS, delay_ms), len(BOUNDS_MS) - 1)]


def percentile_ms(events: Mapping[int, int], share: float) -> int | None:
    """The bound within which this share of the events stayed. `events` by bound."""
    wanted, reached = share * sum(events.values()), 0
    for bound in sorted(events):
        reached += events[bound]
        if reached >= wanted:
            return bound
    return None
