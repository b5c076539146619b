"""What is said of events before they are sent."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.contract.load import load_contract
from streamgauge.settings import CHECKOUT, PREFIX
from streaming.forecast import forecast
from streaming.load.load import Plan

CONTRACT = load_contract(CHECKOUT / "platform" / "contracts" / "user_events.yaml")
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def before(*times: datetime) -> Callable[[int], int]:
    return lambda ms: sum(t.timestamp() * 1000 < ms for t in times)


def test_late_and_too_old_events_are_foretold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}BATCH_START", "2026-01-01")
    lateness = timedelta(milliseconds=CONTRACT.lateness_ms)
    times = (datetime(2025, 12, 31, tzinfo=UTC), NOW - lateness - timedelta(seconds=1), NOW - lateness, NOW)
    found = forecast(CONTRACT, 4, before(*times), {"user_events": NOW})
    assert (found.late, found.never_final) == (2, 1)
    late, old = found.lines()
    assert late.startswith("user_events: 2 of 4 events will be late")
    assert old.startswith("user_events: 1 of 4 events can never be final") and "BATCH_START" in old


def test_nothing_is_reported_of_events_that_count() -> None:
    assert forecast(CONTRACT, 1, before(NOW), {"user_events": NOW}).lines() == []
    assert forecast(CONTRACT, 1, before(NOW), {"user_events": None}).lines() == []


def test_what_is_not_known_is_reported() -> None:
    (line,) = forecast(CONTRACT, 1, before(NOW), None).lines()
    assert "not known" in line


@given(st.integers(1, 300), st.one_of(st.none(), st.integers(1, 500)), st.integers(-700_000, 400_000))
def test_a_plan_knows_how_many_happen_before_a_moment(events: int, rate: int | None, at: int) -> None:
    plan = Plan(events, rate, 1_000_000, 1)
    assert plan.before(1_000_000 + at) == int((plan.times(0, events) < 1_000_000 + at).sum())
