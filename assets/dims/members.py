"""The rows of a dimension's table, from its members. Frames in, frames out."""

from datetime import UTC, date, datetime, timedelta

import polars as pl

from assets.dims.history import VERSION_KEY, History
from assets.dims.keys import keys_of
from streamgauge.rollup.enrich import KEY
from streamgauge.stores.dimension_tables import IS_CURRENT, VALID_FROM, VALID_TO
from streamgauge.stores.fact_tables import DATE_KEY, HOUR_KEY, key_column


def members(dimension: str, values: pl.Series) -> pl.DataFrame:
    """A row for each different value."""
    column = values.unique().sort().alias(dimension)
    return pl.DataFrame([keys_of(column).alias(key_column(dimension)), column])


def versions(dimension: str, values: pl.Series, history: History) -> pl.DataFrame:
    """Type 2: a row for each version of each member, among them all that the reference table knows."""
    key, spec = key_column(dimension), history.spec
    known = history.versions
    first = members(dimension, pl.concat((values, known[KEY])))
    unknown = [pl.lit(spec.unknown).alias(c) for c in spec.columns]
    rows = pl.concat(
        (
            first.select(key, dimension, *unknown, pl.lit(None, known.schema[VALID_FROM]).alias(VALID_FROM)),
            known.select(pl.col(VERSION_KEY).alias(key), pl.col(KEY).alias(dimension), *spec.columns, VALID_FROM),
        )
    ).sort(dimension, VALID_FROM, nulls_last=False)
    until = pl.col(VALID_FROM).shift(-1).over(dimension)
    return rows.with_columns(until.alias(VALID_TO), until.is_null().alias(IS_CURRENT))


def dates(first: date, last: date) -> pl.DataFrame:
    """Every day from `first` to `last`."""
    day = pl.col("date")
    return pl.DataFrame({"date": pl.date_range(first, last, "1d", eager=True)}).select(
        date_key(day).alias(DATE_KEY),
        day,
        day.dt.year().cast(pl.Int32).alias("year"),
        day.dt.quarter().cast(pl.Int32).alias("quarter"),
        day.dt.month().cast(pl.Int32).alias("month"),
        day.dt.day().cast(pl.Int32).alias("day"),
        day.dt.week().cast(pl.Int32).alias("iso_week"),
        day.dt.weekday().cast(pl.Int32).alias("iso_weekday"),
        (day.dt.weekday() >= 6).alias("weekend"),
    )


def hours() -> pl.DataFrame:
    """The hours of a day, UTC."""
    hour = pl.col(HOUR_KEY)
    return pl.DataFrame({HOUR_KEY: pl.int_range(24, dtype=pl.Int32, eager=True)}).with_columns(
        pl.format("{}:00", hour.cast(pl.String).str.zfill(2)).alias("hour"),
    )


def date_key(day: pl.Expr) -> pl.Expr:
    """20261123 for 2026-11-23."""
    return (day.dt.year() * 10_000 + day.dt.month().cast(pl.Int32) * 100 + day.dt.day()).cast(pl.Int32)


def calendar_end(now: datetime) -> date:
    """The end of next year: events may be a little ahead of the clock, and the table is made again each year."""
    return date((now.astimezone(UTC) + timedelta(days=1)).year + 1, 12, 31)
