"""What `streamgauge backfill` asks of Dagster, and how it ends."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from streamgauge.cli.backfill import Layer, assets_of, existing, hours_of
from streamgauge.contract.load import load_contract
from streamgauge.dagster.client import AssetProgress, Dagster
from streamgauge.dagster.hours import HOUR, HourRange, parse_hours
from streamgauge.errors import UserError
from streamgauge.settings import CHECKOUT
from streamgauge.state.starts import Starts

CONTRACT = load_contract(CHECKOUT / "platform" / "contracts" / "user_events.yaml")
NOW = datetime(2026, 11, 5, 12, 34, tzinfo=UTC)
FIRST = datetime(2026, 11, 5, tzinfo=UTC)


def dagster(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any] | int) -> tuple[Dagster, list[dict[str, Any]]]:
    """A server that gives this answer, and what it was asked."""
    asked: list[dict[str, Any]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content))
        return httpx.Response(answer) if isinstance(answer, int) else httpx.Response(200, json=answer)

    client = httpx.Client(transport=httpx.MockTransport(handle))

    def opened(**_: Any) -> httpx.Client:
        return client

    monkeypatch.setattr(httpx, "Client", opened)
    return Dagster("http://dagster/"), asked


def test_the_last_hour_is_not_included() -> None:
    assert len(existing(parse_hours("2026-11-05", "2026-11-05-12"), NOW).hours) == 12


def test_the_open_hour_may_be_asked_for_and_none_after_it() -> None:
    assert existing(HourRange(FIRST, FIRST + 12 * HOUR), NOW).last == FIRST + 12 * HOUR
    with pytest.raises(UserError, match="newest hour"):
        existing(HourRange(FIRST, FIRST + 13 * HOUR), NOW)


def test_no_hour_at_all_is_refused() -> None:
    with pytest.raises(UserError, match="there is no hour"):
        parse_hours("2026-11-05", "2026-11-05")


def test_hours_before_the_batch_layer_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMGAUGE_BATCH_START", "2026-11-06")
    with pytest.raises(UserError, match="begins at 2026-11-06"):
        existing(HourRange(FIRST, FIRST), NOW)


def test_a_stream_is_asked_for_no_hour_before_its_first() -> None:
    hours = HourRange(FIRST, FIRST + 5 * HOUR)
    starts = {CONTRACT.stream: Starts(ingest=FIRST - HOUR, event=FIRST + 2 * HOUR)}
    assert hours_of(Layer.LAKE, [CONTRACT], hours, starts) == {CONTRACT: hours}
    assert hours_of(Layer.FACTS, [CONTRACT], hours, starts) == {CONTRACT: HourRange(FIRST + 2 * HOUR, hours.last)}
    with pytest.raises(UserError, match="nothing up to 2026-11-05-01"):
        hours_of(Layer.FACTS, [CONTRACT], HourRange(FIRST, FIRST + HOUR), starts)


def test_each_layer_brings_along_what_hangs_on_it() -> None:
    chain = [
        ("facts", "user_events_facts"),
        ("facts", "user_events_duplicates"),
        ("facts", "user_events_quarantine"),
        ("rollups", "user_events_hourly"),
        ("reconciliation", "user_events_reconciliation"),
    ]
    assert assets_of(Layer.LAKE, [CONTRACT]) == [("lake", "user_events_lake")]
    assert assets_of(Layer.FACTS, [CONTRACT]) == chain
    assert assets_of(Layer.ROLLUPS, [CONTRACT]) == chain[3:]
    assert assets_of(Layer.RECONCILIATION, [CONTRACT]) == chain[4:]


def test_a_backfill_names_assets_and_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    launched = {"__typename": "LaunchBackfillSuccess", "backfillId": "abc"}
    server, asked = dagster(monkeypatch, {"data": {"launchPartitionBackfill": launched}})
    assert server.launch_backfill({("lake", "user_events_lake"): HourRange(FIRST, FIRST + HOUR)}, "t") == "abc"
    wanted = [
        {
            "assetKey": {"path": ["lake", "user_events_lake"]},
            "partitions": {"range": {"start": "2026-11-05-00", "end": "2026-11-05-01"}},
        }
    ]
    assert asked[0]["variables"]["params"] == {"partitionsByAssets": wanted, "title": "t"}


def test_a_run_names_assets_and_the_ends_of_its_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    launched = {"__typename": "LaunchRunSuccess", "run": {"runId": "abc"}}
    server, asked = dagster(monkeypatch, {"data": {"launchRun": launched}})
    assert server.launch_run([("lake", "user_events_lake")], HourRange(FIRST, FIRST + HOUR)) == "abc"
    params = asked[0]["variables"]["params"]
    assert params["selector"]["assetSelection"] == [{"path": ["lake", "user_events_lake"]}]
    assert params["executionMetadata"]["tags"] == [
        {"key": "dagster/asset_partition_range_start", "value": "2026-11-05-00"},
        {"key": "dagster/asset_partition_range_end", "value": "2026-11-05-01"},
    ]


def test_a_refused_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    server, _ = dagster(monkeypatch, {"data": {"launchRun": {"__typename": "PythonError", "message": "no code"}}})
    with pytest.raises(UserError, match="no code"):
        server.launch_run([], HourRange(FIRST, FIRST))


@pytest.mark.parametrize(
    ("status", "state"), [("STARTED", "running"), ("SUCCESS", "done"), ("FAILURE", "failed"), ("CANCELED", "canceled")]
)
def test_a_run_says_how_it_goes(monkeypatch: pytest.MonkeyPatch, status: str, state: str) -> None:
    server, _ = dagster(monkeypatch, {"data": {"runOrError": {"__typename": "Run", "status": status}}})
    assert server.run_state("abc") == state


def test_a_run_that_is_gone_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"__typename": "RunNotFoundError", "message": "no such run"}
    server, _ = dagster(monkeypatch, {"data": {"runOrError": answer}})
    with pytest.raises(UserError, match="no such run"):
        server.run_state("abc")


def test_a_refusal_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = {"__typename": "PartitionKeysNotFoundError", "message": "no such partition"}
    server, _ = dagster(monkeypatch, {"data": {"launchPartitionBackfill": refused}})
    with pytest.raises(UserError, match="no such partition"):
        server.launch_backfill({}, "t")


def test_progress_is_by_asset(monkeypatch: pytest.MonkeyPatch) -> None:
    row = {
        "assetKey": {"path": ["lake", "user_events_lake"]},
        "numPartitionsTargeted": 24,
        "numPartitionsInProgress": 3,
        "numPartitionsMaterialized": 20,
        "numPartitionsFailed": 1,
    }
    found = {
        "__typename": "PartitionBackfill",
        "status": "COMPLETED_FAILED",
        "error": None,
        "assetBackfillData": {"assetBackfillStatuses": [row]},
    }
    server, _ = dagster(monkeypatch, {"data": {"partitionBackfillOrError": found}})
    progress = server.progress("abc")
    assert progress.state == "failed"
    assert progress.assets == [AssetProgress("lake/user_events_lake", wanted=24, running=3, done=20, failed=1)]


def test_a_server_that_is_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    server, _ = dagster(monkeypatch, 502)
    with pytest.raises(UserError, match="no answer from Dagster at http://dagster"):
        server.progress("abc")


def test_an_unknown_place_is_explained() -> None:
    with pytest.raises(UserError, match="not known where Dagster is"):
        Dagster(None)
