"""From judged events to minute rows: what a contract's rollup plan says, in one grouping."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from streamgauge.contract.columns import map_value
from streamgauge.contract.measures import Count, Measure, condition
from streamgauge.contract.model import NO_VALUE, Contract, Source
from streamgauge.expression.columns import DerivedColumns, Events
from streamgauge.expression.scope import derived_column
from streamgauge.rollup.enrich import REFERENCE
from streamgauge.rollup.measure_kinds import rolled, sketched
from streamgauge.rollup.pseudonyms import Pseudonyms

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
    reads = contract.rollup_reads
    keys = {f.name: f"{f.name}." for f in contract.fields if f.type.startswith("map")}
    return {name: sorted({s.removeprefix(p) for s in reads if s.startswith(p)}) for name, p in keys.items()}


class Sources:
    """What names stand for in a frame of the batch layer, which has the contract's fields and the reference columns."""

    def __init__(self, contract: Contract, reads: Iterable[str]) -> None:
        self._derived = DerivedColumns(contract, reads)

    def add(self, events: Events) -> Events:
        """With the derived fields and conditions that are read; the other methods are of such a frame."""
        if not self._derived:
            return events
        return self._derived.add(events.with_columns(_stored(s).alias(s) for s in self._derived.inputs))

    def text(self, source: Source) -> pl.Expr:
        return as_text(self._value(source.source), source.source)

    def number(self, of: Count | Measure) -> pl.Expr:
        """Null for an event that isn't measured, or has no number; 1 for one that is counted."""
        number = pl.lit(1.0) if isinstance(of, Count) else as_number(self._value(of.source), of.source)
        return number if of.where is None else pl.when(self._value(condition(of.name))).then(number)

    def _value(self, source: str) -> pl.Expr:
        return pl.col(derived_column(source)) if source in self._derived else _stored(source)


class RollupPlan:
    """A contract's rollup as polars expressions. Dimensions and keys of top lists that are personal are pseudonyms."""

    def __init__(self, contract: Contract, pseudonyms: Pseudonyms) -> None:
        self._contract = contract
        self._pseudonyms = pseudonyms
        rollup = contract.rollup
        time = pl.col(contract.event_time).to_physical()
        self._sources = of = Sources(contract, rollup.reads)
        self._texts = [
            time.floordiv(MINUTE_MS).mul(MINUTE_MS).alias(MINUTE),
            time.alias(TIME),
            *(self._named(s).fill_null(NO_VALUE).alias(s.name) for s in rollup.dimensions),
            *(of.text(s).alias(s.name) for s in rollup.distinct),
            *(self._named(s).alias(f"top_{s.name}") for s in rollup.top),
        ]
        self._numbers = {m.name: of.number(m) for m in rollup.numbered}
        self._keys = [MINUTE, PARTITION, *contract.dimension_names]
        self._aggregates = [
            pl.col(COUNTED).sum().cast(pl.Int64).alias("count"),
            pl.col(LATE).sum().cast(pl.Int64).alias("late"),
            pl.col(DUPLICATE).sum().cast(pl.Int64).alias("duplicates"),
        ]
        for m in rollup.numbered:
            self._aggregates += rolled(m, pl.col(m.name), pl.col(TIME))

    def _named(self, source: Source) -> pl.Expr:
        text = self._sources.text(source)
        return self._pseudonyms.of_column(text) if self._contract.is_personal(source) else text

    def inputs(self, events: Events, *more: pl.Expr | str) -> Events:
        """Of each judged event before any grouping: minute, time, partition, verdicts, dimensions and values; and
        whatever `more` of the events is asked for.
        """
        numbers = [pl.when(COUNTED).then(number).alias(name) for name, number in self._numbers.items()]
        return self._sources.add(events).select(*self._texts, *numbers, PARTITION, COUNTED, LATE, DUPLICATE, *more)

    def roll_up(self, events: pl.DataFrame) -> Rolled:
        """`events` has the contract's fields, the reference columns, `partition` and the three verdicts. Rows come
        sorted by minute, partition and dimensions.
        """
        inputs = self.inputs(events.lazy())
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
    return map_value(value) if is_map_value(source) else value.cast(pl.String)


def as_number(value: pl.Expr, source: str) -> pl.Expr:
    """Null where it is none, or not finite."""
    number: Any = (map_value(value) if is_map_value(source) else value).cast(pl.Float64, strict=False)
    return pl.when(number.is_finite()).then(number)


def is_map_value(source: str) -> bool:
    head, _, tail = source.partition(".")
    return bool(tail) and head != "reference"


def _stored(source: str) -> pl.Expr:
    head, _, tail = source.partition(".")
    if not tail:
        return pl.col(head)
    if head == "reference":
        return pl.col(REFERENCE + tail)
    entry = pl.element().struct
    return pl.col(head).list.eval(entry.field("value").filter(entry.field("key") == tail)).list.last()
