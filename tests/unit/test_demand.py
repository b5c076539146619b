"""Which outdated hours are run now."""

from datetime import UTC, datetime, timedelta

from sensors.demand import PastRun, to_run
from streamgauge.dagster.attempts import LONGEST_WAIT
from streamgauge.dagster.hours import HOUR, HourRange

NOW = datetime(2026, 11, 5, 12, tzinfo=UTC)
H = [NOW - (20 - i) * HOUR for i in range(20)]
MINUTE = timedelta(minutes=1)
TOUCHED = NOW - 30 * MINUTE


def past(first: int, last: int, *, began: timedelta, ended: timedelta | None) -> PastRun:
    return PastRun(HourRange(H[first], H[last]), NOW - began, None if ended is None else NOW - ended)


def ranges(outdated: list[int], *runs: PastRun, longest: int = 168) -> list[tuple[int, int]]:
    found = to_run({H[i]: TOUCHED for i in outdated}, runs, NOW, longest)
    return [(H.index(r.first), H.index(r.last)) for r in found]


def test_exactly_the_due_hours_run_and_neighbours_together() -> None:
    assert ranges([3, 4, 5, 9]) == [(3, 5), (9, 9)]


def test_a_run_has_a_longest_length() -> None:
    assert ranges([0, 1, 2, 3, 4], longest=2) == [(0, 1), (2, 3), (4, 4)]


def test_hours_that_a_run_is_at_are_left_alone() -> None:
    assert ranges([3, 4, 5], past(4, 4, began=MINUTE, ended=None)) == [(3, 3), (5, 5)]


def test_a_failed_hour_waits_and_its_neighbours_do_not() -> None:
    failed = past(4, 4, began=2 * MINUTE, ended=MINUTE / 2)
    assert ranges([3, 4], failed) == [(3, 3)]


def test_each_attempt_waits_twice_as_long() -> None:
    first = past(4, 4, began=20 * MINUTE, ended=19 * MINUTE)
    second = past(4, 4, began=10 * MINUTE, ended=3 * MINUTE)
    third = past(4, 4, began=5 * MINUTE, ended=3 * MINUTE)
    assert ranges([4], first, second) == [(4, 4)]
    assert ranges([4], first, second, third) == []


def test_no_wait_is_longer_than_the_longest() -> None:
    runs = [past(4, 4, began=LONGEST_WAIT, ended=LONGEST_WAIT) for _ in range(40)]
    outdated = {H[4]: NOW - 2 * LONGEST_WAIT}
    assert to_run(outdated, runs, NOW, 1)


def test_rows_that_came_after_a_run_began_are_not_its_fault() -> None:
    began_before = past(4, 4, began=31 * MINUTE, ended=MINUTE / 10)
    assert ranges([4], began_before) == [(4, 4)]
