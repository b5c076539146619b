"""What holds of the model whatever the series do."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.anomaly.calendar import DAY_SLOTS, WEEK_SLOTS, day_slots, week_slot
from streamgauge.anomaly.detector import WARM_UP, Detector
from streamgauge.anomaly.deviation import CountNoise, ValueNoise
from streamgauge.anomaly.episodes import SHIFT_AFTER, Ended, Found, follow
from streamgauge.anomaly.state import RING, State, empty
from streamgauge.anomaly.stored import SLOTS, dump_recent, dump_slot, learned, load
from streamgauge.anomaly.tuning import SCALES, Direction, Tuning
from streamgauge.types import Float64s
from tests.examples import examples
from tests.seasonal import FIRST

MINUTES = st.integers(0, 60_000_000)
NOW = FIRST + WARM_UP + 60


def watch(detector: Detector, s: State, rows: Float64s, first: int = NOW) -> list[Found | Ended]:
    return [
        change
        for i, row in enumerate(rows)
        for change in follow(detector, s, first + i, detector.judge(s, first + i, row))
    ]


def quiet(minutes: int, series: int = 1, mean: float = 100.0, seed: int = 0) -> Float64s:
    return np.random.default_rng(seed).poisson(mean, (minutes, series)).astype(np.float64)


def warm(series: int = 1, mean: float = 100.0, *, counts: bool = True) -> State:
    """At NOW, after quiet minutes since FIRST."""
    return _warm(series, mean, counts).kept(slice(None))


@cache
def _warm(series: int, mean: float, counts: bool) -> State:
    s = empty(series)
    assert not watch(Detector(Tuning(), counts=counts), s, quiet(NOW - FIRST, series, mean, 1), FIRST)
    return s


def found(changes: Sequence[Found | Ended]) -> list[Found]:
    return [c for c in changes if isinstance(c, Found)]


@given(MINUTES)
def test_every_minute_lies_between_two_quarters_that_follow_one_another(minute: int) -> None:
    first, second, share = day_slots(minute)
    assert second == (first + 1) % DAY_SLOTS
    assert 0 <= share < 1
    assert 0 <= week_slot(minute) < WEEK_SLOTS
    assert (week_slot(minute), day_slots(minute)) == (week_slot(minute + 10080), day_slots(minute + 10080))


def test_weeks_begin_on_monday() -> None:
    assert week_slot(4 * 1440) == 0  # 1970-01-05 was one


@given(st.floats(0.01, 1e7), st.floats(-9, 9))
def test_a_count_at_the_bound_has_the_deviation_of_the_bound(expected: float, deviation: float) -> None:
    noise, one = CountNoise(), np.ones(1)
    mean = np.array([expected])
    bound = noise.bound(mean, one, np.array([deviation]))
    assert (bound[0] >= expected) == (deviation >= 0) or abs(bound[0] - expected) <= 0.51
    if bound[0] > 0 and abs(deviation) > 0.5:
        assert noise.deviation(bound, mean, one)[0] == pytest.approx(deviation, rel=0.02, abs=0.05)


@given(st.floats(-1e6, 1e6), st.integers(1, 10), st.floats(-9, 9))
def test_a_value_at_the_bound_has_the_deviation_of_the_bound(expected: float, minutes: int, deviation: float) -> None:
    noise = ValueNoise()
    arrays = np.array([expected]), np.array([float(minutes)])
    bound = noise.bound(*arrays, np.array([deviation]))
    assert noise.deviation(bound, *arrays)[0] == pytest.approx(deviation, abs=1e-6)


@examples(200)
@given(st.integers(1, 119), st.booleans(), st.integers(0, 99))
def test_stored_and_read_at_any_minute_it_says_the_same(cut: int, counts: bool, seed: int) -> None:
    detector = Detector(Tuning(), counts=counts)
    rows = quiet(120, 3, 20.0, seed)
    rows[-30:, 1] *= 3
    if not counts:
        rows[np.random.default_rng(seed).random(rows.shape) < 0.2] = np.nan
    whole, s = warm(3, 20.0, counts=counts), warm(3, 20.0, counts=counts)
    expected = watch(detector, whole, rows)
    slots = {slot: dump_slot(s, slot) for slot in range(SLOTS)}
    got = watch(detector, s, rows[:cut])
    slots |= {slot: dump_slot(s, slot) for slot in learned(NOW, NOW + cut - 1)}
    s = load(dump_recent(s), slots)
    got += watch(detector, s, rows[cut:], NOW + cut)
    assert got == expected
    for (name, a), (_, b) in zip(whole, s, strict=True):
        assert np.array_equal(a, b, equal_nan=True), name


@examples(200)
@given(st.permutations(range(4)), st.integers(0, 99))
def test_each_series_is_judged_by_itself(order: list[int], seed: int) -> None:
    rows = quiet(40, 4, 30.0, seed)
    rows[-15:, 2] *= 4
    detector = Detector(Tuning(), counts=True)
    straight = watch(detector, warm(4, 30.0), rows)
    shuffled = watch(detector, warm(4, 30.0).kept(order), rows[:, order])
    assert {(f.series, f.minute, f.score) for f in found(straight)} == {
        (order[f.series], f.minute, f.score) for f in found(shuffled)
    }
    assert {f.series for f in found(straight)} == {2}


@examples(400)
@given(st.sampled_from([0.0, 0.3, 2.5, 6.0]), st.integers(0, 999))
def test_what_is_found_lies_outside_its_band(factor: float, seed: int) -> None:
    rows = np.floor(quiet(12, 1, 80.0, seed) * factor)
    changes = found(watch(Detector(Tuning(), counts=True), warm(1, 80.0), rows))
    assert changes
    for f in changes:
        assert f.side == (1 if factor > 1 else -1)
        assert f.minutes in SCALES or f.kind == "gap"
        assert f.low <= f.expected <= f.high
        assert f.observed < f.low if f.side < 0 else f.observed > f.high
        assert f.score >= 1


def test_an_anomaly_begins_once_and_ends_when_the_series_is_back() -> None:
    rows = quiet(60)
    rows[:20] *= 0.4
    changes = watch(Detector(Tuning(), counts=True), warm(), rows)
    (end,) = (c for c in changes if isinstance(c, Ended))
    assert not end.shifted
    assert NOW + 19 <= end.minute <= NOW + 20 + RING
    assert NOW <= found(changes)[0].minute <= NOW + 1
    assert all(f.minute < end.minute for f in found(changes))


@pytest.mark.parametrize("counts", [True, False])
def test_what_goes_on_is_the_new_level(counts: bool) -> None:
    changes = watch(Detector(Tuning(), counts=counts), warm(counts=counts), np.floor(quiet(200) * 2.0))
    (end,) = (c for c in changes if isinstance(c, Ended))
    assert end.shifted
    assert NOW + SHIFT_AFTER <= end.minute <= NOW + SHIFT_AFTER + RING
    assert changes[-1] == end


def test_a_series_that_is_nearly_always_nothing_is_not_accused_for_ever() -> None:
    """Of a series with a value now and then, hardly any of the last day's is news."""
    rng = np.random.default_rng(3)
    rows = np.where(rng.random((6 * 1440, 1)) < 0.02, rng.uniform(500, 1500, (6 * 1440, 1)), 0.0)
    changes = found(watch(Detector(Tuning(), counts=False), empty(1), rows, FIRST))
    begun = [f for f in changes if f.minute == f.began]
    assert all(f.score < 1e4 for f in begun)
    assert len([f for f in begun if f.minute >= FIRST + 5 * 1440]) <= 5


def test_a_rare_event_that_stops_coming_is_a_gap() -> None:
    gap = found(watch(Detector(Tuning(), counts=True), warm(mean=2.0), np.zeros((60, 1))))[0]
    assert (gap.kind, gap.side, gap.observed) == ("gap", -1, 0)
    assert 8 <= gap.minutes <= 40
    assert 1.5 <= gap.expected <= 2.5


def test_a_silence_lasts_until_events_come_again() -> None:
    rows = quiet(300)
    rows[:200] = 0
    changes = watch(Detector(Tuning(), counts=True), warm(), rows)
    (end,) = (c for c in changes if isinstance(c, Ended))
    assert (end.minute, end.shifted) == (NOW + 200, False)


def test_an_anomaly_is_not_learned() -> None:
    """What is expected after it is what was expected before."""
    rows = quiet(60)
    detector, one, other = Detector(Tuning(), counts=True), warm(), warm()
    watch(detector, one, rows)
    rows[:30] *= 5
    watch(detector, other, rows)
    here = detector.step_of(NOW + 59) % RING
    assert other.expected[here] == pytest.approx(one.expected[here], rel=0.03)


@pytest.mark.parametrize(("direction", "sides"), [("both", {-1, 1}), ("up", {1}), ("down", {-1})])
def test_only_the_wanted_direction_is_looked_at(direction: Direction, sides: set[int]) -> None:
    rows = quiet(10, 2)
    rows[:, 0] *= 4
    rows[:, 1] = 0
    changes = watch(Detector(Tuning(direction=direction), counts=True), warm(2), rows)
    assert {f.side for f in found(changes)} == sides


def test_nothing_is_judged_before_its_day_was_seen() -> None:
    rows = quiet(WARM_UP)
    rows[WARM_UP // 2 :: 100] *= 50
    assert not watch(Detector(Tuning(), counts=True), empty(1), rows, FIRST)


def test_the_state_does_not_grow() -> None:
    s = warm(2)
    before = {name: array.shape for name, array in s}
    watch(Detector(Tuning(), counts=True), s, quiet(500, 2))
    assert {name: array.shape for name, array in s} == before


def test_few_values_say_less_than_usual() -> None:
    """A mean of a hundredth of the values strays more, and is no anomaly."""
    detector, full, few = Detector(Tuning(), counts=False), warm(counts=False), warm(counts=False)
    odd, usual = np.array([200.0]), np.full(1, 1000.0)
    for s in (full, few):
        s.usual[:] = usual
    assert detector.judge(full, NOW, odd, usual).side[0] == 1
    assert detector.judge(few, NOW, odd, usual / 100).side[0] == 0


def test_what_a_person_expects_is_no_anomaly_a_week_later() -> None:
    rows = quiet(20)
    rows[5:10] *= 3
    detector = Detector(Tuning(), counts=True)
    for expected in (False, True):
        s = warm()
        first = found(watch(detector, s, rows))[0]
        if expected:
            detector.expect(s, 0, range(first.began, NOW + 20), first.observed / first.expected - 1)
        watch(detector, s, quiet(7 * 1440 - 20), NOW + 20)
        again = found(watch(detector, s, rows, NOW + 7 * 1440))
        assert bool(again) is not expected
