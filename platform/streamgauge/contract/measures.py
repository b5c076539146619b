"""The kinds of measures: what a contract may ask of a number or a text, and the columns that rollup tables have of it.

A kind stands in three places: here with its option, its columns and how rows of them merge; in
streamgauge.rollup.measure_kinds with how it is made of events and what readers get; in streaming.worker.measures with
how the worker makes it of a batch. Tables, views, layers, checks and answers ask these.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, LiteralString

import polars as pl
from pydantic import BaseModel, ConfigDict, Field


class Block(BaseModel):
    """Of a contract's file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Source(Block):
    """`name` in the output, from a field, `map_field.key` or `reference.column`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)
    source: str


class Measure(Source):
    """A number. Beside its count, sum, least and greatest, the kinds that the contract asks for."""

    quantiles: bool = False
    last: bool = False


ColumnType = Literal["bigint", "double precision", "bytea"]
POLARS: dict[ColumnType, pl.DataType] = {
    "bigint": pl.Int64(),
    "double precision": pl.Float64(),
    "bytea": pl.Binary(),
}


@dataclass(frozen=True)
class Merge:
    """How the values of several rows become one: SQL and polars say the same. `{c}` is the column, `{by}` the one that
    decides between rows, `{t}` the table of an upsert.
    """

    aggregate: LiteralString
    upsert: LiteralString
    polars: Callable[[pl.Expr, pl.Expr], pl.Expr]
    """Of the column and the one that decides, within a group."""


COUNT = Merge("sum({c})::bigint", "{t}.{c} + excluded.{c}", lambda c, _: c.sum())
SUM = Merge("sum({c})", "{t}.{c} + excluded.{c}", lambda c, _: c.sum())
MIN = Merge("min({c})", "least({t}.{c}, excluded.{c})", lambda c, _: c.min())
MAX = Merge("max({c})", "greatest({t}.{c}, excluded.{c})", lambda c, _: c.max())
LATEST = Merge(
    # arrays compare by their first element, then by their second: of rows that are equally late the greatest value
    "(max(ARRAY[{by}::double precision, {c}]) FILTER (WHERE {by} IS NOT NULL))[2]",
    "CASE WHEN {t}.{by} IS NULL OR (excluded.{by}, excluded.{c}) > ({t}.{by}, {t}.{c})"
    " THEN excluded.{c} ELSE {t}.{c} END",
    lambda c, by: c.filter(by == by.max()).max(),
)

REPLACE: LiteralString = "coalesce(excluded.{c}, {t}.{c})"
"""The upsert of a sketch, which SQL can't merge: its one writer has merged it."""


@dataclass(frozen=True)
class StoredColumn:
    """A column of the rollup tables, whatever their window and layer. Without `merge` it holds sketches."""

    name: str
    type: ColumnType
    merge: Merge | None = None
    by: str | None = None
    counter: bool = False
    """None is 0 rather than unknown."""
    optional: bool = False
    """Rows that were written before the contract asked for the kind have no value, though the measure has some."""

    @property
    def upsert(self) -> LiteralString:
        return self.merge.upsert if self.merge else REPLACE

    @property
    def polars(self) -> pl.DataType:
        return POLARS[self.type]

    @property
    def rounded(self) -> bool:
        """Its last digits depend on the order in which it was added up."""
        return self.merge is SUM

    def merged(self) -> pl.Expr:
        """Within a group of rows: their value, or of sketches a list of those that there are."""
        c = pl.col(self.name)
        return self.merge.polars(c, pl.col(self.by or self.name)) if self.merge else c.drop_nulls()


def counter(name: str) -> StoredColumn:
    return StoredColumn(name, "bigint", COUNT, counter=True)


@dataclass(frozen=True)
class MeasureKind:
    """`columns` are those of a measure of that name; `asked` says whether its contract wants the kind."""

    name: str
    columns: Callable[[str], tuple[StoredColumn, ...]]
    asked: Callable[[Measure], bool]


NUMBERS = MeasureKind(
    "numbers",
    lambda m: (
        counter(f"{m}_n"),
        StoredColumn(f"{m}_sum", "double precision", SUM, counter=True),
        StoredColumn(f"{m}_min", "double precision", MIN),
        StoredColumn(f"{m}_max", "double precision", MAX),
    ),
    lambda _: True,
)
LAST = MeasureKind(
    "last",
    lambda m: (
        StoredColumn(f"{m}_last", "double precision", LATEST, by=f"{m}_last_ms", optional=True),
        StoredColumn(f"{m}_last_ms", "bigint", MAX, optional=True),
    ),
    lambda m: m.last,
)
QUANTILES = MeasureKind("quantiles", lambda m: (StoredColumn(f"{m}_kll", "bytea"),), lambda m: m.quantiles)
KINDS = (NUMBERS, LAST, QUANTILES)

DISTINCT = MeasureKind("distinct", lambda d: (StoredColumn(f"{d}_hll", "bytea"),), lambda _: True)
"""Of a text, in the contract's list of distinct counts."""


def kinds_of(measure: Source) -> tuple[MeasureKind, ...]:
    """Of a measure; a distinct count has its own kind."""
    return tuple(k for k in KINDS if k.asked(measure)) if isinstance(measure, Measure) else (DISTINCT,)


def stored_columns(measures: Iterable[Source]) -> list[StoredColumn]:
    return [column for m in measures for kind in kinds_of(m) for column in kind.columns(m.name)]
