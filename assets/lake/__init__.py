"""The cold lake: every record of a stream, by the hour in which it came in."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.automation import lake_condition
from assets.lake.load import LoadedHour, load_hour
from assets.locks import partition_lock
from assets.partitions import HOURLY_RUNS, Partitions, PartitionsOf, hours_of
from assets.resources import BatchResource
from assets.specs import asset_spec, contract_columns, frame_columns, hourly_freshness
from assets.tracing import asset_span
from lineage.metadata import column_lineage
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import hour_key
from streamgauge.errors import UserError
from streamgauge.settings import batch_start, lake_root
from streamgauge.stores.lake import lake_table
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.tracing import offset_ranges

_DESCRIBED = {
    "partition": "The record's partition in Kafka.",
    "offset": "The record's offset in its partition.",
    "ingest_time": "When the broker appended the record.",
    "ingest_hour": "The hour of ingest_time, UTC: the table's partition.",
    "event_hour": "The hour whose facts answer for the record.",
    "error": "Why the record could not be decoded.",
    "record": "The record as it came, where it could not be decoded.",
}


def definitions(contracts: Sequence[Contract], partitions_of: PartitionsOf) -> dg.Definitions:
    return dg.Definitions(assets=[make_lake(c, partitions_of(c)) for c in contracts])


def make_lake(contract: Contract, partitions: Partitions) -> dg.AssetsDefinition:
    path = asset_keys.lake(contract)
    key = dg.AssetKey(path)
    table = lake_table(lake_root(), contract)
    own = {n: t for n, t in table.schema.items() if n not in contract.field}

    @dg.multi_asset(
        name=f"{contract.stream}_lake",
        specs=[
            asset_spec(
                contract,
                path,
                description=f"Every record of {contract.topic}, by hour of ingest time: exactly its offsets, each "
                "once, also those that can't be decoded. The hour still open may be taken too, and is replaced when it "
                "is over.",
                kinds={"kafka", "deltalake", "polars"},
                layer="lake",
                uri=table.url,
                columns=[*contract_columns(contract), *frame_columns(own, _DESCRIBED)],
                freshness=hourly_freshness(contract),
                code=["assets.lake", "streamgauge.records"],
                deps=[asset_keys.kafka(contract)],
                partitions=partitions.ingest_hours,
                condition=lake_condition(),
                metadata=column_lineage([contract], path),
            )
        ],
        backfill_policy=HOURLY_RUNS,
    )
    def lake(context: dg.AssetExecutionContext, batch: BatchResource) -> Iterator[dg.MaterializeResult[Any]]:
        loaded: list[LoadedHour] = []
        refused: list[tuple[datetime, UserError]] = []
        hours = hours_of(context)
        with asset_span(context, contract, path) as making:
            for hour in hours:
                try:
                    result = _load(batch, contract, hour, context.run.run_id)
                except UserError as e:
                    refused.append((hour, e))
                    continue
                loaded.append(result)
                if len(hours) > 1:
                    context.add_asset_metadata(result.metadata, asset_key=key, partition_key=hour_key(hour))
            rows = sum(result.stored.rows for result in loaded)
            making.set_attributes({a.ROWS.name: rows, a.OFFSETS.name: _offsets(loaded)})
            if refused:
                raise _not_loaded(context, key, loaded, refused)
        totals = loaded[0].metadata if len(hours) == 1 else _totals(loaded)
        yield dg.MaterializeResult(asset_key=key, metadata=totals)

    return lake


def _load(batch: BatchResource, contract: Contract, hour: datetime, run_id: str) -> LoadedHour:
    with (
        partition_lock(batch, asset_keys.lake(contract), [hour]) as lock,
        batch.connect(autocommit=True) as connection,
    ):
        return load_hour(
            batch.settings,
            contract,
            connection,
            hour,
            now=datetime.now(UTC),
            start=batch_start(),
            run_id=run_id,
            check=lock.check,
        )


def _not_loaded(
    context: dg.AssetExecutionContext,
    key: dg.AssetKey,
    loaded: Sequence[LoadedHour],
    refused: Sequence[tuple[datetime, UserError]],
) -> dg.Failure:
    """One hour that can't be loaded must not keep the others of its run from being known as made."""
    for result in loaded:
        context.log_event(
            dg.AssetMaterialization(key, partition=hour_key(result.hour), metadata=result.metadata),
        )
    reasons = "\n".join(f"{hour_key(hour)}: {e.what}; {e.hint}" for hour, e in refused)
    return dg.Failure(f"{len(refused)} of {len(refused) + len(loaded)} hours were not taken:\n{reasons}")


def _offsets(loaded: Sequence[LoadedHour]) -> str:
    """What was read of each partition."""
    read: dict[int, tuple[int, int]] = {}
    for partition, (first, end) in (span for result in loaded for span in result.spans.items()):
        known = read.get(partition, (first, end))
        read[partition] = min(first, known[0]), max(end, known[1])
    return offset_ranges((partition, first, end) for partition, (first, end) in sorted(read.items()))


def _totals(loaded: Sequence[LoadedHour]) -> dict[str, Any]:
    return {
        "hours": len(loaded),
        "rows": sum(t.stored.rows for t in loaded),
        "bytes": sum(t.stored.bytes for t in loaded),
        "event hours": len({h for t in loaded for h in t.event_hours}),
    }
