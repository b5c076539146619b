"""Which tables there are to look after, and how long each keeps its rows: from the contract alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from assets.dims.store import dimension_table
from streamgauge.contract.model import CALENDAR, Contract
from streamgauge.dagster.hours import hour_key
from streamgauge.stores.fact_tables import duplicates_table, facts_table, quarantine_table
from streamgauge.stores.lake import LakeTable, lake_table
from streamgauge.stores.rollup_tables import daily_table, hourly_table
from streamgauge.stores.tables.batch import rollups_table

DELAYS_KEPT = timedelta(days=8)
"""The worker's delays serve percentiles over days; how records arrived is kept as long."""
HISTORY_KEPT = timedelta(days=30)
"""Dagster's events, what was found by checks and comparisons that were made again since, and OpenLineage's events."""


@dataclass(frozen=True)
class Kept:
    """A lake table; partitions whose name sorts before `first` are over. None keeps all."""

    table: LakeTable
    first: str | None


@dataclass(frozen=True)
class KeptChunks:
    """A hypertable, the column of its time, and the time before which its chunks are over."""

    table: str
    time: str
    first: datetime


def lake_tables(root: str, contracts: Sequence[Contract], now: datetime) -> list[Kept]:
    kept: list[Kept] = []
    for contract in contracts:
        facts = _first(contract.facts_retention_ms, now)
        kept.append(Kept(lake_table(root, contract), _first(contract.lake_retention_ms, now)))
        kept += [Kept(t(root, contract), facts) for t in (facts_table, duplicates_table, quarantine_table)]
        kept += [Kept(t(root, contract), None) for t in (hourly_table, daily_table)]
    return kept + [Kept(dimension_table(root, name), None) for name in sorted(_dimensions(contracts))]


def hypertables(contracts: Iterable[Contract], now: datetime) -> list[KeptChunks]:
    """Hours, days and their tops stay: minutes are what grows."""
    kept: list[KeptChunks] = []
    for contract in contracts:
        if contract.minutes_retention_ms is not None:
            first = now - timedelta(milliseconds=contract.minutes_retention_ms)
            kept += [KeptChunks(name, "minute", first) for name in (contract.minutes_table, contract.top_table)]
            kept.append(KeptChunks(rollups_table(contract, "1m"), "window_start", first))
    return kept


def _first(retention_ms: int | None, now: datetime) -> str | None:
    return None if retention_ms is None else hour_key(now - timedelta(milliseconds=retention_ms))


def _dimensions(contracts: Iterable[Contract]) -> set[str]:
    return {*CALENDAR, *(d.name for c in contracts for d in c.star)}
