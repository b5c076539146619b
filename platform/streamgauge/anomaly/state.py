"""What is known of each series: arrays of one column a series, of a size that does not grow with time."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from streamgauge.anomaly.calendar import DAY_SLOTS, WEEK_SLOTS
from streamgauge.anomaly.tuning import SCALES
from streamgauge.types import Float32s, Float64s, Int64s

RING = max(SCALES)
SIDES = 2

_SLOTS = {"day": DAY_SLOTS, "week": WEEK_SLOTS}


@dataclass
class State:
    """Sums and weights are of observations that count less with age. Single precision where there is much of it, in
    memory too: so it makes no difference after which minute the state was stored and read.
    """

    day_sum: Float32s
    day_weight: Float32s
    week_sum: Float32s
    week_weight: Float32s
    week_spread: Float32s
    """What a person took for normal in that hour of the week, as so many times (counts) or so much (values) more."""
    quarter: Float64s
    """What is expected in the quarters of an hour before and behind the present minute."""
    quarter_doubt: Float64s
    hour: Float64s
    """How the present hour of the week differs from all days."""
    hour_doubt: Float64s
    level_sum: Float64s
    level_weight: Float64s
    variation: Float64s
    """How much the series changes in the course of a day: for days of the week that were never seen."""
    total: Float64s
    born: Int64s
    """The first minute that was seen; -1 before it."""
    seen: Float64s
    """How many observations there were."""
    usual: Float64s
    """Of how many values an observation is usually made."""
    judged: Float64s
    """How many of them were looked at for peaks."""
    observed: Float64s
    """The last minutes, here and below, by minute modulo their number."""
    expected: Float64s
    base: Float64s
    """What is expected by the season alone."""
    taken: Float64s
    """What will be learned of it; NaN for nothing."""
    weight: Float64s
    uncertainty: Float64s
    variance: Float64s
    """By scale, as `measured`: of how many deviations it was learned."""
    measured: Float64s
    peaks: Float64s
    """By scale and side, as `tails`."""
    tails: Float64s
    missing: Float64s
    """Events that were expected since the last one."""
    silence: Float64s
    """In so many minutes."""
    pace: Float64s
    """The level when the silence began, how uncertain that was, and how much events came in bursts until then."""
    pace_doubt: Float64s
    pace_bursts: Float64s
    began: Int64s
    """The first minute of what is wrong now; -1 where nothing is. Here and in `born` and `last` a minute is a step."""
    last: Int64s
    """The latest minute that was found wrong."""
    side: Int64s
    """1 above what is expected, -1 below."""
    score: Float64s
    """The worst of what is wrong now."""

    @property
    def size(self) -> int:
        return len(self.born)

    def grown(self, more: int) -> "State":
        new = empty(more)
        return State(**{n: np.concatenate([a, b], axis=-1) for (n, a), (_, b) in zip(self, new, strict=True)})

    def kept(self, which: Any) -> "State":
        """A copy, of the series with those numbers, or where the mask is true."""
        return State(**{n: np.array(a[..., which], order="C") for n, a in self})

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((f.name, getattr(self, f.name)) for f in fields(self))


def slots_of(name: str) -> int | None:
    """How many slots of the calendar a part has; None for one that has none."""
    return _SLOTS.get(name.partition("_")[0])


def empty(series: int) -> State:
    """Of series of which nothing is known."""

    def zeros(*shape: int) -> Float64s:
        return np.zeros((*shape, series))

    def slots(n: int) -> Float32s:
        return np.zeros((n, series), np.float32)

    ring, scales = RING, len(SCALES)
    return State(
        day_sum=slots(DAY_SLOTS),
        day_weight=slots(DAY_SLOTS),
        week_sum=slots(WEEK_SLOTS),
        week_weight=slots(WEEK_SLOTS),
        week_spread=slots(WEEK_SLOTS),
        quarter=zeros(2),
        quarter_doubt=zeros(2),
        hour=zeros(),
        hour_doubt=zeros(),
        level_sum=zeros(),
        level_weight=zeros(),
        variation=zeros(),
        total=zeros(),
        born=np.full(series, -1),
        seen=zeros(),
        usual=zeros(),
        judged=zeros(),
        observed=zeros(ring),
        expected=zeros(ring),
        base=zeros(ring),
        taken=np.full((ring, series), np.nan),
        weight=zeros(ring),
        uncertainty=zeros(ring),
        variance=np.ones((scales, series)),
        measured=zeros(scales),
        peaks=zeros(scales, SIDES),
        tails=zeros(scales, SIDES),
        missing=zeros(),
        silence=zeros(),
        pace=zeros(),
        pace_doubt=zeros(),
        pace_bursts=zeros(),
        began=np.full(series, -1),
        last=np.full(series, -1),
        side=np.zeros(series, np.int64),
        score=zeros(),
    )
