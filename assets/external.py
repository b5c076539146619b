"""What the speed layer keeps, as assets that Dagster does not make: `sensors.observer` reports on them."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from assets.resources import BatchResource
from assets.specs import asset_spec, contract_columns, minute_freshness, postgres_uri, table_columns
from quality.speed import CHECKS, check_speed, read_speed
from streamgauge.contract.model import KEY_PREFIX, Contract
from streamgauge.contract.promises import source_promises
from streamgauge.dagster import keys as asset_keys
from streamgauge.stores.tables.speed import minutes_table


def definitions(contracts: Sequence[Contract]) -> dg.Definitions:
    return dg.Definitions(
        assets=[spec for c in contracts for spec in (_topic(c), _minutes(c), _top(c))],
        asset_checks=[_checks(c) for c in contracts],
    )


def _checks(contract: Contract) -> dg.AssetChecksDefinition:
    """The sensor reports these; here they can be asked for at any time, over all records instead of the latest."""

    @dg.multi_asset_check(
        name=f"{contract.stream}_speed_checks",
        specs=[
            dg.AssetCheckSpec(name, asset=dg.AssetKey(asset_keys.minutes(contract)), description=description)
            for name, description in CHECKS.items()
        ],
    )
    def check(batch: BatchResource) -> Iterator[dg.AssetCheckResult]:
        now = datetime.now(UTC)
        with batch.connect() as connection:
            state = read_speed(connection, [contract], now).get(contract.stream)
        if state is None:
            raise dg.Failure(f"no worker has taken up {contract.stream} yet; start one with `streamgauge worker`")
        for verdict in check_speed(contract, state, state.totals, now):
            yield dg.AssetCheckResult(
                passed=verdict.passed,
                asset_key=dg.AssetKey(asset_keys.minutes(contract)),
                check_name=verdict.check,
                severity=dg.AssetCheckSeverity[verdict.severity],
                description=verdict.why,
                metadata=dict(verdict.figures),
            )

    return check


def _topic(contract: Contract) -> dg.AssetSpec:
    days = contract.retention_ms // 86_400_000
    text = f"The topic that producers write to: Avro, {contract.version}, kept {days} days."
    if contract.source is not None:
        text = f"A topic of others, in {contract.source.format}. {' '.join(source_promises(contract))}"
    return asset_spec(
        contract,
        asset_keys.kafka(contract),
        description=f"{contract.purpose}\n\n{text}",
        kinds={"kafka", "avro" if contract.source is None else contract.source.format},
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
