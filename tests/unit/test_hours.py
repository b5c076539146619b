"""Hours, their names and their ranges."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.dagster.hours import HOUR, contiguous, hour_key, hour_of, parse_hour, parse_hours
from streamgauge.errors import UserError

START = datetime(2026, 11, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["2026-11-05-07", "2026-11-05T07:00Z", "2026-11-05T07:00:00", "2026-11-05 07:00", "2026-11-05T09:00+02:00"],
)
def test_an_hour_may_be_written_in_many_ways(text: str) -> None:
    assert parse_hour(text) == START + 7 * HOUR


def test_a_day_is_its_first_hour() -> None:
    assert parse_hour("2026-11-05") == START


def test_what_is_no_hour_is_refused() -> None:
    with pytest.raises(UserError, match="is no hour"):
        parse_hour("yesterday")


@pytest.mark.parametrize("text", ["2026-11-05T07:59:59", "2026-11-05 07:10", "2026-11-05T07:00+00:30"])
def test_a_time_within_an_hour_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="within an hour"):
        parse_hour(text)


def test_the_end_of_a_range_is_not_included() -> None:
    assert parse_hours("2026-11-05", "2026-11-06").hours == [START + n * HOUR for n in range(24)]
    for end in ("2026-11-05", "2026-11-04-23"):
        with pytest.raises(UserError, match="there is no hour") as refused:
            parse_hours("2026-11-05", end)
        assert "--to 2026-11-05-01" in refused.value.hint


def test_a_key_names_the_hour_in_utc() -> None:
    east = START.astimezone(timezone(timedelta(hours=5)))
    assert hour_key(east) == "2026-11-05-00"
    assert hour_of(hour_key(east)) == START


@given(st.lists(st.integers(0, 60)), st.integers(1, 10))
def test_ranges_hold_exactly_the_hours_asked_for(numbers: list[int], longest: int) -> None:
    hours = [START + n * HOUR for n in numbers]
    ranges = contiguous(hours, longest)
    assert [h for r in ranges for h in r.hours] == sorted(set(hours))
    assert all(len(r.keys) <= longest for r in ranges)


def test_neighbours_are_one_range() -> None:
    assert [len(r.hours) for r in contiguous([START + n * HOUR for n in (0, 1, 2, 5)], 168)] == [3, 1]
