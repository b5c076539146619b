"""A stream's series, as columns of arrays with a row for each minute."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
from psycopg import sql

from streamgauge.contract.measures import Count, Measure
from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection
from streamgauge.types import Float64s

MINUTE = timedelta(minutes=1)
COUNT = "count"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Key:
    """Of a series: its figure, and its dimensions' values in the contract's order; none of the whole stream."""

    figure: str
    values: tuple[str, ...] = ()


WHOLE = Key(COUNT)
"""The stream's count, of which the page shows the band."""


@dataclass(frozen=True)
class Columns:
    """`observed` has a row a minute and a column a key. A mean is NaN where there is no value; `number` says of how
    many it is. Counts have no `number`, and are 0 where there is no event.
    """

    keys: list[Key]
    observed: Float64s
    number: Float64s | None = None


@dataclass(frozen=True)
class Minutes:
    """Of the minutes from `first` on, in minutes since 1970."""

    first: int
    counts: Columns
    means: Columns

    def has_events(self, minute: int) -> bool:
        return bool(self.counts.observed[minute - self.first].any())


def number_of(time: datetime) -> int:
    return (time - _EPOCH) // MINUTE


def time_of(minute: int) -> datetime:
    return _EPOCH + minute * MINUTE


def read_minutes(connection: Connection, contract: Contract, first: int, last: int) -> Minutes:
    """From `first` up to, not including, `last`, as the worker counted them."""
    counts = [COUNT, *(c.name for c in contract.rollup.counts)]
    means = [m.name for m in contract.rollup.measures]
    sums = [*counts, *(f"{m}_{part}" for m in means for part in ("n", "sum"))]
    dimensions = list(contract.dimension_names)
    query = sql.SQL(
        "SELECT minute, {keys} {sums} FROM {table} WHERE minute >= %s AND minute < %s GROUP BY {groups}"
    ).format(
        keys=sql.SQL("").join(sql.SQL("{}, ").format(sql.Identifier(d)) for d in dimensions),
        sums=sql.SQL(", ").join(sql.SQL("sum({0})::double precision AS {0}").format(sql.Identifier(c)) for c in sums),
        table=sql.Identifier(contract.minutes_table),
        groups=sql.SQL(", ").join(map(sql.Identifier, ["minute", *dimensions])),
    )
    with connection.cursor(binary=True) as cursor:
        found = cursor.execute(query, (time_of(first), time_of(last))).fetchall()
    schema: dict[str, Any] = {"minute": pl.Datetime("us", "UTC"), **dict.fromkeys(dimensions, pl.String())}
    rows = pl.DataFrame(found, schema={**schema, **dict.fromkeys(sums, pl.Float64())}, orient="row")
    rows = rows.with_columns(at=(pl.col("minute").dt.epoch("s") // 60 - first).cast(pl.Int64))
    whole = rows.group_by("at").agg(pl.col(sums).sum())
    parts = [(_keyed(whole, []), [()])]
    if dimensions:
        keyed = _keyed(rows, dimensions)
        parts.append((keyed, keyed.select(dimensions).unique(maintain_order=True).rows()))
    size = last - first
    return Minutes(
        first,
        _joined([_counts(frame, values, name, size) for frame, values in parts for name in counts]),
        _joined([_means(frame, values, name, size) for frame, values in parts for name in means]),
    )


def _keyed(rows: pl.DataFrame, dimensions: Sequence[str]) -> pl.DataFrame:
    """With `key`, the number of the row's combination of dimensions, in the order of their values."""
    if not dimensions:
        return rows.with_columns(key=pl.lit(0, pl.Int64))
    ordered = rows.sort(dimensions)
    known = ordered.select(dimensions).unique(maintain_order=True).with_row_index("key")
    return ordered.join(known, on=list(dimensions), how="left", maintain_order="left", nulls_equal=True)


def _counts(rows: pl.DataFrame, values: Sequence[tuple[str, ...]], name: str, size: int) -> Columns:
    observed = np.zeros((size, len(values)))
    observed[rows["at"].to_numpy(), rows["key"].to_numpy()] = rows[name].to_numpy()
    return Columns([Key(name, v) for v in values], observed)


def _means(rows: pl.DataFrame, values: Sequence[tuple[str, ...]], name: str, size: int) -> Columns:
    rows = rows.filter(pl.col(f"{name}_n") > 0)
    at = rows["at"].to_numpy(), rows["key"].to_numpy()
    observed, number = np.full((size, len(values)), np.nan), np.zeros((size, len(values)))
    number[at] = rows[f"{name}_n"].to_numpy()
    observed[at] = rows[f"{name}_sum"].to_numpy() / number[at]
    return Columns([Key(f"{name}_mean", v) for v in values], observed, number)


def _joined(parts: Sequence[Columns]) -> Columns:
    if not parts:
        return Columns([], np.zeros((0, 0)), np.zeros((0, 0)))
    keys = [k for part in parts for k in part.keys]
    observed = np.concatenate([p.observed for p in parts], axis=1)
    numbers = [p.number for p in parts if p.number is not None]
    return Columns(keys, observed, np.concatenate(numbers, axis=1) if numbers else None)


def figures(contract: Contract) -> dict[str, Count | Measure | None]:
    """What each figure that is looked at is of; None is every event."""
    counts = {c.name: c for c in contract.rollup.counts}
    return {COUNT: None, **counts, **{f"{m.name}_mean": m for m in contract.rollup.measures}}
