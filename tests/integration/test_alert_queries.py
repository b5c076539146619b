"""What the alert sensor and the metrics read every few seconds: as much as there is to report, not all of history."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sensors.alerting.unexplained import UNEXPLAINED
from sensors.alerting.watermarks import NOT_FINAL, PENDING, observe_stream
from streamgauge.apply.execute import apply
from streamgauge.settings import Settings
from streamgauge.state.metrics import read_state
from streamgauge.stores.postgres import connect
from streamgauge.stores.redis import redis_client
from streamgauge.telemetry.catalog import metrics as catalog
from tests.integration.own_stream import OwnStream

pytestmark = pytest.mark.usefixtures("stack")

NOW = datetime.now(UTC)


@pytest.fixture
def own(tmp_path: Path) -> OwnStream:
    built = OwnStream(tmp_path)
    apply(built.settings(), (built.contract,))
    return built


def test_hours_that_are_done_are_not_read(own: OwnStream) -> None:
    with connect(Settings.for_role("admin"), autocommit=True) as connection:
        connection.execute(
            "insert into event_hours (stream, hour, touched, built, rolled, reconciled, compared_at, passed)"
            " select %s, hour, 1, 1, 1, 1, now(), true"
            " from generate_series(now() - interval '20000 hours', now(), interval '1 hour') as hour",
            (own.name,),
        )
        connection.execute("vacuum analyze event_hours")
        try:
            for query, arguments, index in (
                (PENDING, (own.name,), "event_hours_pending"),
                (NOT_FINAL, {"stream": own.name, "now": NOW}, "event_hours_not_final"),
                (UNEXPLAINED, (5,), "event_hours_failed"),
            ):
                plan = "\n".join(r[0] for r in connection.execute(b"explain " + query.encode(), arguments))
                assert index in plan, plan
        finally:
            connection.execute("delete from event_hours where stream = %s", (own.name,))


def test_a_stream_that_is_not_applied_has_nothing_yet(own: OwnStream, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = OwnStream(tmp_path / "other").contract
    with connect(Settings.for_role("batch"), autocommit=True) as connection:
        seen = observe_stream(connection, redis_client(Settings.for_role("batch")), {}, None, other, NOW)
    assert seen[f"rollups/{other.stream}_daily"].watermark is None
    assert seen[f"speed/{other.minutes_table}"].detail == "no event yet"


@pytest.mark.parametrize(
    ("name", "stream", "asset", "hit"),
    [
        ("StreamgaugeKafkaAway", "", "kafka", {"freshness", "ingestion"}),
        ("StreamgaugeWorkerStopped", "", "worker", {"freshness"}),
        ("StreamgaugeDataStale", "own", "speed/x_minutes", {"freshness"}),
        ("StreamgaugeDataStale", "own", "lake/x_lake", set[str]()),
        ("StreamgaugeDataStale", "another", "speed/x_minutes", set[str]()),
        ("StreamgaugeRunFailed", "own", "facts/x", set[str]()),
    ],
)
def test_an_outage_is_known_to_prometheus_while_it_is_reported(
    own: OwnStream, name: str, stream: str, asset: str, hit: set[str]
) -> None:
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("delete from alerts")
        connection.execute(
            "insert into alerts (id, cause, name, severity, stream, asset, owner, summary, description, runbook_url,"
            " since, raised_at) values ('i', 'c', %s, 'warning', %s, %s, 'o', 's', 'd', 'r', now(), now())",
            (name, own.name if stream == "own" else stream, asset),
        )
        assert _outages(own) == set()
        connection.commit()
        assert _outages(own) == hit
        connection.execute("update alerts set resolved_at = now()")
        connection.commit()
        assert _outages(own) == set()
        connection.execute("delete from alerts")


def _outages(own: OwnStream) -> set[str]:
    with connect(Settings.for_role("api")) as connection:
        found = read_state(connection, {own.contract.topic: own.name})[catalog.STREAM_OUTAGE]
    assert len(found) == 2, "each promise has a figure, for the rules to look back at"
    return {str((o.attributes or {})["slo"]) for o in found if o.value}
