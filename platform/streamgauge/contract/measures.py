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


class Named(Block):
    """What has a `name` in the output."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)

    @property
    def reads(self) -> tuple[str, ...]:
        """The sources and conditions that it is made of."""
        return ()


class Source(Named):
    """From a field, a derived field, `map_field.key` or `reference.column`."""

    source: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.source,)


class Measure(Source):
    """A number. Beside its count, sum, least and greatest, the kinds that the contract asks for. With `where`, only of
    events for which that expression is true.
    """

    where: str | None = None
    quantiles: bool = False
    last: bool = False

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.source,) if self.where is None else (self.source, condition(self.name))


class Count(Named):
    """How many events there are for which the expression `where` is true."""

    where: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (condition(self.name),)


class Ratio(Named):
    """One column of merged rows by another, computed where it is read; null where that is 0."""

    of: str
    to: str


def condition(name: str) -> str:
    """What stands for the `where` of that measure among derived fields: no contract can give a name with a blank."""
    return f"where {name}"


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

EVENTS = MeasureKind("events", lambda c: (counter(c),), lambda _: True)
"""Of events, in the contract's list of counts."""

DISTINCT = MeasureKind("distinct", lambda d: (StoredColumn(f"{d}_hll", "bytea"),), lambda _: True)
"""Of a text, in the contract's list of distinct counts."""


def kinds_of(measure: Named) -> tuple[MeasureKind, ...]:
    """Of a measure; counts and distinct counts have kinds of their own."""
    if isinstance(measure, Measure):
        return tuple(k for k in KINDS if k.asked(measure))
    return (EVENTS,) if isinstance(measure, Count) else (DISTINCT,)


def stored_columns(measures: Iterable[Named]) -> list[StoredColumn]:
    return [column for m in measures for kind in kinds_of(m) for column in kind.columns(m.name)]
