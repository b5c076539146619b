"""Lineage: from the contracts to columns' origins and OpenLineage events."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from openlineage.client.event_v2 import RunEvent, RunState
from openlineage.client.serde import Serde

from lineage.datasets import Dataset, Key, by_key, datasets
from lineage.openlineage import Assertion, Stores
from lineage.runs import RunFacts, run_events, span
from lineage.speed import speed_events
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.measures import Count, Source
from streamgauge.contract.model import RollupSpec
from streamgauge.settings import CHECKOUT
from tests.derived import derive

CONTRACTS = load_contracts(CHECKOUT / "platform" / "contracts")
KNOWN = by_key(CONTRACTS)
STORES = Stores("kafka://h:1", "postgres://h:2", "redis://h:3", "file", "streamgauge.streamgauge", "/lake")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FACTS: Key = ("facts", "user_events_facts")
LAKE: Key = ("lake", "user_events_lake")
RUN = RunFacts(
    "0190a8c0-0000-7000-8000-000000000000",
    "batch",
    RunState.COMPLETE,
    NOON,
    (LAKE, FACTS),
    ("2026-01-01-10", "2026-01-01-11"),
    {LAKE: 7, FACTS: 5},
    (Assertion(FACTS, "contract", False, "error"),),
)


def as_json(event: RunEvent) -> dict[str, Any]:
    return json.loads(Serde.to_json(event))


def by_job(events: list[RunEvent]) -> dict[str, dict[str, Any]]:
    return {e["job"]["name"]: e for e in map(as_json, events)}


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.stream)
def test_every_column_comes_from_a_column_that_exists(contract: Any) -> None:
    before: dict[Key, set[str]] = {}
    for dataset in datasets(contract):
        names = {f.name for f in dataset.fields}
        assert set(dataset.origins) <= names
        for origins in dataset.origins.values():
            assert all(o.column in before[o.dataset] for o in origins)
        before[dataset.key] = names


def test_a_daily_number_leads_back_to_the_topic() -> None:
    """Hop by hop, a measure made from a map leads to that map, and a reference's column also to the reference."""
    assert roots(KNOWN, ("rollups", "user_events_daily"), "commits_sum") == {("kafka/app-user-events", "properties")}
    assert roots(KNOWN, ("rollups", "user_events_daily"), "actor_kind") == {
        ("reference/actors", "kind"),
        ("kafka/app-user-events", "user_id"),
    }


def test_what_is_derived_leads_back_to_all_that_it_is_computed_of() -> None:
    contract = find_contract(CONTRACTS, "user_events")
    fields = {"size": "cast(properties.size as bigint)", "what": "case when size > 1 then reference.kind end"}
    rollup = RollupSpec(
        dimensions=(Source(name="what", source="what"),), counts=(Count(name="known", where="metadata.source = 'x'"),)
    )
    derived = derive(contract, fields, rollup)
    known = by_key([derived])
    daily: Key = ("rollups", "user_events_daily")
    topic, user, kind = "kafka/app-user-events", ("kafka/app-user-events", "user_id"), ("reference/actors", "kind")
    assert roots(known, daily, "what") == {(topic, "properties"), kind, user}
    assert roots(known, daily, "known") == {(topic, "metadata")}
    test_every_column_comes_from_a_column_that_exists(derived)


def roots(known: Mapping[Key, Dataset], key: Key, column: str) -> set[tuple[str, str]]:
    origins = known[key].origins.get(column, ())
    if not origins:
        return {("/".join(key), column)}
    return {root for o in origins for root in roots(known, o.dataset, o.column)}


def test_a_run_tells_its_parent_its_datasets_and_its_checks() -> None:
    events = by_job(run_events(RUN, KNOWN, STORES))
    assert set(events) == {
        "batch",
        "lake/user_events_lake",
        "facts/user_events_facts",
        "facts/user_events_facts/checks",
    }
    facts = events["facts/user_events_facts"]
    assert facts["eventType"] == "COMPLETE"
    assert facts["run"]["facets"]["parent"]["run"]["runId"] == RUN.run_id
    assert facts["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2026-01-01T10:00:00.000Z"
    assert facts["run"]["facets"]["nominalTime"]["nominalEndTime"] == "2026-01-01T12:00:00.000Z"
    (output,) = facts["outputs"]
    assert output["name"] == "/lake/facts/user_events"
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 5
    assert {f["name"] for f in output["facets"]["schema"]["fields"]} >= {"event_id", "organisation", "offset"}
    (checks,) = events["facts/user_events_facts/checks"]["inputs"]
    assert checks["inputFacets"]["dataQualityAssertions"]["assertions"][0]["success"] is False


def test_a_failed_run_erases_no_edge() -> None:
    whole = by_job(run_events(RUN, KNOWN, STORES))["facts/user_events_facts"]
    failed = replace(RUN, state=RunState.FAIL, rows={}, assertions=(), error="OSError")
    event = by_job(run_events(failed, KNOWN, STORES))["facts/user_events_facts"]
    assert event["eventType"] == "FAIL"
    assert event["run"]["facets"]["errorMessage"]["message"] == "OSError"
    assert [d["name"] for d in event["inputs"]] == [d["name"] for d in whole["inputs"]] != []
    assert event["outputs"][0]["facets"]["columnLineage"] == whole["outputs"][0]["facets"]["columnLineage"]
    assert "outputStatistics" not in event["outputs"][0].get("outputFacets", {})


def test_what_a_failed_run_did_finish_is_complete() -> None:
    events = by_job(run_events(replace(RUN, state=RunState.FAIL, rows={LAKE: 7}, error="x"), KNOWN, STORES))
    assert events["lake/user_events_lake"]["eventType"] == "COMPLETE"
    assert events["facts/user_events_facts"]["eventType"] == "FAIL"


def test_the_same_run_told_twice_is_the_same_run() -> None:
    first, second = (by_job(run_events(RUN, KNOWN, STORES)) for _ in range(2))
    assert {n: e["run"]["runId"] for n, e in first.items()} == {n: e["run"]["runId"] for n, e in second.items()}
    assert len({e["run"]["runId"] for e in first.values()}) == len(first)


def test_a_day_is_a_span_too() -> None:
    assert span("2026-01-01", "2026-01-02") == (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))


def test_each_hour_of_the_worker_is_a_run() -> None:
    contracts = (find_contract(CONTRACTS, "user_events"),)
    counts = {"user_events": 100}
    first, seen = speed_events(counts, {}, NOON + timedelta(minutes=5), contracts, KNOWN, STORES)
    assert [e.eventType for e in first] == [RunState.START]
    same, seen = speed_events({"user_events": 120}, seen, NOON + timedelta(minutes=50), contracts, KNOWN, STORES)
    assert same == []
    over, _ = speed_events({"user_events": 150}, seen, NOON + timedelta(minutes=61), contracts, KNOWN, STORES)
    ended, began = map(as_json, over)
    assert (ended["eventType"], began["eventType"]) == ("COMPLETE", "START")
    assert ended["run"]["runId"] == as_json(first[0])["run"]["runId"] != began["run"]["runId"]
    assert ended["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 50
    assert ended["job"]["facets"]["jobType"]["processingType"] == "STREAMING"
