"""The assets `rollups/<stream>_hourly` and `rollups/<stream>_daily`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets import event_hours
from assets.automation import daily_condition
from assets.locks import partition_lock
from assets.partitions import DAILY_RUNS, HOURLY_RUNS, Partitions, PartitionsOf, hours_of, upstream
from assets.resources import BatchResource
from assets.rollups.daily import publish_day
from assets.rollups.hourly import Rolled, publish, roll, store
from assets.specs import asset_spec, daily_freshness, hourly_freshness, table_columns
from assets.tracing import asset_span
from lineage.metadata import column_lineage
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import DAY_FORMAT, HOUR, hour_key
from streamgauge.dagster.names import PARTITION_ROW_COUNT
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.settings import lake_root
from streamgauge.state.generations import hold_generation
from streamgauge.stores.ddl import Table
from streamgauge.stores.rollup_tables import daily_table, hourly_table
from streamgauge.stores.tables.batch import rollups_table, stream_tables
from streamgauge.telemetry.catalog import attributes as a

_CODE = ["assets.rollups", "streamgauge.rollup", "streamgauge.expression"]


def definitions(contracts: Sequence[Contract], partitions_of: PartitionsOf) -> dg.Definitions:
    return dg.Definitions(assets=[make(c, partitions_of(c)) for c in contracts for make in (make_hourly, make_daily)])


def make_hourly(contract: Contract, partitions: Partitions) -> dg.AssetsDefinition:
    path = asset_keys.rollups_hourly(contract)
    key = dg.AssetKey(path)

    @dg.multi_asset(
        name=f"{contract.stream}_rollups_hourly",
        specs=[
            asset_spec(
                contract,
                path,
                description="Rollups of facts by minute and by hour of event time, with the measures and sketches of "
                "the speed layer. An hour is replaced in one transaction; if it was final and a number changes, the "
                "same transaction notes the revision.",
                kinds={"timescaledb", "deltalake", "polars"},
                layer="rollups",
                uri=hourly_table(lake_root(), contract).url,
                columns=table_columns(_table(contract, "1h")),
                freshness=hourly_freshness(contract),
                code=_CODE,
                deps=[asset_keys.facts(contract)],
                partitions=partitions.event_hours,
                metadata=column_lineage([contract], path),
            )
        ],
        backfill_policy=HOURLY_RUNS,
    )
    def hourly(context: dg.AssetExecutionContext, batch: BatchResource) -> dg.MaterializeResult[Any]:
        hours = hours_of(context)
        with asset_span(context, contract, path, event_hours.runs(batch, contract, hours)) as making:
            rolled_hours = roll_hours(batch, contract, hours, context.run.run_id)
            making.set_attribute(a.ROWS.name, sum(rolled.buckets for rolled in rolled_hours))
        for rolled in rolled_hours:
            context.add_asset_metadata(_metadata(rolled), asset_key=key, partition_key=hour_key(rolled.hour))
            if rolled.revision is not None:
                context.log.warning(f"{hour_key(rolled.hour)} was final: {rolled.revision}")
        return dg.MaterializeResult(asset_key=key)

    return hourly


def roll_hours(batch: BatchResource, contract: Contract, hours: Sequence[datetime], run_id: str) -> list[Rolled]:
    root, pseudonyms = batch.settings.lake, pseudonyms_of(batch.settings, contract)
    rolled_hours: list[Rolled] = []
    with (
        # facts and duplicates of one build must be read together
        partition_lock(batch, asset_keys.facts(contract), hours),
        partition_lock(batch, asset_keys.rollups_hourly(contract), hours) as lock,
        batch.connect(autocommit=True) as connection,
    ):
        marks = event_hours.built(connection, contract, hours)
        for group in roll(root, contract, pseudonyms, hours):
            lock.check()
            store(root, contract, group)
            rolled_hours += publish(connection, contract, pseudonyms, group, marks, run_id, lock.check)
    return rolled_hours


def make_daily(contract: Contract, partitions: Partitions) -> dg.AssetsDefinition:
    path = asset_keys.rollups_daily(contract)
    key = dg.AssetKey(path)

    @dg.multi_asset(
        name=f"{contract.stream}_rollups_daily",
        specs=[
            asset_spec(
                contract,
                path,
                description="Rollups by day of event time, UTC: the day's hours added up, their sketches merged.",
                kinds={"timescaledb", "deltalake", "polars"},
                layer="rollups",
                uri=daily_table(lake_root(), contract).url,
                columns=table_columns(_table(contract, "1d")),
                freshness=daily_freshness(contract),
                code=_CODE,
                deps=[upstream(asset_keys.rollups_hourly(contract))],
                partitions=partitions.event_days,
                condition=daily_condition(),
                metadata=column_lineage([contract], path),
            )
        ],
        backfill_policy=DAILY_RUNS,
    )
    def daily(context: dg.AssetExecutionContext, batch: BatchResource) -> dg.MaterializeResult[Any]:
        written = 0
        with asset_span(context, contract, path) as making:
            for name in context.partition_keys:
                rows, facts = roll_day(batch, contract, _day(name))
                written += rows
                metadata = {PARTITION_ROW_COUNT: rows, "facts": facts}
                context.add_asset_metadata(metadata, asset_key=key, partition_key=name)
            making.set_attribute(a.ROWS.name, written)
        return dg.MaterializeResult(asset_key=key)

    return daily


def roll_day(batch: BatchResource, contract: Contract, day: datetime) -> tuple[int, int]:
    """From the hours as they are published. Returns rows and facts."""
    with (
        partition_lock(batch, asset_keys.rollups_hourly(contract), [day + i * HOUR for i in range(24)]),
        partition_lock(batch, asset_keys.rollups_daily(contract), [day]) as lock,
        batch.connect(autocommit=True) as connection,
    ):
        lock.check()
        with connection.transaction():
            hold_generation(connection, contract)
            days = publish_day(connection, batch.settings.lake, contract, day)
            lock.check()
    return days.rows.height, int(days.rows["count"].sum())


def _day(name: str) -> datetime:
    return datetime.strptime(name, DAY_FORMAT).replace(tzinfo=UTC)


def _metadata(rolled: Rolled) -> dict[str, Any]:
    metadata: dict[str, Any] = {PARTITION_ROW_COUNT: rolled.buckets, "facts": rolled.facts}
    return metadata if rolled.revision is None else {**metadata, "revision": rolled.revision}


def _table(contract: Contract, size: str) -> Table:
    return next(t for t in stream_tables(contract) if t.name == rollups_table(contract, size))
