"""From checked events to the rows that a transaction writes: by number, so that texts are looked at once a value."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from streamgauge.contract.measures import DISTINCT, Count, Measure, condition, kinds_of
from streamgauge.contract.model import NO_VALUE, Contract, Source
from streamgauge.expression.columns import DerivedColumns
from streamgauge.expression.scope import derived_column
from streamgauge.records.avro_reader import picked_name
from streamgauge.rollup.groups import Coded, Grouped, code_texts, group_rows
from streamgauge.rollup.plan import MINUTE, MINUTE_MS, PARTITION, as_number, as_text, is_map_value
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.rollup.sketch_columns import SketchColumn, Stored
from streamgauge.types import Float64s, Int32s, Int64s, UInt8s, UInt32s
from streaming.worker.accumulate import add_frequent, coupons
from streaming.worker.groups import Groups, group_events, merge
from streaming.worker.lookup import Lookup
from streaming.worker.measures import ADD_TO_SKETCHES, Numbers, columns
from streaming.worker.open_minutes import Cell, Name, OpenMinutes, OpenSketches

SKIPPED, COUNTED, LATE, DUPLICATE = range(4)
"""Verdicts on an event. One that is skipped is no longer, or not yet, to be classified."""

_VERDICTS = 4
_VALUE = "value"

TopRow = tuple[int, int, str, bytes]
"""Minute (epoch ms), partition, top-N, sketch."""


@dataclass(frozen=True)
class RollupInput:
    """What a rollup needs of a batch, a row for each event: its group and event time (epoch ms); by the name of each
    distinct count coupons, of each measure numbers (NaN for none), of each top-N keys (null for none).
    """

    group: Int32s
    times: Int64s
    groups: Groups
    coupons: dict[str, UInt32s]
    numbers: dict[str, Float64s]
    keys: dict[str, Coded]


@dataclass(frozen=True)
class _Cells:
    """The groups by minute and partition: where each of those begins and ends, and what names the rows within."""

    cells: list[tuple[Cell, slice]]
    names: list[Name]


def sketch_columns(contract: Contract) -> list[str]:
    """The columns of the minutes table that hold sketches."""
    return [c.name for c in contract.rollup.columns if c.merge is None]


class Rollup:
    def __init__(self, contract: Contract, pseudonyms: Pseudonyms) -> None:
        rollup = contract.rollup
        self._rollup = rollup
        self._pseudonyms = pseudonyms
        self._personal = {s.source for s in (*rollup.dimensions, *rollup.top) if contract.is_personal(s)}
        self._derived = DerivedColumns(contract, rollup.reads)
        self.sketches = {column: OpenMinutes() for column in sketch_columns(contract)}
        """By column of the minutes table; rows are named by their dimensions."""
        self.tops = {top.name: OpenMinutes() for top in rollup.top}
        """By the top-N's name; one row, without a name."""

    def restore(self, held: OpenSketches) -> None:
        """Goes on from what was stored. Of a top-N that is no longer asked for there may be rows still."""
        for opened, stored in ((self.sketches, held.columns), (self.tops, held.tops)):
            for name, entries in stored.items():
                for cell, row, data in entries if name in opened else ():
                    opened[name].put(cell, [row], [data])

    def extract(self, events: pl.DataFrame, times: Int64s, partitions: Int64s, lookup: Lookup | None) -> RollupInput:
        """The part that needs no state. `events` has the contract's fields, of maps the values that are picked."""
        columns = _Columns(events, lookup, self._derived)
        dimensions = [_without_null(self._named(columns, d)) for d in self._rollup.dimensions]
        group, groups = group_events(times // MINUTE_MS * MINUTE_MS, partitions, dimensions)
        return RollupInput(
            group,
            times,
            groups,
            {d.name: _coupons(columns.texts(d.source)) for d in self._rollup.distinct},
            {m.name: columns.measured(m) for m in self._rollup.numbered},
            {t.name: self._named(columns, t) for t in self._rollup.top},
        )

    def _named(self, columns: "_Columns", source: Source) -> Coded:
        """Personal values as pseudonyms."""
        texts = columns.texts(source.source)
        return Coded(texts.codes, self._pseudonyms.of_each(texts.values)) if source.source in self._personal else texts

    def add(
        self, inputs: Sequence[RollupInput], verdicts: Sequence[UInt8s], firsts: Mapping[int, int]
    ) -> tuple[pl.DataFrame, list[TopRow]]:
        """Rows of the minutes table, but for `upto`, and of the top-N table. Both sorted by minute and partition.

        `firsts` has the first minute (epoch ms) of each partition that is still open after these events.
        """
        places, groups = merge([t.groups for t in inputs])
        group = np.concatenate([place[t.group] for place, t in zip(places, inputs, strict=True)])
        verdict = np.concatenate(verdicts)
        tally = np.bincount(group * _VERDICTS + verdict, minlength=len(groups) * _VERDICTS).reshape(-1, _VERDICTS)
        touched = tally[:, COUNTED:].sum(axis=1) > 0
        if not touched.all():
            groups, tally, group = groups.take(touched), tally[touched], (np.cumsum(touched) - 1)[group]
        counted = group_rows(group.astype(np.int32), len(groups), verdict, COUNTED)
        dimensions = [d.values[d.codes] for d in groups.dimensions]
        cells = _cells(groups)
        minutes = [
            pl.Series(MINUTE, groups.minutes),
            pl.Series(PARTITION, groups.partitions),
            *(column.alias(d.name) for d, column in zip(self._rollup.dimensions, dimensions, strict=True)),
            *(pl.Series(name, tally[:, verdict]) for name, verdict in _COUNTS.items()),
            *self._measures(inputs, counted),
            *self._sketches(inputs, counted, cells, firsts),
        ]
        return pl.DataFrame(minutes), self._tops(inputs, groups, counted, firsts)

    def _measures(self, inputs: Sequence[RollupInput], counted: Grouped) -> list[pl.Series]:
        times = np.concatenate([t.times for t in inputs])
        return [
            column
            for m in self._rollup.numbered
            for column in columns(m, Numbers(_numbers(inputs, m.name), times), counted)
        ]

    def _sketches(
        self, inputs: Sequence[RollupInput], counted: Grouped, cells: _Cells, firsts: Mapping[int, int]
    ) -> list[pl.Series]:
        built: list[pl.Series] = []
        for m in self._rollup.measured:
            for kind in kinds_of(m):
                add = ADD_TO_SKETCHES.get(kind)
                if add is None:
                    continue
                coupons = kind is DISTINCT
                new = np.concatenate([t.coupons[m.name] for t in inputs]) if coupons else _numbers(inputs, m.name)
                adding = partial(add, values=new, grouped=counted)
                for column in kind.columns(m.name):
                    updated = _update(self.sketches[column.name], cells, firsts, adding)
                    built.append(updated.series(column.name))
        return built

    def _tops(
        self, inputs: Sequence[RollupInput], groups: Groups, counted: Grouped, firsts: Mapping[int, int]
    ) -> list[TopRow]:
        ends = groups.cell_ends
        by_cell = Grouped(counted.order, counted.ends[ends - 1])
        cells = _cells(Groups(groups.minutes[ends - 1], groups.partitions[ends - 1], []))
        rows: list[TopRow] = []
        for top in self._rollup.top:
            keys = _below([t.keys[top.name] for t in inputs])
            add = partial(add_frequent, keys=keys, grouped=by_cell, exact_keys=top.exactKeys)
            updated = _update(self.tops[top.name], cells, firsts, add)
            rows += [
                (minute, partition, top.name, data)
                for ((partition, minute), _), data in zip(cells.cells, updated.parts(slice(0, len(ends))), strict=True)
                if data is not None
            ]
        return rows


_COUNTS = {"count": COUNTED, "late": LATE, "duplicates": DUPLICATE}


class _Columns:
    """A batch's columns as the rollup's sources name them, each coded once."""

    def __init__(self, events: pl.DataFrame, lookup: Lookup | None, derived: DerivedColumns) -> None:
        self._events = events
        self._derived = derived
        self._coded: dict[str, Coded] = {}
        if lookup is not None:
            found = lookup.find(self._code(lookup.key))
            self._coded |= {f"reference.{name}": column for name, column in found.items()}
        if derived:
            read = [pl.Series(name, c.values[c.codes]) for name, c in self._coded.items() if name in derived.inputs]
            self._events = derived.add(events.with_columns(read))

    def texts(self, source: str) -> Coded:
        coded = self._code(source)
        # a map's value is changed on its way to a text
        return Coded(coded.codes, _each(coded.values, as_text, source)) if is_map_value(source) else coded

    def measured(self, of: Count | Measure) -> Float64s:
        """NaN for an event that isn't measured, or has no number; 1 for one that is counted."""
        numbers = np.ones(len(self._events)) if isinstance(of, Count) else self.numbers(of.source)
        if of.where is None:
            return numbers
        holds = self._column(condition(of.name)).fill_null(False).to_numpy()
        return np.where(holds, numbers, np.nan)

    def numbers(self, source: str) -> Float64s:
        """NaN where there is none."""
        if source in self._coded or self._column(source).dtype == pl.String:
            coded = self._code(source)
            return _each(coded.values, as_number, source).to_numpy()[coded.codes]
        return _each(self._column(source), as_number, source).to_numpy()

    def _code(self, source: str) -> Coded:
        if source not in self._coded:
            column = self._column(source)
            self._coded[source] = code_texts(column if column.dtype == pl.String else _each(column, as_text, source))
        return self._coded[source]

    def _column(self, source: str) -> pl.Series:
        if source in self._derived:
            return self._events[derived_column(source)]
        head, _, tail = source.partition(".")
        return self._events[picked_name(head, tail) if tail else head]


def _each(values: pl.Series, change: Callable[[pl.Expr, str], pl.Expr], source: str) -> pl.Series:
    return values.to_frame(_VALUE).select(change(pl.col(_VALUE), source)).to_series()


def _coupons(texts: Coded) -> UInt32s:
    return coupons(texts.values)[texts.codes]


def _without_null(dimension: Coded) -> Coded:
    values = dimension.values
    return Coded(dimension.codes, values.fill_null(NO_VALUE)) if values.null_count() else dimension


def _numbers(inputs: Sequence[RollupInput], name: str) -> Float64s:
    return np.concatenate([t.numbers[name] for t in inputs])


def _below(columns: Sequence[Coded]) -> Coded:
    """The columns below each other; a value may come twice."""
    firsts = np.cumsum([0, *(len(c.values) for c in columns)]).tolist()
    codes = np.concatenate([c.codes + first for c, first in zip(columns, firsts, strict=False)])
    return Coded(codes, pl.concat([c.values for c in columns]))


def _cells(groups: Groups) -> _Cells:
    ends = groups.cell_ends
    starts = ends - np.diff(ends, prepend=0)
    at = zip(groups.partitions[starts].tolist(), groups.minutes[starts].tolist(), strict=True)
    return _Cells(list(zip(at, map(slice, starts.tolist(), ends.tolist()), strict=True)), groups.names())


def _update(
    opened: OpenMinutes, cells: _Cells, firsts: Mapping[int, int], add: Callable[[Stored], SketchColumn]
) -> SketchColumn:
    """Adds to what is held of the cells, and holds what can still change."""
    stored: dict[int, bytes] = {}
    for cell, rows in cells.cells:
        stored.update((rows.start + i, data) for i, data in opened.get(cell, cells.names[rows]))
    updated = add(stored)
    opened.close_before(firsts)
    for cell, rows in cells.cells:
        if opened.is_open(cell):
            opened.put(cell, cells.names[rows], updated.parts(rows))
    return updated
