"""The course of a day and of a week, and how far above or below it a series runs at present.

What is expected of a minute is its quarter of an hour on all days, with what its hour of the week differs from that, at
the level of the last hour: factors for counts, differences for values.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from streamgauge.anomaly.calendar import day_slots, week_slot
from streamgauge.anomaly.state import State
from streamgauge.types import Bools, Float64s

_DAY_DECAY = 2 ** (-1 / (7 * 15))
"""Of a quarter of an hour with each minute learned: half of what is known is of the last week."""
_WEEK_DECAY = 2 ** (-1 / (4 * 60))
"""Of an hour of the week with each minute: half is of the last four weeks."""
_LEVEL_DECAY = 2 ** (-1 / 45)
"""Slower, and a change of pace would be an anomaly; faster, and an anomaly would be a change of pace."""
_DAY_PRIOR = 0.5
"""In minutes, as which the series' mean counts in each quarter of an hour."""
_WEEK_PRIOR = 2.0
"""In minutes, as which all days count in each hour of the week; of counts at least as _FEW events."""
_FEW = 3.0
_SETTLED = 30.0
"""Minutes, as which a new level counts from the beginning: what is half believed would be an anomaly again at once."""
_LEAST_VARIATION = 0.05
_NEVER_THE_SAME = 0.1
"""Of what days may differ by, what remains when they were seen: no day is quite like the one a week ago."""
_OF_COURSE = 0.5
"""Days are taken to differ from one another by so much of what the hours of a day do, until they were seen."""


@dataclass(frozen=True)
class Place:
    """A minute in the day and in the week."""

    first: int
    second: int
    share: float
    hour: int

    @staticmethod
    def of(minute: int) -> "Place":
        return Place(*day_slots(minute), week_slot(minute))

    def of_day(self, sums: Any) -> Any:
        """Of sums by quarter of an hour."""
        return sums[self.first] * (1 - self.share) + sums[self.second] * self.share

    def between(self, two: Float64s) -> Float64s:
        return two[0] * (1 - self.share) + two[1] * self.share


class Season(Protocol):
    """`Counts` or `Values`. Uncertainty is a variance: relative to what is expected for counts, absolute for values."""

    def of_quarter(self, s: State, slot: int) -> tuple[Float64s, Float64s]:
        """What is expected in a quarter of an hour, and how uncertain that is."""
        ...

    def of_hour(self, s: State, hour: int) -> tuple[Float64s, Float64s]:
        """How an hour of the week differs from all days, and how uncertain that is."""
        ...

    def base(self, s: State, at: Place) -> tuple[Float64s, Float64s]:
        """What is expected by day and week alone, as it was known when quarter and hour began, and its uncertainty."""
        ...

    def at_level(self, s: State, base: Float64s) -> tuple[Float64s, Float64s]: ...

    def learn(self, s: State, at: Place, observed: Float64s, base: Float64s, which: Bools, day_known: Bools) -> None:
        """Of the series `which`. What a day of the week differs by can't be said before a day is known."""
        ...

    def settle(self, s: State, which: Bools) -> None:
        """Takes the level of the minutes in the ring for the new one."""
        ...

    def survey(self, s: State) -> None:
        """Sees anew how much each series changes in the course of a day."""
        ...


def turn(season: Season, s: State, at: Place, before: Place | None) -> None:
    """Where a quarter or an hour begins, takes what is known of it. What is learned meanwhile is for the next time: the
    level has it already, and it must not count twice. `before` is None where there was no minute before.
    """
    if before is None or before.first != at.first:
        if before is None:
            s.quarter[1], s.quarter_doubt[1] = season.of_quarter(s, at.first)
        s.quarter[0], s.quarter_doubt[0] = s.quarter[1], s.quarter_doubt[1]
        s.quarter[1], s.quarter_doubt[1] = season.of_quarter(s, at.second)
    if before is None or before.hour != at.hour:
        season.survey(s)
        s.hour[:], s.hour_doubt[:] = season.of_hour(s, at.hour)


class Counts:
    """Sums of events by sums of exposure, as of a Poisson process: few events say little, and are taken so."""

    _LEVEL_PRIOR = 5.0
    """In events, as which the season alone counts."""

    def of_quarter(self, s: State, slot: int) -> tuple[Float64s, Float64s]:
        return self._day(s, s.day_sum[slot], s.day_weight[slot]), 1 / (s.day_sum[slot] + 1.0)

    def of_hour(self, s: State, hour: int) -> tuple[Float64s, Float64s]:
        prior, seen = np.maximum(_WEEK_PRIOR * _mean(s), _FEW), s.week_weight[hour]
        unseen = prior / (seen + prior)
        few = (1 - unseen) ** 2 / (s.week_sum[hour] + 1.0)
        doubt = few + (s.variation * (unseen + _NEVER_THE_SAME)) ** 2 + s.week_spread[hour] ** 2
        return (s.week_sum[hour] + prior) / (seen + prior), doubt

    def base(self, s: State, at: Place) -> tuple[Float64s, Float64s]:
        return at.between(s.quarter) * s.hour, at.between(s.quarter_doubt) + s.hour_doubt

    def at_level(self, s: State, base: Float64s) -> tuple[Float64s, Float64s]:
        known = s.level_sum + self._LEVEL_PRIOR
        return base * (known / (s.level_weight + self._LEVEL_PRIOR)), 1 / known

    def learn(self, s: State, at: Place, observed: Float64s, base: Float64s, which: Bools, day_known: Bools) -> None:
        x = np.where(which, observed, 0.0)
        week, _ = self.of_hour(s, at.hour)
        day = self._day(s, at.of_day(s.day_sum), at.of_day(s.day_weight))
        _learn_day(s, at, x, np.where(which, week, 0.0), which)
        known = which & day_known
        _learn_week(s, at, np.where(known, x, 0.0), np.where(known, day, 0.0), known)
        _learn_level(s, x, np.where(which, base, 0.0))
        s.total += x
        s.seen += which

    def settle(self, s: State, which: Bools) -> None:
        base = np.maximum(s.base.sum(axis=0), 1e-9)
        weight = base * (_SETTLED / len(s.base))
        known = s.observed.sum(axis=0) / base * (weight + self._LEVEL_PRIOR)
        s.level_sum = np.where(which, np.maximum(known - self._LEVEL_PRIOR, 0.0), s.level_sum)
        s.level_weight = np.where(which, weight, s.level_weight)
        s.expected = np.where(which, self.at_level(s, s.base)[0], s.expected)

    def survey(self, s: State) -> None:
        s.variation = np.maximum(_LEAST_VARIATION, _OF_COURSE * _course(s) / np.maximum(_mean(s), 1e-9))

    def _day(self, s: State, events: Float64s, weight: Float64s) -> Float64s:
        # An event at least: one that comes at an hour that had none so far is no anomaly.
        mean = np.maximum(_mean(s), 1e-3)
        return (events + np.maximum(_DAY_PRIOR * mean, 1.0)) / (weight + np.maximum(_DAY_PRIOR, 1 / mean))


class Values:
    """Means of values, such as latencies and levels: differences add up."""

    _LEVEL_PRIOR = 3.0
    """In minutes, as which the season alone counts."""

    def of_quarter(self, s: State, slot: int) -> tuple[Float64s, Float64s]:
        weight = s.day_weight[slot]
        return self._day(s, s.day_sum[slot], weight), s.variance[0] / (weight + _DAY_PRIOR)

    def of_hour(self, s: State, hour: int) -> tuple[Float64s, Float64s]:
        seen = s.week_weight[hour]
        unseen = _WEEK_PRIOR / (seen + _WEEK_PRIOR)
        few = (1 - unseen) ** 2 * s.variance[0] / (seen + 1.0)
        doubt = few + (s.variation * (unseen + _NEVER_THE_SAME)) ** 2 + s.week_spread[hour] ** 2
        return s.week_sum[hour] / (seen + _WEEK_PRIOR), doubt

    def base(self, s: State, at: Place) -> tuple[Float64s, Float64s]:
        return at.between(s.quarter) + s.hour, at.between(s.quarter_doubt) + s.hour_doubt

    def at_level(self, s: State, base: Float64s) -> tuple[Float64s, Float64s]:
        known = s.level_weight + self._LEVEL_PRIOR
        return base + s.level_sum / known, s.variance[0] / known

    def learn(self, s: State, at: Place, observed: Float64s, base: Float64s, which: Bools, day_known: Bools) -> None:
        x = np.where(which, observed, 0.0)
        day = self._day(s, at.of_day(s.day_sum), at.of_day(s.day_weight))
        week, _ = self.of_hour(s, at.hour)
        one = which.astype(np.float64)
        _learn_day(s, at, x - week * one, one, which)
        known = which & day_known
        _learn_week(s, at, np.where(known, x - day, 0.0), known.astype(np.float64), known)
        _learn_level(s, x - base * one, one)
        s.total += x
        s.seen += which

    def settle(self, s: State, which: Bools) -> None:
        there = s.weight > 0
        off = np.where(there, s.observed - s.base, 0.0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        s.level_sum = np.where(which, off * (_SETTLED + self._LEVEL_PRIOR), s.level_sum)
        s.level_weight = np.where(which, _SETTLED, s.level_weight)
        s.expected = np.where(which, self.at_level(s, s.base)[0], s.expected)

    def survey(self, s: State) -> None:
        s.variation = _OF_COURSE * _course(s)

    def _day(self, s: State, total: Float64s, weight: Float64s) -> Float64s:
        return (total + _DAY_PRIOR * _mean(s)) / (weight + _DAY_PRIOR)


def _mean(s: State) -> Float64s:
    return s.total / np.maximum(s.seen, 1.0)


def _course(s: State) -> Float64s:
    """The standard deviation of the day's quarters of an hour, of those that were seen."""
    seen = s.day_weight > 0
    n = np.maximum(seen.sum(axis=0), 1)
    quarters = np.divide(s.day_sum, s.day_weight, out=np.zeros(s.day_sum.shape), where=seen)
    mean = quarters.sum(axis=0) / n
    return np.sqrt(np.where(seen, (quarters - mean) ** 2, 0.0).sum(axis=0) / n)


def _learn_day(s: State, at: Place, value: Float64s, exposure: Float64s, which: Bools) -> None:
    for slot, share in ((at.first, 1 - at.share), (at.second, at.share)):
        kept = np.where(which, _DAY_DECAY**share, 1.0)
        s.day_sum[slot] = s.day_sum[slot] * kept + share * value
        s.day_weight[slot] = s.day_weight[slot] * kept + share * exposure


def _learn_week(s: State, at: Place, value: Float64s, exposure: Float64s, which: Bools) -> None:
    kept = np.where(which, _WEEK_DECAY, 1.0)
    s.week_sum[at.hour] = s.week_sum[at.hour] * kept + value
    s.week_weight[at.hour] = s.week_weight[at.hour] * kept + exposure
    s.week_spread[at.hour] *= kept


def _learn_level(s: State, value: Float64s, exposure: Float64s) -> None:
    """It grows old also while nothing is learned, and then is less sure."""
    s.level_sum = s.level_sum * _LEVEL_DECAY + value
    s.level_weight = s.level_weight * _LEVEL_DECAY + exposure
