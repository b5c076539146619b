"""Judges one minute of many series, and learns from the minute that left the ring."""

from dataclasses import dataclass

import numpy as np

from streamgauge.anomaly import spread, tail
from streamgauge.anomaly.deviation import CountNoise, Noise, ValueNoise
from streamgauge.anomaly.season import Counts, Place, Season, Values, turn
from streamgauge.anomaly.state import RING, State
from streamgauge.anomaly.tuning import SCALES, Tuning
from streamgauge.types import Bools, Float64s, Int64s

_DAY = 1440
WARM_UP = _DAY + 180
"""Minutes before a series is judged: its day was seen once, and its level is by that day."""
_FEWEST = 30
"""Values that it must have had by then."""
_LEAST_MEMORY = 240.0
"""In minutes, of the spread: the first minutes of something wrong must not become the measure for the next."""
_TAKEN_AS = 3.0
"""Deviations, as which a person's word makes an anomaly count: below every limit."""
_MOST_SCORE = 1000.0
"""Of a series that never moved, anything would be as far out as one likes."""
_STILL = 0.25
"""Of what several minutes are off together, the last must be so much, or it is over."""
_FORGOTTEN_DAILY = 2 ** (-1 / 14)
"""Of peaks: half of what is known of the tail is of two weeks."""


@dataclass(frozen=True)
class Judgement:
    """Of one minute; arrays of one element a series. `side` is 1 above the band, -1 below it, 0 within or not judged.

    `score` is the deviation by the limit: from 1 on it is an anomaly. `scale`: the place in SCALES of the minutes that
    were judged together.
    """

    judged: Bools
    side: Int64s
    score: Float64s
    scale: Int64s
    gap: Bools
    limit: Float64s
    """By scale and side: deviations from which on it is no chance."""


@dataclass(frozen=True)
class Band:
    """What is expected of a minute, and between what it may lie: of several judged together, their mean."""

    observed: Float64s
    expected: Float64s
    low: Float64s
    high: Float64s


class Detector:
    """Of counts, or of values. It keeps nothing: what it knows of the series is in their state, which it changes."""

    def __init__(self, tuning: Tuning, *, counts: bool, step: int = 1) -> None:
        """`step`: minutes from one observation to the next."""
        self._tuning = tuning
        self._counts = counts
        self._step = step
        self._season: Season = Counts() if counts else Values()
        self._noise: Noise = CountNoise() if counts else ValueNoise()
        self._warm_up = WARM_UP // step

    def step_of(self, minute: int) -> int:
        return minute // self._step

    def minute_of(self, step: int) -> int:
        return step * self._step

    def judge(self, s: State, minute: int, observed: Float64s, number: Float64s | None = None) -> Judgement:
        """`observed` of each series, NaN where there is nothing, each the mean of a `number` of values. Minutes must
        come one after another.
        """
        now = self.step_of(minute)
        here = now % RING
        there = ~np.isnan(observed)
        s.born = np.where((s.born < 0) & there, now, s.born)
        self._learn(s, minute, now)
        if minute % _DAY == 0:
            s.peaks *= _FORGOTTEN_DAILY
            s.tails *= _FORGOTTEN_DAILY
        at = Place.of(minute)
        turn(self._season, s, at, Place.of(minute - self._step))
        base, uncertain = self._season.base(s, at)
        expected, more = self._season.at_level(s, base)
        known = there.astype(np.float64) if number is None else self._weight(s, there, number)
        s.observed[here], s.expected[here], s.base[here] = np.where(there, observed, 0.0), expected, base
        s.weight[here], s.uncertainty[here] = known, uncertain + more
        raw, noise, doubt, off = self._deviations(s, here)
        z = raw / np.sqrt(noise + doubt)
        warm = self._warm(s, now)
        self._take(s, here, observed, z, warm)
        verdict = self._verdict(s, here, there & warm, z, off)
        calm = there & (verdict.side == 0) & (now - RING > s.last)
        self._watch_spread(s, here, raw, noise, doubt, calm, warm)
        self._watch_tail(s, z, calm & warm)
        return verdict

    def resume(self, s: State, minute: int) -> None:
        """Goes on at `minute` after others that were left out: what was not learned yet is not learned."""
        s.taken[:], s.weight[:] = np.nan, 0.0
        s.observed[:], s.expected[:], s.base[:], s.uncertainty[:] = 0.0, 0.0, 0.0, 0.0
        s.missing[:], s.silence[:] = 0.0, 0.0
        turn(self._season, s, Place.of(minute - self._step), None)

    def band(self, s: State, minute: int, scale: int, limit: Float64s, which: Int64s) -> Band:
        """Of these series, as they were judged last; `scale` is a place in SCALES."""
        here = self.step_of(minute) % RING
        rows = (here - np.arange(SCALES[scale])) % RING
        some = s.kept(which)
        observed, expected, minutes = _together(some, rows)
        wide = np.sqrt(
            np.maximum(some.variance[[0, scale]].max(axis=0), self._least(some, expected, minutes))
            + self._noise.doubt(expected, minutes, some.uncertainty[here])
        )
        known = np.maximum(some.weight[rows].sum(axis=0), 1e-9)
        down, up = limit[scale, 0][which], limit[scale, 1][which]
        low, high = (self._noise.bound(expected, minutes, d) / known for d in (-down * wide, up * wide))
        return Band(observed / known, expected / known, low, high)

    def gap_band(self, s: State, limit: Float64s, which: Int64s) -> Band:
        """Of the whole silence: an event at least should have come."""
        some = s.kept(which)
        most = limit[0, 1][which] * np.sqrt(np.maximum(some.variance[0], 1.0))
        high = self._noise.bound(some.missing, some.silence, most)
        per = np.maximum(some.silence, 1.0)
        return Band(np.zeros(len(which)), some.missing / per, 1 / per, high / per)

    def settle(self, s: State, which: Bools) -> None:
        """Takes the present level for normal, and what was seen of it."""
        self._season.settle(s, which)
        s.taken = np.where(which & (s.weight > 0), s.observed, s.taken)
        s.missing, s.pace = np.where(which, 0.0, s.missing), np.where(which, 0.0, s.pace)

    def expect(self, s: State, series: int, minutes: range, strayed: float) -> None:
        """A person says that it is normal for the series to have `strayed` as far in those minutes: as a part of what
        was expected for counts, in its own unit for values. Then so it is in these hours of the week.
        """
        for hour in {Place.of(minute).hour for minute in minutes}:
            spread = max(float(s.week_spread[hour, series]), abs(strayed) / _TAKEN_AS)
            s.week_spread[hour, series] = spread
            if Place.of(minutes[-1]).hour == hour:
                s.hour_doubt[series] += spread**2
        if s.began[series] >= 0:
            self.settle(s, np.arange(s.size) == series)

    def _weight(self, s: State, there: Bools, number: Float64s) -> Float64s:
        """Less than 1 where there are fewer values than usual: their mean strays more."""
        usual = np.maximum(s.usual, 1.0)
        weight = np.where(there, np.sqrt(np.minimum(1.0, number / usual)), 0.0)
        s.usual += np.where(there, (number - s.usual) / np.minimum(s.seen + 1, _DAY), 0.0)
        return weight

    def _learn(self, s: State, minute: int, now: int) -> None:
        """Of the minute that is RING minutes old, unless something was wrong then or since: so an anomaly does not
        become what is expected, not even one that is only seen after some minutes.
        """
        old, base = s.taken[now % RING], s.base[now % RING]
        which = ~np.isnan(old) & (now - RING > s.last)
        day_known = now - RING - s.born >= _DAY // self._step
        self._season.learn(s, Place.of(minute - RING * self._step), old, base, which, day_known)

    def _deviations(self, s: State, here: int) -> tuple[Float64s, ...]:
        """By scale, with their variances, of the noise and of what is expected; and how far off a minute is."""
        raw, noise, doubt, off = np.empty((4, len(SCALES), s.size))
        for k, scale in enumerate(SCALES):
            observed, expected, minutes = _together(s, (here - np.arange(scale)) % RING)
            # several minutes together are no surer than one, whatever little was seen of them says
            least = np.maximum(s.variance[0], self._least(s, expected, minutes))
            noise[k] = np.maximum(s.variance[k], least)
            doubt[k] = self._noise.doubt(expected, minutes, s.uncertainty[here])
            raw[k] = self._noise.deviation(observed, expected, minutes)
            off[k] = (observed - expected) / np.maximum(minutes, 1)
        return raw, noise, doubt, off

    def _least(self, s: State, expected: Float64s, minutes: Float64s) -> Float64s | float:
        return self._noise.least(expected / np.maximum(minutes, 1), s.total / np.maximum(s.seen, 1))

    def _take(self, s: State, here: int, observed: Float64s, z: Float64s, warm: Bools) -> None:
        """What will be learned: what strays far counts as CLIP deviations, once it can be said what is far."""
        share = np.where(warm, np.minimum(1.0, spread.CLIP / np.maximum(np.abs(z[0]), 1e-9)), 1.0)
        s.taken[here] = s.expected[here] + (observed - s.expected[here]) * share

    def _warm(self, s: State, now: int) -> Bools:
        return (s.born >= 0) & (now - s.born >= self._warm_up) & (s.seen >= _FEWEST)

    def _verdict(self, s: State, here: int, judged: Bools, z: Float64s, off: Float64s) -> Judgement:
        t = self._tuning
        limit = tail.limits(t.deviations, t.probability, s.peaks, s.tails, s.judged)
        above = z > 0
        # what is over is no anomaly any more, though it is still among the minutes judged together
        lasting = np.greater(off[0], _STILL * off) == above
        wanted = np.where(above, t.up, t.down)
        score = np.where(judged & lasting & wanted, np.abs(z) / np.where(above, limit[:, 1], limit[:, 0]), 0.0)
        score = np.minimum(score, _MOST_SCORE)
        scale = score.argmax(axis=0)
        worst = np.take_along_axis(score, scale[None], axis=0)[0]
        side = np.where(worst >= 1, np.where(np.take_along_axis(above, scale[None], axis=0)[0], 1, -1), 0)
        gap = np.zeros(s.size, np.bool_)
        if self._counts:
            missed = self._missed(s, here, judged) / t.gap
            gap = judged & (missed >= 1) & t.down
            side = np.where(gap, -1, side)
            worst = np.where(gap, np.maximum(worst, missed), worst)
        return Judgement(judged, side, worst, scale, gap, limit)

    def _missed(self, s: State, here: int, judged: Bools) -> Float64s:
        """How many events should have come since the last one, if they came one by one: at the level of that time, as a
        silence that is only seen after an hour would have become normal by then.
        """
        silent = judged & (s.observed[here] == 0)
        s.pace = np.where(silent, s.pace, s.expected[here] / np.maximum(s.base[here], 1e-9))
        s.pace_doubt = np.where(silent, s.pace_doubt, s.uncertainty[here] - s.quarter_doubt[0])
        s.missing = np.where(silent, s.missing + s.base[here] * s.pace, 0.0)
        s.silence = np.where(silent, s.silence + 1, 0.0)
        s.pace_bursts = np.where(silent, s.pace_bursts, s.variance.max(axis=0))
        # what is not known of one quarter of an hour is not known of the next, independently of it
        quarters = np.maximum(s.silence * self._step / 15, 1.0)
        doubt = np.maximum(s.pace_doubt, 0.0) + s.quarter_doubt[0] / quarters
        return s.missing / (np.maximum(s.pace_bursts, 1.0) + s.missing * doubt)

    def _watch_spread(
        self, s: State, here: int, raw: Float64s, noise: Float64s, doubt: Float64s, which: Bools, warm: Bools
    ) -> None:
        """The more of a deviation comes of what was expected being uncertain, the less it says of the noise."""
        share = noise / (noise + doubt)
        squares, weight = raw**2 * share, np.where(which, share**2, 0.0)
        if not warm.all():
            step, there = self._from_the_last(s, here)
            squares, weight = np.where(warm, squares, step), np.where(warm, weight, which & there)
        memory = np.maximum(s.measured + 1, np.where(warm, _LEAST_MEMORY, 1.0))
        s.variance = spread.updated(s.variance, squares, weight, memory)
        s.measured += weight

    def _from_the_last(self, s: State, here: int) -> tuple[Float64s, Bools]:
        """The noise from one minute to the next, while it is not known what to expect; and where there were two."""
        now, last = s.observed[here], s.observed[here - 1]
        one = np.ones(s.size)
        return 2 * self._noise.deviation(now, (now + last) / 2, one) ** 2, (s.weight[here] > 0) & (
            s.weight[here - 1] > 0
        )

    def _watch_tail(self, s: State, z: Float64s, which: Bools) -> None:
        s.judged += which
        peak = which & (np.abs(z) > tail.THRESHOLD)
        if peak.any():
            # several minutes together are judged with each of them
            share = peak / np.array(SCALES, np.float64)[:, None]
            beyond = share * tail.beyond(z)
            for side, of_side in ((0, z < 0), (1, z > 0)):
                s.peaks[:, side] += share * of_side
                s.tails[:, side] += beyond * of_side


def _together(s: State, rows: Int64s) -> tuple[Float64s, Float64s, Float64s]:
    """Sums of what was observed and expected in those minutes that have a value, and how many they are."""
    weight = s.weight[rows]
    observed, expected = (s.observed[rows] * weight).sum(axis=0), (s.expected[rows] * weight).sum(axis=0)
    return observed, expected, (weight > 0).sum(axis=0).astype(np.float64)
