"""The rollups' tables in the lake, for those who read columns rather than Postgres."""

from typing import Any

import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.stores.lake import EVENT_HOUR, MILLISECONDS, LakeTable, table_at

START = "window_start"
COUNTS = ("count", "duplicates")
SIZE, EVENT_DAY = "size", "event_day"


def window_schema(contract: Contract) -> pl.Schema:
    """As the tables of windows in Postgres have them too."""
    columns: dict[str, Any] = {START: MILLISECONDS}
    columns |= dict.fromkeys(contract.dimension_names, pl.String())
    columns |= dict.fromkeys(COUNTS, pl.Int64())
    columns |= {c.name: c.polars for c in contract.rollup.columns}
    return pl.Schema(columns)


def hourly_schema(contract: Contract) -> pl.Schema:
    return pl.Schema({SIZE: pl.String(), **window_schema(contract), EVENT_HOUR: pl.String()})


def daily_schema(contract: Contract) -> pl.Schema:
    return pl.Schema({**window_schema(contract), EVENT_DAY: pl.String()})


def hourly_table(root: str, contract: Contract) -> LakeTable:
    about = f"{contract.stream}: rollups by minute (size 1m) and hour (1h), by hour of event time"
    return table_at(root, f"rollups/{contract.rollups}_hourly", hourly_schema(contract), EVENT_HOUR, about)


def daily_table(root: str, contract: Contract) -> LakeTable:
    about = f"{contract.stream}: rollups by day of event time"
    return table_at(root, f"rollups/{contract.rollups}_daily", daily_schema(contract), EVENT_DAY, about)
