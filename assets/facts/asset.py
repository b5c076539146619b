"""The assets of facts, duplicates and quarantine: one step makes all three, and the dimensions' new members."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg
import polars as pl

from assets import event_hours
from assets.dims.asset import WHOLE
from assets.dims.history import read_history
from assets.dims.store import dimension_rows
from assets.facts.build import Built, FactsBuilder
from assets.locks import PartitionLock, partition_lock
from assets.partitions import HOURLY_RUNS, Partitions, PartitionsOf, hours_of, upstream
from assets.resources import BatchResource
from assets.specs import asset_spec, contract_columns, frame_columns, hourly_freshness
from assets.tracing import asset_span, link_to
from lineage.metadata import column_lineage
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import hour_key, hour_of
from streamgauge.dagster.names import PARTITION_ROW_COUNT, ROW_COUNT
from streamgauge.settings import batch_start, lake_root
from streamgauge.stores.fact_tables import DATE_KEY, HOUR_KEY, duplicates_table, facts_table, quarantine_table
from streamgauge.stores.lake import LakeTable
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry.catalog import attributes as a

_DESCRIBED = {
    "partition": "The record's partition in Kafka.",
    "offset": "The record's offset in its partition.",
    "ingest_time": "When the broker appended the record.",
    DATE_KEY: "The day's row in dim_date.",
    HOUR_KEY: "The hour's row in dim_hour.",
    "event_hour": "The partition: the hour of event time, UTC.",
    "rule": "The rule of the contract that the record breaks.",
    "record": "The record as it came, where it could not be decoded.",
}


def definitions(contracts: Sequence[Contract], partitions_of: PartitionsOf) -> dg.Definitions:
    return dg.Definitions(assets=[make_facts(c, partitions_of(c)) for c in contracts])


def make_facts(contract: Contract, partitions: Partitions) -> dg.AssetsDefinition:
    facts_key, duplicates_key, quarantine_key = (dg.AssetKey(p) for p in asset_keys.facts_tables(contract))

    @dg.multi_asset(name=f"{contract.stream}_facts", specs=_specs(contract, partitions), backfill_policy=HOURLY_RUNS)
    def facts(context: dg.AssetExecutionContext, batch: BatchResource) -> Iterator[dg.MaterializeResult[Any]]:
        with asset_span(context, contract, asset_keys.facts(contract)) as making:
            built = build(batch, contract, hours_of(context), context.run.run_id)
            making.set_attribute(a.ROWS.name, sum(b.facts for b in built.hours))
            link_to(making, built.lake_runs)
        for name, rows in built.dimensions.items():
            key = dg.AssetKey(asset_keys.dimension(name))
            context.log_event(dg.AssetMaterialization(key, metadata={ROW_COUNT: rows}))
        counts = {
            facts_key: {hour_key(b.hour): b.facts for b in built.hours},
            duplicates_key: {hour_key(b.hour): b.duplicates for b in built.hours},
            quarantine_key: {hour_key(b.hour): b.quarantined for b in built.hours},
        }
        for key, rows in counts.items():
            yield _result(context, key, rows)

    return facts


def _result(context: dg.AssetExecutionContext, key: dg.AssetKey, rows: Mapping[str, int]) -> dg.MaterializeResult[Any]:
    """One result for a table, with the rows of each hour, and of all of them where there are several."""
    for hour, count in rows.items():
        metadata = {PARTITION_ROW_COUNT: count}
        context.add_asset_metadata(metadata, asset_key=key, partition_key=hour)
    total = {"rows": sum(rows.values())} if len(rows) > 1 else None
    return dg.MaterializeResult(asset_key=key, metadata=total)


def _specs(contract: Contract, partitions: Partitions) -> list[dg.AssetSpec]:
    root = lake_root()

    def spec(path: asset_keys.AssetPath, description: str, table: LakeTable) -> dg.AssetSpec:
        return asset_spec(
            contract,
            path,
            description=description,
            kinds={"deltalake", "polars"},
            layer="facts",
            uri=table.url,
            columns=_columns(contract, table.schema),
            freshness=hourly_freshness(contract),
            code=["assets.facts", "assets.dims", "streamgauge.contract.rules", "streamgauge.expression"],
            deps=[upstream(asset_keys.lake(contract))],
            partitions=partitions.event_hours,
            metadata=column_lineage([contract], path),
        )

    return [
        spec(
            asset_keys.facts(contract),
            f"{contract.purpose}\n\nEach event once: valid, without duplicates, enriched as of its ingest time, with "
            "the keys of its dimensions.",
            facts_table(root, contract),
        ),
        spec(
            asset_keys.duplicates(contract),
            "Valid records whose event is a fact already, in the form of the facts. Most hours have none.",
            duplicates_table(root, contract),
        ),
        spec(
            asset_keys.quarantine(contract),
            "Records that break the contract, each with the rule. Most hours have none.",
            quarantine_table(root, contract),
        ),
    ]


@dataclass(frozen=True)
class FactsBuilt:
    """What a step made: its hours in order, and the rows of each dimension that it had to add members to."""

    hours: Sequence[Built]
    dimensions: Mapping[str, int]
    lake_runs: Sequence[str]
    """Those that took the records into the lake."""


def build(batch: BatchResource, contract: Contract, hours: Sequence[datetime], run_id: str) -> FactsBuilt:
    """An hour counts as built once all three of its tables hold it."""
    written: set[str] = set()

    def locked(dimension: str) -> AbstractContextManager[PartitionLock]:
        written.add(dimension)
        return partition_lock(batch, asset_keys.dimension(dimension), [WHOLE])

    with (
        partition_lock(batch, asset_keys.facts(contract), hours) as lock,
        batch.connect(autocommit=True) as connection,
    ):
        marks = event_hours.touched(connection, contract, hours)
        history = read_history(connection, contract.reference) if contract.reference else None
        builder = FactsBuilder(batch.settings.lake, contract, history, batch_start(), locked, lock.check)
        built = list(builder.build(hours))
        event_hours.note_built(connection, contract, marks, built, run_id)
        lake_runs = _lake_runs(connection, contract, builder.ingest_hours)
    return FactsBuilt(built, {n: dimension_rows(batch.settings.lake, n) for n in sorted(written)}, lake_runs)


def _lake_runs(connection: Connection, contract: Contract, hours: Iterable[str]) -> list[str]:
    rows = connection.execute(
        "SELECT DISTINCT run_id FROM lake_hours WHERE stream = %s AND hour = ANY(%s)",
        (contract.stream, list(map(hour_of, hours))),
    )
    return [run_id for (run_id,) in rows]


def _columns(contract: Contract, schema: Mapping[str, pl.DataType]) -> list[dg.TableColumn]:
    own = contract_columns(contract)
    described = {**_DESCRIBED, **{f"{d.name}_key": f"The row in dim_{d.name}." for d in contract.star}}
    if contract.reference is not None:
        text = f"From the reference {contract.reference.name}, as of the ingest time."
        described |= dict.fromkeys(contract.reference.columns, text)
    rest = {n: t for n, t in schema.items() if n not in contract.field}
    return [*own, *frame_columns(rest, described)]
