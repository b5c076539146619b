"""The columns that a stream's stores have, beside those that its contract says."""

import json
from collections.abc import Mapping
from typing import Any, cast

import polars as pl

from quality.checks.drift import Columns
from streamgauge.contract.model import Contract
from streamgauge.records.avro import avro_schema
from streamgauge.records.registry import Registry
from streamgauge.stores.fact_tables import facts_table
from streamgauge.stores.lake import LakeTable, contract_columns, lake_table, stored_schema


def stores_of(contract: Contract, root: str, registry: Registry) -> dict[str, tuple[Columns, Columns | None]]:
    """Expected and actual. Facts have columns of their own besides: only the contract's are compared."""
    lake = lake_table(root, contract)
    stores: dict[str, tuple[Columns, Columns | None]] = {
        "the lake": (_text(stored_schema(lake.schema)), _held(lake)),
    }
    if contract.source is None:
        latest = registry.latest(contract.subject)
        held = None if latest is None else avro_columns(latest.schema)
        stores["the registry"] = (avro_columns(avro_schema(contract)), held)
    held = _held(facts_table(root, contract))
    if held is not None:
        own = stored_schema(pl.Schema(contract_columns(contract)))
        stores["facts"] = (_text(own), {name: kind for name, kind in held.items() if name in own})
    return stores


def avro_columns(schema: Mapping[str, Any]) -> dict[str, str]:
    """A default is part of a column: producers of an older version count on it."""
    return {
        f["name"]: json.dumps([f["type"], f.get("default")], sort_keys=True)
        for f in cast(list[dict[str, Any]], schema["fields"])
    }


def _held(table: LakeTable) -> dict[str, str] | None:
    opened = table.open()
    return None if opened is None else _text(pl.Schema(cast(Any, opened.schema().to_arrow())))


def _text(schema: pl.Schema) -> dict[str, str]:
    return {name: str(kind) for name, kind in schema.items()}
