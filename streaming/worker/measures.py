"""How the worker makes each kind of measure of a batch: columns in, columns out. What is no sketch is made of the batch
alone and merged by Postgres; sketches go on from what is stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import polars as pl

from streamgauge.contract.measures import DISTINCT, EVENTS, LAST, NUMBERS, QUANTILES, MeasureKind, Named, kinds_of
from streamgauge.rollup.groups import Grouped, measure
from streamgauge.rollup.sketch_columns import SketchColumn, Stored
from streamgauge.types import Float64s, Int64s
from streaming.worker.accumulate import add_distinct, add_quantiles


@dataclass(frozen=True)
class Numbers:
    """Of a batch's events: numbers, NaN for none, and event times (epoch ms)."""

    values: Float64s
    times: Int64s


def _events(numbers: Numbers, grouped: Grouped) -> tuple[pl.Series, ...]:
    return (pl.Series(measure(numbers.values, grouped).sizes),)


def _numbers(numbers: Numbers, grouped: Grouped) -> tuple[pl.Series, ...]:
    measured = measure(numbers.values, grouped)
    extremes = (measured.least, measured.most)
    return pl.Series(measured.sizes), pl.Series(measured.sums), *(pl.Series(e, nan_to_null=True) for e in extremes)


def _last(numbers: Numbers, grouped: Grouped) -> tuple[pl.Series, ...]:
    """Of each group the value of its latest event that has one, of several the greatest; and that event's time."""
    groups = np.repeat(np.arange(len(grouped.ends)), np.diff(grouped.ends, prepend=0))
    values, times = numbers.values[grouped.order], numbers.times[grouped.order]
    there = ~np.isnan(values)
    groups, values, times = groups[there], values[there], times[there]
    firsts = np.flatnonzero(np.diff(groups, prepend=-1))
    latest = np.maximum.reduceat(times, firsts) if len(firsts) else times
    at_latest = times == np.repeat(latest, np.diff(firsts, append=len(times)))
    last = np.maximum.reduceat(np.where(at_latest, values, -np.inf), firsts) if len(firsts) else values
    rows = groups[firsts]
    return _at(rows, last, len(grouped.ends)), _at(rows, latest, len(grouped.ends))


def _at(rows: Int64s, values: Float64s | Int64s, count: int) -> pl.Series:
    """Null in every other row."""
    return pl.repeat(None, count, dtype=pl.Series(values).dtype, eager=True).scatter(rows, pl.Series(values))


_COLUMNS: Mapping[MeasureKind, Callable[[Numbers, Grouped], tuple[pl.Series, ...]]] = {
    EVENTS: _events,
    NUMBERS: _numbers,
    LAST: _last,
}


class AddToSketches(Protocol):
    """`values`: the coupons of a distinct count, or the numbers of a measure."""

    def __call__(self, stored: Stored, values: Any, grouped: Grouped) -> SketchColumn: ...


ADD_TO_SKETCHES: Mapping[MeasureKind, AddToSketches] = {DISTINCT: add_distinct, QUANTILES: add_quantiles}


def columns(source: Named, numbers: Numbers, grouped: Grouped) -> list[pl.Series]:
    """Those that are no sketches."""
    built: list[pl.Series] = []
    for kind in kinds_of(source):
        if kind in _COLUMNS:
            names = [c.name for c in kind.columns(source.name)]
            built += [s.alias(name) for s, name in zip(_COLUMNS[kind](numbers, grouped), names, strict=True)]
    return built
