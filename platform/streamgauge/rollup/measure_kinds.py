"""How each kind of measure is made of events, what merges its sketches, and what of it readers get.

The columns that keep it, and how SQL merges them, are in streamgauge.contract.measures.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from streamgauge.contract.measures import (
    DISTINCT,
    EVENTS,
    LAST,
    NUMBERS,
    POLARS,
    QUANTILES,
    MeasureKind,
    Named,
    Ratio,
    StoredColumn,
    counter,
    kinds_of,
)
from streamgauge.contract.model import RollupSpec
from streamgauge.rollup import sketches

FigureType = Literal["bigint", "double precision"]

RANKS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Sketch:
    """A kind of sketch: how it is built, merged and read."""

    gathered: Callable[[pl.Expr], pl.Expr]
    """What of a group's values it is built from."""
    build: Callable[[pl.Series], bytes]
    merge: Callable[[Iterable[bytes]], bytes]
    parts: tuple[str, ...]
    """What its figures are called, behind the measure's name."""
    type: FigureType
    read: Callable[[bytes | None], tuple[list[float | None], float]]
    """The figures, and how far they may be off; also where there is no sketch."""
    error: str
    """What that is called, behind the measure's name."""
    explained: Callable[[float], dict[str, Any]]
    """The same, as answers have it."""
    tolerance: float | None = None
    """How far its first figure may move, relative to it, and still say the same. None: other columns show a change."""


@dataclass(frozen=True)
class Figure:
    """A number that readers get: `value` of merged columns, or one of those that a sketch gives."""

    name: str
    type: FigureType
    columns: tuple[StoredColumn, ...]
    value: pl.Expr
    sketch: Sketch | None = None
    place: int = 0

    @property
    def polars(self) -> pl.DataType:
        return POLARS[self.type]


Pair = tuple[float, int]
"""A value and its event's time (epoch ms)."""


@dataclass(frozen=True)
class _Kind:
    """`rolled` makes the kind's columns of a group's values (null for none) and event times (epoch ms), `figures` what
    readers get of its merged columns. Where it has a sketch, that says both.
    """

    rolled: Callable[[pl.Expr, pl.Expr], tuple[pl.Expr, ...]] = lambda _value, _time: ()
    figures: Callable[[str, tuple[StoredColumn, ...]], tuple[Figure, ...]] = lambda _name, _columns: ()
    sketch: Sketch | None = None
    possible: Callable[[Sequence[Any], Sequence[Pair], Sequence[Pair], int], bool] | None = None
    """Can the columns come of the facts (values and event times) without so many of them, and some duplicates?"""


def stored_figure(column: StoredColumn) -> Figure:
    assert column.type != "bytea"
    return Figure(column.name, column.type, (column,), pl.col(column.name))


def _number_figures(m: str, columns: tuple[StoredColumn, ...]) -> tuple[Figure, ...]:
    n, total, *_ = columns
    mean = pl.col(total.name) / pl.col(n.name).replace(0, None)
    return *map(stored_figure, columns), Figure(f"{m}_mean", "double precision", (total, n), mean)


def _last_figure(m: str, columns: tuple[StoredColumn, ...]) -> tuple[Figure, ...]:
    return (Figure(f"{m}_last", "double precision", columns, pl.col(columns[0].name)),)


def _latest(value: pl.Expr, time: pl.Expr) -> tuple[pl.Expr, ...]:
    """Of the latest event that has a value; of several the greatest."""
    at = time.filter(value.is_not_null()).max()
    return value.filter(time == at).max(), at


def _possible_latest(stored: Sequence[Any], facts: Sequence[Pair], duplicates: Sequence[Pair], left_out: int) -> bool:
    value, time = stored
    later = sum((t, v) > (time, value) for v, t in facts)
    return later <= left_out and ((value, time) in facts or (value, time) in duplicates)


def _hll(values: pl.Series) -> bytes:
    sketch = sketches.new_hll()
    deque(map(sketch.update, values.unique().sort()), maxlen=0)
    return sketches.dump_hll(sketch)


def _read_hll(dumped: bytes | None) -> tuple[list[float | None], float]:
    if dumped is None:
        return [0.0], 0.0
    sketch = sketches.load_hll(dumped)
    return [float(round(sketch.get_estimate()))], sketches.distinct_error(sketch)


def _read_kll(dumped: bytes | None) -> tuple[list[float | None], float]:
    sketch = None if dumped is None else sketches.load_kll(dumped)
    if sketch is None or sketch.is_empty():
        return [None] * len(RANKS), 0.0
    return [*sketch.get_quantiles(list(RANKS.values()), True)], sketches.rank_error(sketch)


def _possible_count(stored: Sequence[Any], facts: Sequence[Pair], duplicates: Sequence[Pair], left_out: int) -> bool:
    return len(facts) - left_out <= stored[0] <= len(facts) + len(duplicates)


_KINDS: Mapping[MeasureKind, _Kind] = {
    EVENTS: _Kind(
        lambda value, _: (value.count().cast(pl.Int64),),
        lambda _, columns: tuple(map(stored_figure, columns)),
        possible=_possible_count,
    ),
    NUMBERS: _Kind(
        lambda value, _: (value.count().cast(pl.Int64), value.sum(), value.min(), value.max()), _number_figures
    ),
    LAST: _Kind(_latest, _last_figure, possible=_possible_latest),
    QUANTILES: _Kind(
        sketch=Sketch(
            gathered=lambda values: values.drop_nulls(),
            build=lambda values: sketches.kll_of(values.to_numpy()),
            merge=sketches.union_kll,
            parts=tuple(RANKS),
            type="double precision",
            read=_read_kll,
            error="rank_error",
            explained=sketches.rank_error_of,
        )
    ),
    DISTINCT: _Kind(
        sketch=Sketch(
            gathered=lambda values: values.drop_nulls().unique(),
            build=_hll,
            merge=sketches.union_hll,
            parts=("distinct",),
            type="bigint",
            read=_read_hll,
            error="distinct_error",
            explained=sketches.value_error,
            # three standard errors: an estimate hangs on the order in which values come
            tolerance=0.05,
        )
    ),
}


def rolled(measure: Named, value: pl.Expr, time: pl.Expr) -> list[pl.Expr]:
    """The columns that are no sketches, of a group's values (null for none) and event times (epoch ms)."""
    built: list[pl.Expr] = []
    for kind in kinds_of(measure):
        columns = [c for c in kind.columns(measure.name) if c.merge]
        built += [e.alias(c.name) for e, c in zip(_KINDS[kind].rolled(value, time), columns, strict=True)]
    return built


def sketched(measures: Iterable[Named]) -> Iterator[tuple[Named, StoredColumn, Sketch]]:
    """Each column of sketches."""
    for m in measures:
        for kind in kinds_of(m):
            sketch = _KINDS[kind].sketch
            if sketch is not None:
                yield from ((m, column, sketch) for column in kind.columns(m.name))


def figures(rollup: RollupSpec) -> list[Figure]:
    """All that readers get of a stream's measures, in the order in which they see it."""
    return [*(f for m in rollup.measured for f in figures_of(m)), *(ratio_figure(rollup, r) for r in rollup.ratios)]


def ratio_terms(rollup: RollupSpec) -> dict[str, StoredColumn]:
    """What ratios may be of: by name the columns that are a number by themselves."""
    return {c.name: c for c in (counter("count"), *rollup.columns) if c.merge and c.by is None and not c.optional}


def ratio_figure(rollup: RollupSpec, ratio: Ratio) -> Figure:
    columns = tuple(ratio_terms(rollup)[term] for term in (ratio.of, ratio.to))
    of, to = (pl.col(c.name).cast(pl.Float64) for c in columns)
    return Figure(ratio.name, "double precision", columns, of / to.replace(0.0, None))


def figures_of(measure: Named) -> list[Figure]:
    found: list[Figure] = []
    for kind in kinds_of(measure):
        columns, of = kind.columns(measure.name), _KINDS[kind]
        found += of.figures(measure.name, columns)
        if (sketch := of.sketch) is not None:
            found += [
                Figure(f"{measure.name}_{part}", sketch.type, columns, pl.col(columns[0].name), sketch, i)
                for i, part in enumerate(sketch.parts)
            ]
    return found


def error_names(measure: Named) -> list[str]:
    return [f"{m.name}_{sketch.error}" for m, _, sketch in sketched([measure])]


def merged_sketches(rollup: RollupSpec) -> list[pl.Expr]:
    """All columns of lists of sketches, merged."""
    return [merging(column.name, sketch.merge) for _, column, sketch in sketched(rollup.measured)]


def merging(column: str, merge: Callable[[Iterable[bytes]], bytes]) -> pl.Expr:
    """Of a column of lists. A single sketch stays as it is."""

    def each(dumped: pl.Series) -> bytes | None:
        held: list[bytes] = dumped.to_list()
        return merge(held) if len(held) > 1 else held[0] if held else None

    return pl.col(column).map_elements(each, return_dtype=pl.Binary)


def shown(rollup: RollupSpec) -> list[pl.Expr]:
    """Every figure of merged columns, where sketches are lists; beside estimates their error."""
    exprs = [f.value.alias(f.name) for f in figures(rollup) if f.sketch is None]
    for m, column, sketch in sketched(rollup.measured):
        width = len(sketch.parts) + 1
        read = pl.col(column.name).map_elements(_reading(sketch), return_dtype=pl.Array(pl.Float64, width))
        exprs += [
            read.arr.get(i).cast(POLARS[sketch.type]).alias(f"{m.name}_{part}") for i, part in enumerate(sketch.parts)
        ]
        exprs.append(read.arr.get(width - 1).alias(f"{m.name}_{sketch.error}"))
    return exprs


def _reading(sketch: Sketch) -> Callable[[pl.Series], list[float | None]]:
    def each(dumped: pl.Series) -> list[float | None]:
        held: list[bytes] = dumped.to_list()
        values, error = sketch.read(sketch.merge(held) if held else None)
        return [*values, error]

    return each


def possible(
    kind: MeasureKind, stored: Sequence[Any], facts: Sequence[Pair], duplicates: Sequence[Pair], left_out: int
) -> bool:
    """Whether the worker's columns of one bucket can come of the facts without `left_out` of them at most, and of some
    of the duplicates. True where that can't be said, or where there is no value.
    """
    decide = _KINDS[kind].possible
    return decide is None or None in stored or decide(stored, facts, duplicates, left_out)
