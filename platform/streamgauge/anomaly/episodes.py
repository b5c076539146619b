"""From verdicts minute by minute to anomalies: each begins, gets worse, and ends."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from streamgauge.anomaly import tail
from streamgauge.anomaly.detector import Band, Detector, Judgement
from streamgauge.anomaly.state import RING, State
from streamgauge.anomaly.tuning import SCALES
from streamgauge.types import Bools, Int64s

Kind = Literal["peak", "gap"]

SHIFT_AFTER = 45
"""Minutes after which a new level is the normal one."""
GAP_FOR = 1440
"""Minutes after which a silence is."""
_BRIEF = 3
_MOST = 2.0
"""A single moment counts in the tail as if it had been this many times the limit, at most."""


@dataclass(frozen=True)
class Found:
    """An anomaly of the series with that number, at `minute`; or a worse minute of it. Numbers are means of the
    `minutes` up to and including this one, which were judged together.
    """

    series: int
    began: int
    minute: int
    minutes: int
    kind: Kind
    side: int
    observed: float
    expected: float
    low: float
    high: float
    score: float


@dataclass(frozen=True)
class Ended:
    """From `minute` on the series is as expected, or `shifted`: what it does now is taken for normal."""

    series: int
    began: int
    minute: int
    shifted: bool


def follow(detector: Detector, s: State, minute: int, verdict: Judgement) -> Iterator[Found | Ended]:
    """What a minute changes. The state keeps which anomalies are under way."""
    now = detector.step_of(minute)
    wrong, under_way = verdict.side != 0, s.began >= 0
    if not (wrong.any() or under_way.any()):
        return
    turned = wrong & under_way & (s.side != verdict.side)
    calm = under_way & ~wrong & (now - s.last >= RING)
    yield from _end(detector, s, calm | turned, verdict, s.last + 1, False)
    under_way = s.began >= 0
    begins = wrong & ~under_way
    s.began = np.where(begins, now, s.began)
    s.side = np.where(wrong, verdict.side, s.side)
    s.last = np.where(wrong, now, s.last)
    worse = begins | (wrong & (verdict.score > s.score))
    s.score = np.where(worse, verdict.score, s.score)
    yield from _found(detector, s, minute, verdict, np.flatnonzero(worse))
    lasts = now - s.began
    settled = wrong & (lasts >= np.where(s.silence >= RING, GAP_FOR, SHIFT_AFTER))
    if settled.any():
        detector.settle(s, settled)
        yield from _end(detector, s, settled, verdict, np.full(s.size, now), True)
        s.last = np.where(settled, now - RING, s.last)


def _end(
    detector: Detector, s: State, which: Bools, verdict: Judgement, steps: Int64s, shifted: bool
) -> Iterator[Ended]:
    for series in np.flatnonzero(which):
        began = detector.minute_of(int(s.began[series]))
        yield Ended(int(series), began, detector.minute_of(int(steps[series])), shifted)
    brief = which & (s.last - s.began < _BRIEF)
    if brief.any():
        # a series that is accused of a moment again and again is one whose moments say little
        for side, of_side in ((0, s.side < 0), (1, s.side > 0)):
            reached = verdict.limit[:, side] * np.minimum(s.score, _MOST)
            s.peaks[:, side] += brief & of_side
            s.tails[:, side] += (brief & of_side) * tail.beyond(reached)
    s.began = np.where(which, -1, s.began)
    s.score = np.where(which, 0.0, s.score)


def _found(detector: Detector, s: State, minute: int, verdict: Judgement, which: Int64s) -> Iterator[Found]:
    gaps = verdict.gap[which]
    for scale in np.unique(verdict.scale[which[~gaps]]):
        of_scale = which[~gaps & (verdict.scale[which] == scale)]
        band = detector.band(s, minute, int(scale), verdict.limit, of_scale)
        minutes = np.full(len(of_scale), SCALES[scale], np.int64)
        yield from _rows(detector, s, minute, verdict, of_scale, band, minutes, "peak")
    silent = which[gaps]
    if silent.size:
        minutes = s.silence[silent].astype(np.int64)
        band = detector.gap_band(s, verdict.limit, silent)
        yield from _rows(detector, s, minute, verdict, silent, band, minutes, "gap")


def _rows(
    detector: Detector,
    s: State,
    minute: int,
    verdict: Judgement,
    which: Int64s,
    band: Band,
    minutes: Int64s,
    kind: Kind,
) -> Iterator[Found]:
    for i, series in enumerate(which):
        yield Found(
            series=int(series),
            began=detector.minute_of(int(s.began[series])),
            minute=minute,
            minutes=int(minutes[i]),
            kind=kind,
            side=int(verdict.side[series]),
            observed=float(band.observed[i]),
            expected=float(band.expected[i]),
            low=float(band.low[i]),
            high=float(band.high[i]),
            score=float(verdict.score[series]),
        )
