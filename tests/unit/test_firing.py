"""One list of what fires, of incidents in Postgres and alerts in Alertmanager."""

from datetime import UTC, datetime, timedelta
from typing import Any

from streamgauge.state.alerts import Alert
from streamgauge.state.firing import Incidents, combine, read_firing

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


def incident(cause: str, name: str = "StreamgaugeDataStale", severity: str = "warning") -> Alert:
    return Alert(
        id=cause,
        cause=cause,
        name=name,
        severity=severity,
        stream="s",
        asset="lake/s_lake",
        owner="team",
        summary=cause,
        description="",
        downstream=[],
        asset_url=None,
        runbook_url="http://runbook",
        since=NOW,
        raised_at=NOW,
        resolved_at=None,
        accepted_at=None,
        accepted_by=None,
        accepted_because=None,
    )


def reported(name: str, state: str = "active", **labels: str) -> dict[str, Any]:
    return {
        "labels": {"alertname": name, "severity": "warning", **labels},
        "annotations": {"summary": name},
        "startsAt": NOW.isoformat(),
        "status": {"state": state},
    }


def of_sensors(cause: str, state: str = "active", severity: str = "warning") -> dict[str, Any]:
    return reported("StreamgaugeDataStale", state, origin="sensors", cause=cause, severity=severity)


def test_an_incident_that_alertmanager_has_in_both_severities_is_listed_once() -> None:
    found, _ = combine([incident("a")], [of_sensors("a"), of_sensors("a", severity="critical")])
    assert [(a.summary, a.sources) for a in found] == [("a", ("postgres", "alertmanager"))]


def test_what_postgres_knows_to_be_over_does_not_fire_any_more() -> None:
    assert combine([], [of_sensors("a")]) == ((), 0)


def test_while_postgres_is_away_alertmanager_s_copy_counts() -> None:
    found, _ = combine(None, [of_sensors("a"), of_sensors("a", severity="critical"), of_sensors("b")])
    assert [a.severity for a in found] == ["critical", "warning"]


def test_two_streams_are_two_alerts_and_two_windows_are_one() -> None:
    burn = "StreamgaugeErrorBudgetBurn"
    found, _ = combine(
        [],
        [reported(burn, stream="s", window="1h"), reported(burn, stream="s", window="6h"), reported(burn, stream="t")],
    )
    assert [a.stream for a in found] == ["s", "t"]


def test_what_a_person_silenced_is_counted_and_not_listed() -> None:
    found, suppressed = combine([incident("a"), incident("b")], [of_sensors("a", "suppressed"), of_sensors("b")])
    assert ([a.summary for a in found], suppressed) == (["b"], 1)


def test_the_watchdog_is_no_alert_and_the_worst_comes_first() -> None:
    found, _ = combine(
        [incident("a"), incident("b", severity="critical")],
        [reported("Watchdog"), reported("StreamgaugeApiDown", severity="critical")],
    )
    assert [a.severity for a in found] == ["critical", "critical", "warning"]
    assert "Watchdog" not in {a.name for a in found}


def test_a_list_that_may_not_be_whole_is_not_well() -> None:
    away = "http://127.0.0.1:1"
    beating = Incidents((), NOW - timedelta(seconds=20))
    unanswered = read_firing(lambda: beating, away, NOW)
    assert not unanswered.well and unanswered.notes == (
        "Alertmanager did not answer: alerts of Prometheus are missing in this list.",
    )
    assert not read_firing(lambda: None, None, NOW).well
    assert not read_firing(lambda: Incidents((), NOW - timedelta(minutes=4)), None, NOW).well
    assert read_firing(lambda: beating, None, NOW).well
