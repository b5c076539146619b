"""One event followed through the real layers: what `trace` and the API say of it is what became of it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from typer.testing import CliRunner

from assets.facts.asset import build
from assets.lake.load import load_hour
from assets.resources import BatchResource
from lineage import trace as followed
from lineage.trace import Trace, trace
from streamgauge.cli import build as command
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import hour_start
from streamgauge.errors import UserError
from streamgauge.settings import PREFIX, Settings, batch_start
from streamgauge.stores.postgres import connect
from tests.integration.own_stream import block
from tests.integration.running import Running, encoded, one, schema_of
from tests.integration.serving_client import in_process
from tests.integration.workers import wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(300)]


@pytest.fixture
def stream(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv(f"{PREFIX}LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv(f"{PREFIX}CONTRACTS_DIR", str(running.own.folder))
    running.edit(lambda d: block(d, "deadLetters").update(limit=1_000_000))
    running.apply()
    yield running


def take_into_lake(contract: Contract) -> None:
    settings = Settings.for_role("batch")
    now = datetime.now(UTC)
    with connect(settings, autocommit=True) as connection:
        for hour in (hour_start(now - timedelta(minutes=5)), hour_start(now)):
            load_hour(settings, contract, connection, hour, now=now, start=batch_start(), run_id="test")


def build_hours(contract: Contract) -> None:
    with connect(Settings.for_role("batch")) as connection:
        hours = connection.execute(
            "SELECT hour FROM event_hours WHERE stream = %s ORDER BY 1", (contract.stream,)
        ).fetchall()
    build(BatchResource(), contract, [h for (h,) in hours], "test")


def find(contract: Contract, event_id: str) -> list[Trace]:
    return trace(Settings.for_role("batch"), [contract], event_id)


def texts(found: Trace) -> dict[str, str]:
    return {step.layer: step.description for step in found.steps}


def test_a_dead_letter_is_one_from_the_log_to_the_quarantine(stream: Running) -> None:
    contract = stream.contract
    ((schema_id, schema),) = schema_of(contract).items()
    good = one(contract, event_id="good")
    bad = one(contract, event_id="bad", event_type="not a type")
    slashed = one(contract, event_id="shop/7?a#b/", event_type="not a type")
    stream.send_raw(*((b"ann", encoded(schema, schema_id, e)) for e in (good, good, bad, slashed)))
    stream.workers.start()
    wait_until_read(contract)

    def assert_dead(verdict: str, found: Trace) -> None:
        assert found.verdict == verdict
        message = texts(found)
        assert "dead letter" in message["speed"] and "event_type" in message["speed"]
        assert "counted yet" not in str(message) and "serving" not in message

    assert_dead("dead letter", find(contract, "bad")[0])
    assert {f.verdict for f in find(contract, "good")} == {"open"}
    take_into_lake(contract)
    assert_dead("dead letter", find(contract, "bad")[0])
    build_hours(contract)
    found = find(contract, "bad")[0]
    assert_dead("quarantined", found)
    assert "event_type" in texts(found)["facts"]
    first, again = find(contract, "good")
    assert (first.verdict, again.verdict) == ("fact", "duplicate")
    assert "part of the number" in texts(first)["serving"] and "serving" not in texts(again)
    with in_process(stream.own.folder) as client:
        answer = client.get("/v1/lineage/bad").json()
        assert [t["verdict"] for t in answer["traces"]] == ["quarantined"]
        slashed = client.get(f"/v1/lineage/{quote('shop/7?a#b/', safe='')}").json()
        assert [t["verdict"] for t in slashed["traces"]] == ["quarantined"]
        past = (datetime.now(UTC) - timedelta(hours=5)).isoformat()
        assert client.get("/v1/lineage/bad", params={"to": past}).status_code == 404
        assert client.get("/v1/lineage/bad", params={"from": "2026-01-02", "to": "2026-01-01"}).status_code == 422


def test_what_broke_a_rule_is_not_shown_before_the_worker_has_seen_it(stream: Running) -> None:
    """It may be another field's value: here an address stands where the type belongs."""
    contract = stream.contract
    ((schema_id, schema),) = schema_of(contract).items()
    bad = one(contract, event_id="unread", event_type="ann@example.org")
    stream.send_raw((b"ann", encoded(schema, schema_id, bad)))
    (found,) = find(contract, "unread")
    assert "event_type: doesn't match" in texts(found)["speed"]
    assert "example.org" not in str(found)
    take_into_lake(contract)
    with in_process(stream.own.folder) as client:
        answer = client.get("/v1/lineage/unread")
        assert answer.status_code == 200 and "example.org" not in answer.text


def test_the_api_looks_no_longer_than_it_may(stream: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "_HOURS_AT_ONCE", 1)
    with in_process(stream.own.folder, query_seconds=0.000001) as client:
        answer = client.get("/v1/lineage/nix").json()
        assert (answer["status"], answer["type"]) == (422, "/v1/problems/too-slow")
        assert "to=" in answer["hint"]


def test_without_servers_there_is_an_error_and_no_traceback(stream: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}POSTGRES_DSN", "postgresql://127.0.0.1:9/streamgauge")
    result: Any = CliRunner().invoke(command("trace"), ["trace", "nix"])
    assert isinstance(result.exception, UserError)
    assert "no connection to Postgres" in result.exception.what
