"""The assets `facts/<stream>`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import dagster as dg

from assets import event_hours
from assets.dims.asset import WHOLE
from assets.dims.history import read_history
from assets.facts.build import Built, FactsBuilder
from assets.locks import PartitionLock, partition_lock
from assets.partitions import HOURLY, HOURLY_RUNS, hours_of
from assets.resources import Ground
from assets.specs import asset_spec, contract_columns, frame_columns, hourly_freshness
from lineage.metadata import column_lineage
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import hour_key
from streamgauge.settings import batch_start, lake_root
from streamgauge.stores.fact_tables import DATE_KEY, HOUR_KEY, facts_schema, facts_table

_DESCRIBED = {
    "partition": "The record's partition in Kafka.",
    "offset": "The record's offset in its partition.",
    "ingest_time": "When the broker appended the record.",
    DATE_KEY: "Leads to dims/date.",
    HOUR_KEY: "Leads to dims/hour.",
    "event_hour": "The partition: the hour of event time, UTC.",
}


def definitions(contracts: Sequence[Contract]) -> dg.Definitions:
    return dg.Definitions(assets=[make_facts(c) for c in contracts])


def make_facts(contract: Contract) -> dg.AssetsDefinition:
    path = asset_keys.facts(contract)
    key = dg.AssetKey(path)

    @dg.multi_asset(
        name=f"{contract.stream}_facts",
        specs=[
            asset_spec(
                contract,
                path,
                description=f"{contract.purpose}\n\nEach event once: valid, without duplicates, enriched as of its "
                "ingest time, with the keys of its dimensions. What breaks the contract is in quarantine/"
                f"{contract.stream}, records of events that are here already in duplicates/{contract.stream}.",
                kinds={"deltalake", "polars"},
                layer="facts",
                uri=facts_table(lake_root(), contract).url,
                columns=_columns(contract),
                freshness=hourly_freshness(contract),
                deps=[asset_keys.lake(contract)],
                partitions=HOURLY,
                metadata=column_lineage(contract, path),
            )
        ],
        backfill_policy=HOURLY_RUNS,
    )
    def facts(context: dg.AssetExecutionContext, ground: Ground) -> dg.MaterializeResult[Any]:
        made = build(ground, contract, hours_of(context), context.run.run_id)
        for hour in made:
            context.add_asset_metadata(_metadata(hour), asset_key=key, partition_key=hour_key(hour.hour))
        totals = Built(
            made[0].hour, *(sum(getattr(b, n) for b in made) for n in ("facts", "duplicates", "quarantined"))
        )
        return dg.MaterializeResult(asset_key=key, metadata=_metadata(totals) if len(made) > 1 else None)

    return facts


def build(ground: Ground, contract: Contract, hours: Sequence[datetime], run_id: str) -> list[Built]:
    """What was built, in the hours' order. An hour counts as built once all three of its tables hold it."""

    def locked(dimension: str) -> AbstractContextManager[PartitionLock]:
        return partition_lock(ground, asset_keys.dimension(dimension), [WHOLE])

    with (
        partition_lock(ground, asset_keys.facts(contract), hours) as lock,
        ground.connect(autocommit=True) as connection,
    ):
        marks = event_hours.touched(connection, contract, hours)
        history = read_history(connection, contract.reference) if contract.reference else None
        builder = FactsBuilder(ground.settings.lake, contract, history, batch_start(), locked, lock.check)
        made = list(builder.build(hours))
        event_hours.note_built(connection, contract, marks, made, run_id)
    return made


def _metadata(built: Built) -> dict[str, Any]:
    return {
        "dagster/partition_row_count": built.facts,
        "duplicates": built.duplicates,
        "quarantined": built.quarantined,
    }


def _columns(contract: Contract) -> list[dg.TableColumn]:
    own = contract_columns(contract)
    described = {**_DESCRIBED, **{f"{d.name}_key": f"Leads to dims/{d.name}." for d in contract.star}}
    if contract.reference is not None:
        said = f"From the reference {contract.reference.name}, as of the ingest time."
        described |= dict.fromkeys(contract.reference.columns, said)
    rest = {n: t for n, t in facts_schema(contract).items() if n not in contract.field}
    return [*own, *frame_columns(rest, described)]
