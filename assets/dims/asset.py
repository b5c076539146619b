"""The assets `dims/dim_<name>`: one for each dimension that a contract names, and the calendar."""

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from assets.automation import Condition
from assets.code import code_version
from assets.dims.history import read_history
from assets.dims.store import DATE, HOUR, Dimensions, calendar, dimension_schema, dimension_table
from assets.locks import partition_lock
from assets.resources import BatchResource
from assets.specs import asset_spec, daily_freshness, frame_columns
from lineage.metadata import column_lineage
from streamgauge.contract.model import CALENDAR, NO_VALUE, Contract, Source
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.names import ROW_COUNT
from streamgauge.rollup.enrich import REFERENCE
from streamgauge.rollup.plan import Sources
from streamgauge.settings import batch_start, lake_root
from streamgauge.stores.fact_tables import duplicates_table, facts_table

WHOLE = datetime(1970, 1, 1, tzinfo=UTC)
"""A dimension has no partitions: it is locked by this hour."""

_DESCRIBED = {
    "valid_from": "Since when the reference table says so; empty where it said nothing yet.",
    "valid_to": "Until when; empty for the current version.",
    "is_current": "The version that holds now.",
}


def definitions(contracts: Sequence[Contract]) -> dg.Definitions:
    using: dict[str, list[Contract]] = {}
    for contract in contracts:
        for dimension in contract.star:
            using.setdefault(dimension.name, []).append(contract)
    own = [make_dimension(name, users) for name, users in using.items()]
    return dg.Definitions(assets=[*own, *(make_calendar(name, contracts) for name in CALENDAR)])


def make_dimension(name: str, contracts: Sequence[Contract]) -> dg.AssetsDefinition:
    attributes = _attributes(name, contracts[0])
    described = f"Each {name} that a fact leads to"
    if attributes:
        described += f", with its {' and '.join(attributes)} as the reference table had them over time (type 2)"

    @dg.multi_asset(name=f"dimension_{name}", specs=[_spec(name, f"{described}.", contracts, attributes)])
    def dimension(context: dg.AssetExecutionContext, batch: BatchResource) -> dg.MaterializeResult[Any]:
        return _result(name, remake(batch, name, contracts))

    return dimension


def make_calendar(name: str, contracts: Sequence[Contract]) -> dg.AssetsDefinition:
    described = {DATE: "Every day from the batch layer's first on.", HOUR: "The hours of a day, UTC."}[name]

    @dg.multi_asset(name=f"dimension_{name}", specs=[_spec(name, described, contracts, ())])
    def dimension(context: dg.AssetExecutionContext, batch: BatchResource) -> dg.MaterializeResult[Any]:
        rows = calendar(name, batch_start())
        with partition_lock(batch, asset_keys.dimension(name), [WHOLE]):
            dimension_table(batch.settings.lake, name).replace(None, rows)
        return _result(name, rows.height)

    return dimension


def remake(batch: BatchResource, name: str, contracts: Sequence[Contract]) -> int:
    """From all facts and the reference's history. What is there stays: a build that is under way may lead to it."""
    root = batch.settings.lake
    with partition_lock(batch, asset_keys.dimension(name), [WHOLE]) as lock:
        values = [_values(root, c, d) for c in contracts for d in c.star if d.name == name]
        spec = contracts[0].reference if _attributes(name, contracts[0]) else None
        history = None
        if spec is not None:
            with batch.connect() as connection:
                history = read_history(connection, spec)
        dimensions = Dimensions(root, contracts[0], history, batch_start(), lambda _: nullcontext())
        lock.check()
        return dimensions.remake(name, pl.concat(values))


def _values(root: str, contract: Contract, dimension: Source) -> pl.Series:
    named = {c: REFERENCE + c for c in (contract.reference.columns if contract.reference else ())}
    sources = Sources(contract, dimension.reads)
    value = sources.text(dimension).fill_null(NO_VALUE).alias(dimension.name)
    tables = (facts_table(root, contract), duplicates_table(root, contract))
    frames = [sources.add(t.scan().rename(named)).select(value) for t in tables]
    return pl.concat(frames).unique().collect(engine="streaming").to_series()


def _attributes(name: str, contract: Contract) -> tuple[str, ...]:
    return next(contract.attributes(d) for d in contract.star if d.name == name)


def _result(name: str, rows: int) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(asset_key=dg.AssetKey(asset_keys.dimension(name)), metadata={ROW_COUNT: rows})


def _spec(name: str, description: str, contracts: Sequence[Contract], attributes: tuple[str, ...]) -> dg.AssetSpec:
    path = asset_keys.dimension(name)
    key = f"{name}_key"
    described = {key: "Follows from the member alone, so a rebuild gives the same.", **_DESCRIBED}
    spec = asset_spec(
        contracts[0],
        path,
        description=f"{description} A star's dimension: facts lead to it by {key}.",
        kinds={"deltalake", "polars"},
        layer="facts",
        uri=dimension_table(lake_root(), name, attributes).url,
        columns=frame_columns(dimension_schema(name, attributes), described),
        freshness=daily_freshness(contracts[0]),
        deps=[] if name in CALENDAR else [asset_keys.facts(c) for c in contracts],
        metadata=column_lineage(contracts, path),
        # builds of facts add what they need; this brings what the reference table says of members without events
        condition=_while_idle(dg.AutomationCondition.cron_tick_passed("20 0 * * *")),  # pyright: ignore[reportUnknownArgumentType]
    )
    owners = list(dict.fromkeys(f"team:{c.owner}" for c in contracts))
    return spec.replace_attributes(  # pyright: ignore[reportUnknownMemberType]
        group_name="dimensions",
        owners=owners,
        tags={"layer": "facts"},
        code_version=code_version(contracts, ["assets.dims"]),
    )


def _while_idle(due: Condition) -> Condition:
    return due & ~dg.AutomationCondition.in_progress()
