"""The rows of the rollups' tables in the lake."""

import polars as pl

from streamgauge.dagster.hours import DAY_FORMAT, HOUR_FORMAT
from streamgauge.stores.lake import EVENT_HOUR
from streamgauge.stores.rollup_tables import EVENT_DAY, SIZE, START


def hourly_rows(minutes: pl.DataFrame, hours: pl.DataFrame) -> pl.DataFrame:
    sized = [rows.with_columns(pl.lit(size).alias(SIZE)) for size, rows in (("1m", minutes), ("1h", hours))]
    return pl.concat(sized).with_columns(pl.col(START).dt.strftime(HOUR_FORMAT).alias(EVENT_HOUR))


def daily_rows(days: pl.DataFrame) -> pl.DataFrame:
    return days.with_columns(pl.col(START).dt.strftime(DAY_FORMAT).alias(EVENT_DAY))
