"""The cold lake: every record of a stream, by the hour in which it came in."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.automation import lake_condition
from assets.lake.take import Taken, take_hour
from assets.locks import partition_lock
from assets.partitions import HOURLY, HOURLY_RUNS, hours_of
from assets.resources import Ground
from assets.specs import asset_spec, contract_columns, frame_columns, hourly_freshness
from lineage.metadata import column_lineage
from streamgauge import asset_keys
from streamgauge.contracts import Contract
from streamgauge.hours import hour_key
from streamgauge.lake import lake_table
from streamgauge.settings import batch_start, lake_root

_DESCRIBED = {
    "partition": "The record's partition in Kafka.",
    "offset": "The record's offset in its partition.",
    "ingest_time": "When the broker appended the record.",
    "ingest_hour": "The hour of ingest_time, UTC: the table's partition.",
    "event_hour": "The hour whose facts answer for the record.",
    "error": "Why the record could not be decoded.",
    "record": "The record as it came, where it could not be decoded.",
}


def definitions(contracts: Sequence[Contract]) -> dg.Definitions:
    return dg.Definitions(assets=[make_lake(c) for c in contracts])


def make_lake(contract: Contract) -> dg.AssetsDefinition:
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
                deps=[asset_keys.kafka(contract)],
                partitions=HOURLY,
                condition=lake_condition(),
                metadata=column_lineage(contract, path),
            )
        ],
        backfill_policy=HOURLY_RUNS,
    )
    def lake(context: dg.AssetExecutionContext, ground: Ground) -> Iterator[dg.MaterializeResult[Any]]:
        taken: list[Taken] = []
        for hour in hours_of(context):
            with partition_lock(ground, path, [hour]) as lock, ground.connect(autocommit=True) as connection:
                lock.check()
                now = datetime.now(UTC)
                taken.append(
                    take_hour(
                        ground.settings, contract, connection, hour, now=now, start=batch_start(), run_id=context.run_id
                    )
                )
            context.add_asset_metadata(taken[-1].metadata, asset_key=key, partition_key=hour_key(hour))
        yield dg.MaterializeResult(asset_key=key, metadata=_totals(taken))

    return lake


def _totals(taken: Sequence[Taken]) -> dict[str, Any]:
    return {
        "hours": len(taken),
        "rows": sum(t.stored.rows for t in taken),
        "bytes": sum(t.stored.bytes for t in taken),
        "event hours": len({h for t in taken for h in t.event_hours}),
    }
