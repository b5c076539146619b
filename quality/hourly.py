"""The hourly checks over a range of hours, read in pieces that fit in memory whatever the hours hold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import polars as pl

from quality import read
from quality.checks import completeness, contract, drift, quarantine, references, skew, volume
from quality.checks.completeness import Outputs, check_completeness, check_offsets
from quality.checks.contract import check_contract
from quality.checks.drift import check_drift
from quality.checks.quarantine import check_quarantine
from quality.checks.references import check_references
from quality.checks.skew import check_skew
from quality.checks.volume import check_volume
from quality.masking import Masker, no_values_in_errors
from quality.outcome import CheckOutcome
from quality.stores import stores_of
from streamgauge.contract.model import CheckSpec, ChecksSpec, Contract
from streamgauge.dagster.hours import hour_key
from streamgauge.records.registry import Registry
from streamgauge.stores.fact_tables import duplicates_table, facts_table, quarantine_table
from streamgauge.stores.lake import (
    EVENT_HOUR,
    INGEST_HOUR,
    INGEST_TIME,
    OFFSET,
    PARTITION,
    RECORD,
    LakeTable,
    lake_table,
)
from streamgauge.stores.postgres import Connection

FACTS_CHECKS = {
    contract.CHECK: "Every fact keeps the contract: types, nulls, ranges, lengths, patterns, allowed values and what "
    "belongs together. What broke it should be in quarantine, so this stops what comes after.",
    quarantine.CHECK: "The share of records in quarantine is within the contract's limit.",
    completeness.COMPLETENESS: "Each of the lake's records that the hour answers for is a fact, a duplicate or in "
    "quarantine, and only one of them.",
    volume.CHECK: "As many facts as in the same hour of the days before. Left out while there is not enough history.",
    skew.CHECK: "Events come in within the time that the contract allows. Left out where it sets no limit.",
    references.CHECK: "Every key of the star schema leads to a row of its dimension.",
}
LAKE_CHECKS = {
    completeness.OFFSETS: "Every offset of the hour is in the lake once, and none lies between two hours.",
    drift.CHECK: "Lake, facts and registry have the contract's columns.",
}
_ROWS_AT_ONCE = 2_000_000

Outcomes = dict[str, dict[str, CheckOutcome]]
"""By check, then by the hour's key."""


def spec_of(checks: ChecksSpec, check: str) -> CheckSpec:
    return checks.schemaDrift if check == drift.CHECK else getattr(checks, check)


def check_facts(connection: Connection, c: Contract, root: str, hours: Sequence[datetime]) -> Outcomes:
    found: Outcomes = {check: {} for check in FACTS_CHECKS}
    with no_values_in_errors(f"checking the facts of {c.stream}"):
        for piece in _pieces(facts_table(root, c), hours):
            for check, by_hour in _check_piece(connection, c, root, piece).items():
                found[check] |= by_hour
    return found


def check_lake(
    connection: Connection, c: Contract, root: str, registry: Registry, hours: Sequence[datetime]
) -> Outcomes:
    """Schema drift is as of now, so it belongs to the latest hour alone."""
    books = read.hour_books(connection, c, hours)
    table = lake_table(root, c)
    found: Outcomes = {completeness.OFFSETS: {}, drift.CHECK: {}}
    with no_values_in_errors(f"checking the lake of {c.stream}"):
        for piece in _pieces(table, hours):
            rows = table.read([hour_key(h) for h in piece], [PARTITION, OFFSET, INGEST_HOUR])
            for hour in piece:
                key = hour_key(hour)
                of_hour = rows.filter(pl.col(INGEST_HOUR) == key)
                found[completeness.OFFSETS][key] = check_offsets(c, of_hour, books.get(hour, []))
    found[drift.CHECK][hour_key(max(hours))] = check_drift(c, stores_of(c, root, registry))
    return found


def _pieces(table: LakeTable, hours: Sequence[datetime]) -> Iterator[list[datetime]]:
    rows = {key: stored.rows for key, stored in table.stored([hour_key(h) for h in hours]).items()}
    piece: list[datetime] = []
    held = 0
    for hour in hours:
        here = rows.get(hour_key(hour), 0)
        if piece and held + here > _ROWS_AT_ONCE:
            yield piece
            piece, held = [], 0
        piece.append(hour)
        held += here
    if piece:
        yield piece


def _check_piece(connection: Connection, c: Contract, root: str, hours: Sequence[datetime]) -> Outcomes:
    keys = {hour: hour_key(hour) for hour in hours}
    late = read.late_by_hour(connection, c, hours)
    volumes = read.Volumes(connection, c, hours)
    # before the tables: what is outdated later than this was not, as they were read
    outdated = read.outdated_again(connection, c, hours)
    position = [PARTITION, OFFSET, EVENT_HOUR]
    checked = [*c.field, *position, INGEST_TIME, *read.key_columns(c)]
    facts = facts_table(root, c).read(list(keys.values()), checked)
    tables = {
        "facts": facts,
        "duplicates": duplicates_table(root, c).read(list(keys.values()), position),
        "quarantine": quarantine_table(root, c).read(list(keys.values())).drop(RECORD),
        "lake": read.positions_due(root, c, hours),
    }
    outdated |= read.outdated_again(connection, c, hours)
    parts = {name: _by_hour(table) for name, table in tables.items()}
    of = {name: {key: parts[name].get(key, table.clear()) for key in keys.values()} for name, table in tables.items()}
    masker = Masker(c)
    dimensions = read.dimension_keys(root, c)
    found: Outcomes = {
        contract.CHECK: _once(lambda rows: check_contract(c, rows, masker), facts, of["facts"]),
        references.CHECK: _once(lambda rows: check_references(c, rows, dimensions, masker), facts, of["facts"]),
    }
    for hour, key in keys.items():
        rows, quarantined = of["facts"][key], of["quarantine"][key]
        outputs = Outputs(rows, of["duplicates"][key], quarantined)
        for outcome in (
            check_quarantine(c, rows.height + outputs.duplicates.height, quarantined, masker),
            check_completeness(c, of["lake"][key], outputs, late.get(hour, 0), masker, moving=hour in outdated),
            check_volume(c, rows.height, volumes.before(hour)),
            check_skew(c, rows, masker),
        ):
            found.setdefault(outcome.check, {})[key] = outcome
    return found


def _by_hour(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    return {str(key): part for (key,), part in rows.partition_by(EVENT_HOUR, as_dict=True).items()}


def _once(
    check: Callable[[pl.DataFrame], CheckOutcome], rows: pl.DataFrame, by_hour: Mapping[str, pl.DataFrame]
) -> dict[str, CheckOutcome]:
    """Over all rows at once, and hour by hour only if one of them fails: nearly always none does."""
    whole = check(rows)
    if whole.status != "passed":
        return {key: check(part) for key, part in by_hour.items()}
    a_row = whole.denominator // rows.height if rows.height else 0
    return {key: replace(whole, denominator=part.height * a_row) for key, part in by_hour.items()}
