"""Asset specs from contracts: what a new contract's assets say of themselves without anyone writing it down."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
import polars as pl

from assets.code import code_version
from streamgauge.contract.model import Contract, FieldSpec
from streamgauge.dagster.keys import AssetPath
from streamgauge.dagster.names import COLUMN_SCHEMA, URI
from streamgauge.stores.ddl import Table

REPORTING = timedelta(minutes=2)
"""External assets are reported at most once a minute, so Dagster can't see them fresher than this."""


def asset_spec(
    contract: Contract,
    path: AssetPath,
    *,
    description: str,
    kinds: set[str],
    layer: str,
    uri: str,
    columns: Sequence[dg.TableColumn],
    freshness: dg.FreshnessPolicy,
    code: Sequence[str] = (),
    deps: Iterable[AssetPath | dg.AssetDep] = (),
    partitions: dg.PartitionsDefinition[str] | None = None,
    condition: dg.AutomationCondition[dg.AssetKey] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetSpec:
    """`layer` is speed, lake, facts, rollups, reconciliation or quality. `uri` must hold no login. `code` are the
    packages and modules whose change may change the asset's rows; none for what Dagster does not make.
    """
    return dg.AssetSpec(
        key=dg.AssetKey(path),
        description=description,
        group_name=contract.stream,
        owners=[f"team:{contract.owner}"],
        kinds=kinds,
        tags={"stream": contract.stream, "layer": layer},
        deps=[d if isinstance(d, dg.AssetDep) else dg.AssetDep(dg.AssetKey(d)) for d in deps],
        partitions_def=partitions,
        automation_condition=condition,
        freshness_policy=freshness,
        code_version=code_version([contract], code) if code else None,
        metadata={
            URI: uri,
            COLUMN_SCHEMA: dg.TableSchema(columns=list(columns)),
            "contract_version": contract.version,
            **(metadata or {}),
        },
    )


def minute_freshness(contract: Contract) -> dg.FreshnessPolicy:
    """Of what the worker writes. Dagster hears of it with a delay; `sensors.freshness` judges the data's own time."""
    return _policy(timedelta(milliseconds=contract.freshness_ms) + REPORTING)


def hourly_freshness(contract: Contract) -> dg.FreshnessPolicy:
    return _policy(timedelta(milliseconds=contract.hourly_freshness_ms))


def daily_freshness(contract: Contract) -> dg.FreshnessPolicy:
    return _policy(timedelta(milliseconds=contract.daily_freshness_ms))


def _policy(window: timedelta) -> dg.FreshnessPolicy:
    """Warns once three quarters of the time are gone."""
    return dg.FreshnessPolicy.time_window(fail_window=window, warn_window=window * 3 / 4)


def contract_columns(contract: Contract) -> list[dg.TableColumn]:
    return [_contract_column(contract, f) for f in contract.fields]


def _contract_column(contract: Contract, field: FieldSpec) -> dg.TableColumn:
    rules = {
        "length": None if field.max_length is None else f"{field.min_length or 0} to {field.max_length}",
        "pattern": field.pattern,
        "minimum": _plain(field.minimum),
        "maximum": _plain(field.maximum),
        "one of": ", ".join(field.allowed) or None,
        "finite": field.finite or None,
    }
    return dg.TableColumn(
        field.name,
        field.type,
        field.description,
        constraints=dg.TableColumnConstraints(
            nullable=not field.required,
            unique=field.name == contract.event_id,
            other=[f"{rule}: {value}" for rule, value in rules.items() if value is not None],
        ),
        tags={"classification": field.classification},
    )


def _plain(bound: float | None) -> float | None:
    """Without a fraction where there is none."""
    return int(bound) if bound is not None and float(bound).is_integer() else bound


def table_columns(table: Table) -> list[dg.TableColumn]:
    """Of a table in Postgres."""
    return [
        dg.TableColumn(c.name, c.type, constraints=dg.TableColumnConstraints(nullable=c.null, unique=False))
        for c in table.columns
    ]


def frame_columns(schema: Mapping[str, pl.DataType], described: Mapping[str, str]) -> list[dg.TableColumn]:
    """Of polars columns that no contract describes."""
    return [dg.TableColumn(name, str(dtype), described.get(name)) for name, dtype in schema.items()]


def postgres_uri(table: str) -> str:
    """Which table it is; where its server is differs from place to place, and is known to the settings alone."""
    return f"postgresql:///streamgauge/{table}"
