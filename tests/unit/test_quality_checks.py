"""The checks beyond the row: what passes, what fails, by how much, and what is left undecided."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from quality.checks.completeness import Books, HourBook, Outputs, check_books, check_completeness, check_offsets
from quality.checks.contract import check_contract
from quality.checks.drift import check_drift
from quality.checks.quarantine import check_quarantine
from quality.checks.references import check_references
from quality.checks.skew import check_skew
from quality.checks.volume import check_volume
from quality.masking import Masker
from quality.outcome import CheckOutcome, combined
from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.load import load_contracts
from streamgauge.contract.model import Contract
from streamgauge.settings import CHECKOUT

CONTRACTS = {c.stream: c for c in load_contracts(CHECKOUT / "platform" / "contracts")}
USERS = CONTRACTS["user_events"]
MASKER = Masker(USERS)
AT = datetime(2026, 11, 5, 7, 30, tzinfo=UTC)
MS = pl.Datetime("ms", "UTC")


def facts(n: int, contract: Contract = USERS, **columns: Any) -> pl.DataFrame:
    rows: dict[str, Any] = {
        "event_id": [f"e{i}" for i in range(n)],
        "user_id": [f"user-{i}" for i in range(n)],
        "event_type": ["PushEvent"] * n,
        "timestamp": [AT] * n,
        "properties": [[]] * n,
        "metadata": [[]] * n,
        "schema_version": [1] * n,
        "partition": [i % 3 for i in range(n)],
        "offset": list(range(n)),
        "ingest_time": [AT + timedelta(seconds=2)] * n,
        **columns,
    }
    types = {f.name: POLARS_TYPES[f.type] for f in contract.fields}
    return pl.DataFrame(rows, {**types, "partition": pl.Int32, "offset": pl.Int64, "ingest_time": MS, **_more(columns)})


def _more(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: pl.Int64 if name.endswith("_key") else pl.String for name in columns if name not in USERS.field}


def positions(*offsets: int, partition: int = 0) -> pl.DataFrame:
    rows = {"partition": [partition] * len(offsets), "offset": list(offsets)}
    return pl.DataFrame(rows, {"partition": pl.Int32, "offset": pl.Int64})


def completeness(lake: pl.DataFrame, outputs: Outputs, *, moving: bool = False) -> CheckOutcome:
    return check_completeness(USERS, lake, outputs, 2, MASKER, moving=moving)


def test_facts_that_keep_the_contract() -> None:
    outcome = check_contract(USERS, facts(4), MASKER)
    assert (outcome.status, outcome.failing, outcome.denominator) == ("passed", 0, 4)


def test_facts_that_break_it_are_counted_once_each() -> None:
    bad = facts(4, event_type=["PushEvent", "push", "", None], schema_version=[1, 0, 1, 1])
    outcome = check_contract(USERS, bad, MASKER)
    assert (outcome.status, outcome.failing, outcome.denominator) == ("failed", 3, 4)
    assert {s.position for s in outcome.samples} == {
        "app-user-events/1/1",
        "app-user-events/2/2",
        "app-user-events/0/3",
    }
    assert "event_type: missing (1)" in outcome.observed


def test_a_column_of_another_type_fails_every_row() -> None:
    outcome = check_contract(USERS, facts(3).with_columns(pl.col("schema_version").cast(pl.String)), MASKER)
    assert (outcome.status, outcome.failing) == ("failed", 3)
    assert "schema_version: not of the contract's type" in outcome.observed


@pytest.mark.parametrize(("bad", "status"), [(0, "passed"), (1, "passed"), (2, "failed")])
def test_quarantine_up_to_the_contract_s_share(bad: int, status: str) -> None:
    quarantined = facts(bad, rule=["user_id: missing", "future"][:bad])
    outcome = check_quarantine(USERS, 100 - bad, quarantined, MASKER)
    assert (outcome.status, outcome.failing, outcome.denominator) == (status, bad, 100)


def test_the_sample_of_a_quarantine_shows_every_rule_first() -> None:
    quarantined = facts(30, rule=["a"] * 29 + ["b"])
    outcome = check_quarantine(USERS, 0, quarantined, MASKER)
    assert "b" in {s.rule for s in outcome.samples}
    assert outcome.details == {"rule a": 29, "rule b": 1}


def test_every_record_of_the_lake_in_one_place() -> None:
    outcome = completeness(positions(1, 2, 3, 4), Outputs(positions(1, 3), positions(2), positions(4)))
    assert (outcome.status, outcome.failing, outcome.denominator) == ("passed", 0, 4)
    assert outcome.details == {"facts": 2, "duplicates": 1, "quarantined": 1, "late for the speed layer": 2}


@pytest.mark.parametrize(
    ("outputs", "rule", "offset"),
    [
        (Outputs(positions(1), positions(), positions(4)), "missing", 2),
        (Outputs(positions(1, 2), positions(2), positions(4)), "in two places", 2),
        (Outputs(positions(1, 2, 9), positions(), positions(4)), "not in the lake", 9),
        # as many as there should be: a sum would pass
        (Outputs(positions(1, 9), positions(), positions(4)), "not in the lake", 9),
    ],
)
def test_a_record_that_is_lost_doubled_or_made_up_is_named(outputs: Outputs, rule: str, offset: int) -> None:
    outcome = completeness(positions(1, 2, 4), outputs)
    assert outcome.status == "failed"
    assert (rule, offset) in {(s.rule, s.offset) for s in outcome.samples}


def test_records_that_came_after_the_build_are_no_fault() -> None:
    lake, outputs = positions(1, 2), Outputs(positions(1), positions(), positions())
    assert completeness(lake, outputs, moving=True).status == "unknown"
    assert completeness(lake, Outputs(positions(1, 2), positions(), positions()), moving=True).status == "passed"


def test_an_hour_without_events_is_complete() -> None:
    nothing = positions()
    assert completeness(nothing, Outputs(nothing, nothing, nothing)).status == "passed"
    assert check_offsets(USERS, nothing, [HourBook(0, 5, 5, 5)]).status == "passed"


def test_the_offsets_of_an_hour() -> None:
    lake = pl.concat([positions(5, 6, 7), positions(0, 1, partition=1)])
    outcome = check_offsets(USERS, lake, [HourBook(0, 5, 8, 5), HourBook(1, 0, 2, None)])
    assert (outcome.status, outcome.failing, outcome.denominator) == ("passed", 0, 5)


@pytest.mark.parametrize(
    ("lake", "book", "rule", "failing"),
    [
        (positions(5, 7), HourBook(0, 5, 8, 5), "offsets missing or too many", 1),
        (positions(5, 6, 6, 7), HourBook(0, 5, 8, 5), "offsets twice in the lake", 1),
        (positions(6, 7, 8), HourBook(0, 5, 8, 5), "other offsets than the books say", 3),
        (positions(5, 6, 7), HourBook(0, 5, 8, 3), "offsets left out before this hour", 2),
        (positions(5, partition=2), HourBook(0, 5, 5, 5), "in the lake and not in the books", 1),
    ],
)
def test_wrong_offsets_are_named(lake: pl.DataFrame, book: HourBook, rule: str, failing: int) -> None:
    outcome = check_offsets(USERS, lake, [book])
    assert (outcome.status, outcome.failing) == ("failed", failing)
    assert [s.rule for s in outcome.samples] == [rule]


BOOKS = Books(
    consumed=100,
    counted=90,
    late=4,
    duplicates=3,
    dead_letters=3,
    lake=80,
    gaps=0,
    facts=76,
    batch_duplicates=2,
    quarantined=2,
    due_hours=0,
)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, "passed"),
        ({"late": 5}, "failed"),
        ({"facts": 75}, "failed"),
        ({"gaps": 1}, "failed"),
        ({"facts": 70, "due_hours": 2}, "unknown"),
        ({"facts": 70, "due_hours": 2, "counted": 91}, "failed"),
    ],
)
def test_the_books_of_both_layers(change: dict[str, int], status: str) -> None:
    assert check_books(USERS, replace(BOOKS, **change)).status == status


def test_volume_without_enough_history_is_no_pass() -> None:
    outcome = check_volume(USERS, 100, [100] * (USERS.checks.volume.minimumDays - 1))
    assert outcome.status == "unknown"
    assert "not enough history" in outcome.observed


@pytest.mark.parametrize(
    ("facts", "history", "status"),
    [
        (100, [90, 95, 100, 105, 110, 98], "passed"),
        (10, [90, 95, 100, 105, 110, 98], "failed"),
        (400, [90, 95, 100, 105, 110, 98], "failed"),
        # one broken day must not widen the bounds until nothing stands out
        (400, [90, 95, 100, 105, 110, 90_000], "failed"),
        # hours that never differ: one event more is no surprise
        (13, [12] * 8, "passed"),
        (0, [0] * 8, "passed"),
        (40, [0] * 8, "failed"),
        # hours that differ much, of which none was ever silent
        (0, [48, 12, 96, 20, 70, 35, 51], "failed"),
        (1, [48, 12, 96, 20, 70, 35, 51], "passed"),
        (0, [48, 12, 96, 0, 70, 35, 51], "passed"),
        (0, [3, 1, 7, 2, 5, 1, 4], "passed"),
    ],
)
def test_volume_against_the_same_hour_before(facts: int, history: list[int], status: str) -> None:
    assert check_volume(USERS, facts, history).status == status


def test_skew_is_judged_by_the_contract_s_limit() -> None:
    fast = facts(100)
    outcome = check_skew(USERS, fast, MASKER)
    assert (outcome.status, outcome.details["p99 seconds"]) == ("passed", 2.0)
    slow = fast.with_columns(
        pl.when(pl.col("offset") < 3)
        .then(pl.lit(AT + timedelta(days=1), MS))
        .otherwise(pl.col("ingest_time"))
        .alias("ingest_time")
    )
    outcome = check_skew(USERS, slow, MASKER)
    assert (outcome.status, outcome.failing, outcome.denominator) == ("failed", 3, 100)
    assert {s.offset for s in outcome.samples} == {0, 1, 2}


def test_skew_without_a_limit_or_facts_is_not_judged() -> None:
    assert CONTRACTS["metric_events"].checks.skew.p99Seconds is None
    no_limit = replace(USERS, checks=CONTRACTS["metric_events"].checks)
    outcome = check_skew(no_limit, facts(5), MASKER)
    assert (outcome.status, outcome.details["p50 seconds"]) == ("unknown", 2.0)
    assert check_skew(USERS, facts(0), MASKER).status == "unknown"


def test_keys_without_a_row_in_their_dimension() -> None:
    rows = facts(4, user_key=[1, 2, 9, None], date_key=[20261105] * 4)
    dimensions = {"user_key": pl.Series([1, 2, 3]), "date_key": pl.Series([20261105])}
    outcome = check_references(USERS, rows, dimensions, MASKER)
    assert (outcome.status, outcome.failing, outcome.denominator) == ("failed", 2, 8)
    assert outcome.observed == "user_key: 2 without a row"
    assert {s.offset for s in outcome.samples} == {2, 3}
    dimensions["user_key"] = pl.Series([1, 2, 9])
    assert check_references(USERS, rows.head(3), dimensions, MASKER).status == "passed"


def test_schema_drift_names_the_store_and_the_columns() -> None:
    expected = {"a": "String", "b": "Int64"}
    assert check_drift(USERS, {"the lake": (expected, dict(expected))}).status == "passed"
    outcome = check_drift(
        USERS, {"the lake": (expected, {"a": "Int64", "c": "String"}), "the registry": (expected, None)}
    )
    assert (outcome.status, outcome.failing, outcome.denominator) == ("failed", 5, 4)
    assert "the lake lacks b" in outcome.observed
    assert "the lake has besides c" in outcome.observed
    assert "the lake has another type for a" in outcome.observed
    assert "the registry: no schema" in outcome.observed


def test_a_range_is_as_bad_as_its_worst_hour() -> None:
    good = check_volume(USERS, 100, [100] * 8)
    bad = check_volume(USERS, 1, [100] * 8)
    open_ = check_volume(USERS, 1, [])
    assert combined("volume", {"1": good, "2": bad, "3": open_}).status == "failed"
    assert "(2)" in combined("volume", {"1": good, "2": bad}).observed
    assert combined("volume", {"1": good, "3": open_}).status == "passed"
    assert combined("volume", {"3": open_, "4": open_}).status == "unknown"
