"""What the speed layer keeps, as assets that Dagster does not make: `sensors.observer` reports on them."""

from collections.abc import Sequence

import dagster as dg

from assets.specs import asset_spec, contract_columns, minute_freshness, postgres_uri, table_columns
from streamgauge import asset_keys
from streamgauge.contracts import KEY_PREFIX, Contract
from streamgauge.tables.speed import minutes_table


def definitions(contracts: Sequence[Contract]) -> dg.Definitions:
    return dg.Definitions(assets=[spec for c in contracts for spec in (_topic(c), _minutes(c), _top(c))])


def _topic(contract: Contract) -> dg.AssetSpec:
    return asset_spec(
        contract,
        asset_keys.kafka(contract),
        description=f"{contract.purpose}\n\nThe topic that producers write to: Avro, {contract.version}, kept "
        f"{contract.retention_ms // 86_400_000} days.",
        kinds={"kafka", "avro"},
        layer="speed",
        uri=f"kafka:///{contract.topic}",
        columns=contract_columns(contract),
        freshness=minute_freshness(contract),
    )


def _minutes(contract: Contract) -> dg.AssetSpec:
    table = minutes_table(contract)
    return asset_spec(
        contract,
        asset_keys.minutes(contract),
        description="Provisional rollups by minute of event time, partition and dimensions, written by the worker "
        "seconds after the event.",
        kinds={"timescaledb"},
        layer="speed",
        uri=postgres_uri(table.name),
        columns=table_columns(table),
        freshness=minute_freshness(contract),
        deps=[asset_keys.kafka(contract)],
    )


def _top(contract: Contract) -> dg.AssetSpec:
    return asset_spec(
        contract,
        asset_keys.redis_top(contract),
        description="Top lists and latest minutes, replaced whole after each commit. They can be lost at any time and "
        "are made again from Postgres.",
        kinds={"redis"},
        layer="speed",
        uri=f"redis:///{KEY_PREFIX}{contract.stream}",
        columns=[
            dg.TableColumn("top", "string", "Which list, and over which window."),
            dg.TableColumn("value", "string", "Who is on it."),
            dg.TableColumn("count", "long", "How often, with the list's error bound."),
        ],
        freshness=minute_freshness(contract),
        deps=[asset_keys.minutes(contract)],
    )
