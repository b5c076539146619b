"""The rollups' tables in the lake, for those who read columns rather than Postgres."""

import polars as pl

from assets.rollups.roll import START, window_schema
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import DAY_FORMAT, HOUR_FORMAT
from streamgauge.stores.lake import EVENT_HOUR, LakeTable, table_at

SIZE, EVENT_DAY = "size", "event_day"


def hourly_table(root: str, contract: Contract) -> LakeTable:
    schema = pl.Schema({SIZE: pl.String(), **window_schema(contract), EVENT_HOUR: pl.String()})
    about = f"{contract.stream}: rollups by minute (size 1m) and hour (1h), by hour of event time"
    return table_at(root, f"rollups/{contract.stream}_hourly", schema, EVENT_HOUR, about)


def daily_table(root: str, contract: Contract) -> LakeTable:
    schema = pl.Schema({**window_schema(contract), EVENT_DAY: pl.String()})
    return table_at(
        root, f"rollups/{contract.stream}_daily", schema, EVENT_DAY, f"{contract.stream}: rollups by day of event time"
    )


def hourly_rows(minutes: pl.DataFrame, hours: pl.DataFrame) -> pl.DataFrame:
    sized = [rows.with_columns(pl.lit(size).alias(SIZE)) for size, rows in (("1m", minutes), ("1h", hours))]
    return pl.concat(sized).with_columns(pl.col(START).dt.strftime(HOUR_FORMAT).alias(EVENT_HOUR))


def daily_rows(days: pl.DataFrame) -> pl.DataFrame:
    return days.with_columns(pl.col(START).dt.strftime(DAY_FORMAT).alias(EVENT_DAY))
