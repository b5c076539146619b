"""From judged events to minute rows: what a contract's rollup plan says, in one grouping."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from streamgauge.contracts import NO_VALUE, Contract, Source
from streamgauge.enrich import REFERENCE
from streamgauge.native.avro import picked_name

MINUTE_MS = 60_000
MINUTE, PARTITION = "minute", "partition"
COUNTED, LATE, DUPLICATE = "__counted", "__late", "__duplicate"
_MAX_MAP_VALUE = 200
VALUES, KEYS, WEIGHTS = "__values", "keys", "weights"


@dataclass(frozen=True)
class Rolled:
    """`minutes`: a row per minute, partition and dimensions, with counts, sums and, as lists, what the sketches
    take in: the unique texts of a distinct count, the numbers of a measure.

    `tops`: by the name of each top-N, a row per minute and partition with the lists `keys` and `weights`.
    """

    minutes: pl.DataFrame
    tops: dict[str, pl.DataFrame]


def picked(contract: Contract) -> dict[str, list[str]]:
    """By map field of the contract, the keys that its rollup takes values of."""
    rollup = contract.rollup
    sources = [s.source for s in (*rollup.dimensions, *rollup.distinct, *rollup.measures, *rollup.top)]
    keys = {f.name: f"{f.name}." for f in contract.fields if f.type.startswith("map")}
    return {name: sorted({s.removeprefix(p) for s in sources if s.startswith(p)}) for name, p in keys.items()}


class RollupPlan:
    """A contract's rollup as polars expressions. `flat` says that what it takes of maps has been picked already."""

    def __init__(self, contract: Contract, *, flat: bool = False) -> None:
        self._contract = contract
        rollup = contract.rollup
        minute = pl.col(contract.event_time).to_physical().floordiv(MINUTE_MS).mul(MINUTE_MS).alias(MINUTE)
        self._texts = [
            minute,
            *(text_of(s, flat=flat).fill_null(NO_VALUE).alias(s.name) for s in rollup.dimensions),
            *(text_of(s, flat=flat).alias(s.name) for s in rollup.distinct),
            *(text_of(s, flat=flat).alias(f"top_{s.name}") for s in rollup.top),
        ]
        self._numbers = {s.name: number_of(s, flat=flat) for s in rollup.measures}
        self._keys = [MINUTE, PARTITION, *contract.dimension_names]
        self._aggregates = [
            pl.col(COUNTED).sum().cast(pl.Int64).alias("count"),
            pl.col(LATE).sum().cast(pl.Int64).alias("late"),
            pl.col(DUPLICATE).sum().cast(pl.Int64).alias("duplicates"),
        ]
        for m in rollup.measures:
            value = pl.col(m.name)
            self._aggregates += [
                value.count().cast(pl.Int64).alias(f"{m.name}_n"),
                value.sum().alias(f"{m.name}_sum"),
                value.min().alias(f"{m.name}_min"),
                value.max().alias(f"{m.name}_max"),
            ]
        self._quantiles = [m.name for m in rollup.measures if m.quantiles]

    @property
    def inputs(self) -> Sequence[pl.Expr | str]:
        """Of each judged event before any grouping: minute, partition, verdicts, dimensions and values."""
        numbers = [_if_counted(number).alias(name) for name, number in self._numbers.items()]
        return [*self._texts, *numbers, PARTITION, COUNTED, LATE, DUPLICATE]

    @property
    def values(self) -> Sequence[pl.Expr]:
        """What a rollup takes from an event, whatever its verdict will be."""
        return [*self._texts, *(number.alias(name) for name, number in self._numbers.items())]

    def roll_up(self, events: pl.DataFrame) -> Rolled:
        """`events` has the contract's fields, the reference columns, `partition` and the three verdicts. Rows come
        sorted by minute, partition and dimensions.
        """
        inputs = events.lazy().select(self.inputs)
        lists = [
            *(pl.col(d.name).filter(COUNTED).drop_nulls().unique() for d in self._contract.rollup.distinct),
            *(pl.col(name).drop_nulls() for name in self._quantiles),
        ]
        minutes = inputs.group_by(self._keys).agg(*self._aggregates, *(one.name.prefix(VALUES) for one in lists))
        return self._collect(minutes.sort(self._keys), inputs)

    def roll_up_values(self, values: pl.DataFrame) -> Rolled:
        """`values` has the columns of that name, `partition` and the three verdicts; of what is counted distinctly a
        number for each text, 0 where there is none. Rows come in any order. Lists have a value for each event, the
        uncounted too: 0 there, and NaN for no number.
        """
        counted = values.lazy().with_columns(_if_counted(pl.col(name)).alias(name) for name in self._numbers)
        inputs = counted.with_columns(
            *(_if_counted(pl.col(d.name), 0).alias(VALUES + d.name) for d in self._contract.rollup.distinct),
            *(pl.col(name).fill_null(math.nan).alias(VALUES + name) for name in self._quantiles),
        )
        names = [*(d.name for d in self._contract.rollup.distinct), *self._quantiles]
        minutes = inputs.group_by(self._keys).agg(*self._aggregates, *(pl.col(VALUES + name) for name in names))
        return self._collect(minutes, inputs)

    def _collect(self, minutes: pl.LazyFrame, inputs: pl.LazyFrame) -> Rolled:
        counted = inputs.filter(COUNTED)
        tops = {
            top.name: counted.drop_nulls(f"top_{top.name}")
            .group_by(MINUTE, PARTITION, pl.col(f"top_{top.name}").alias(KEYS))
            .agg(pl.len().alias(WEIGHTS))
            .group_by(MINUTE, PARTITION)
            .agg(KEYS, WEIGHTS)
            .sort(MINUTE, PARTITION)
            for top in self._contract.rollup.top
        }
        # the streaming engine is for what doesn't fit in memory, and costs more than a batch's grouping
        done = pl.collect_all([minutes, *tops.values()], engine="in-memory")
        return Rolled(done[0], dict(zip(tops, done[1:], strict=True)))


def _if_counted(value: pl.Expr, otherwise: int | None = None) -> pl.Expr:
    return pl.when(COUNTED).then(value).otherwise(otherwise)


def text_of(source: Source, *, flat: bool = False) -> pl.Expr:
    value = _value_of(source, flat).cast(pl.String)
    # no rule bounds a map's values, and Postgres takes neither NUL in a text nor a long one in a key
    return value.str.replace_all("\0", "\ufffd", literal=True) if _is_map_value(source) else value


def number_of(source: Source, *, flat: bool = False) -> pl.Expr:
    number: Any = _value_of(source, flat).cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def _is_map_value(source: Source) -> bool:
    head, _, tail = source.source.partition(".")
    return bool(tail) and head != "reference"


def _value_of(source: Source, flat: bool) -> pl.Expr:
    head, _, tail = source.source.partition(".")
    if not tail:
        return pl.col(head)
    if head == "reference":
        return pl.col(REFERENCE + tail)
    entry = pl.element().struct
    value = pl.col(head).list.eval(entry.field("value").filter(entry.field("key") == tail)).list.last()
    return (pl.col(picked_name(head, tail)) if flat else value).str.head(_MAX_MAP_VALUE)
