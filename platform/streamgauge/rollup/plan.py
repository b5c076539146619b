"""From judged events to minute rows: what a contract's rollup plan says, in one grouping."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from streamgauge.contract.model import MAX_UNRULED_TEXT, NO_VALUE, Contract, Source
from streamgauge.rollup.enrich import REFERENCE
from streamgauge.rollup.measure_kinds import rolled, sketched

MINUTE_MS = 60_000
TIME = "__time"
"""Of the event, epoch ms."""
MINUTE, PARTITION = "minute", "partition"
COUNTED, LATE, DUPLICATE = "__counted", "__late", "__duplicate"
VALUES, KEYS, WEIGHTS = "__values", "keys", "weights"


@dataclass(frozen=True)
class Rolled:
    """`minutes`: a row per minute, partition and dimensions, with counts, the columns of measures and, as lists behind
    the name of their column, what the sketches are built from.

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
    """A contract's rollup as polars expressions."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        rollup = contract.rollup
        time = pl.col(contract.event_time).to_physical()
        self._texts = [
            time.floordiv(MINUTE_MS).mul(MINUTE_MS).alias(MINUTE),
            time.alias(TIME),
            *(text_of(s).fill_null(NO_VALUE).alias(s.name) for s in rollup.dimensions),
            *(text_of(s).alias(s.name) for s in rollup.distinct),
            *(text_of(s).alias(f"top_{s.name}") for s in rollup.top),
        ]
        self._numbers = {s.name: as_number(_value_of(s), s.source) for s in rollup.measures}
        self._keys = [MINUTE, PARTITION, *contract.dimension_names]
        self._aggregates = [
            pl.col(COUNTED).sum().cast(pl.Int64).alias("count"),
            pl.col(LATE).sum().cast(pl.Int64).alias("late"),
            pl.col(DUPLICATE).sum().cast(pl.Int64).alias("duplicates"),
        ]
        for m in rollup.measures:
            self._aggregates += rolled(m, pl.col(m.name), pl.col(TIME))

    @property
    def inputs(self) -> Sequence[pl.Expr | str]:
        """Of each judged event before any grouping: minute, time, partition, verdicts, dimensions and values."""
        numbers = [pl.when(COUNTED).then(number).alias(name) for name, number in self._numbers.items()]
        return [*self._texts, *numbers, PARTITION, COUNTED, LATE, DUPLICATE]

    def roll_up(self, events: pl.DataFrame) -> Rolled:
        """`events` has the contract's fields, the reference columns, `partition` and the three verdicts. Rows come
        sorted by minute, partition and dimensions.
        """
        inputs = events.lazy().select(self.inputs)
        lists = [
            sketch.gathered(pl.col(m.name).filter(COUNTED)).alias(VALUES + column.name)
            for m, column, sketch in sketched(self._contract.rollup.measured)
        ]
        minutes = inputs.group_by(self._keys).agg(*self._aggregates, *lists)
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
        done = pl.collect_all([minutes.sort(self._keys), *tops.values()], engine="in-memory")
        return Rolled(done[0], dict(zip(tops, done[1:], strict=True)))


def as_text(value: pl.Expr, source: str) -> pl.Expr:
    """`value` is what was read of the source."""
    text = _bounded(value, source).cast(pl.String)
    # Postgres takes no NUL in a text
    return text.str.replace_all("\0", "\ufffd", literal=True) if is_map_value(source) else text


def as_number(value: pl.Expr, source: str) -> pl.Expr:
    """Null where it is none, or not finite."""
    number: Any = _bounded(value, source).cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def is_map_value(source: str) -> bool:
    head, _, tail = source.partition(".")
    return bool(tail) and head != "reference"


def _bounded(value: pl.Expr, source: str) -> pl.Expr:
    return value.str.head(MAX_UNRULED_TEXT) if is_map_value(source) else value


def text_of(source: Source) -> pl.Expr:
    return as_text(_value_of(source), source.source)


def _value_of(source: Source) -> pl.Expr:
    head, _, tail = source.source.partition(".")
    if not tail:
        return pl.col(head)
    if head == "reference":
        return pl.col(REFERENCE + tail)
    entry = pl.element().struct
    return pl.col(head).list.eval(entry.field("value").filter(entry.field("key") == tail)).list.last()
