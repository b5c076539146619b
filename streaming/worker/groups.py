"""Minute rows as groups of a batch's events, by number."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from streamgauge.rollup.groups import Coded, code_numbers
from streamgauge.types import Bools, Int32s, Int64s, UInt32s


@dataclass(frozen=True)
class Groups:
    """A row for each group: its minute (epoch ms), its partition, and its dimensions, whose values are never null."""

    minutes: Int64s
    partitions: Int64s
    dimensions: list[Coded]

    def __len__(self) -> int:
        return len(self.minutes)

    def take(self, rows: Int64s | Bools) -> "Groups":
        dimensions = [Coded(d.codes[rows], d.values) for d in self.dimensions]
        return Groups(self.minutes[rows], self.partitions[rows], dimensions)

    def names(self) -> list[tuple[str, ...]]:
        """The dimensions of each."""
        if not self.dimensions:
            return [()] * len(self)
        codes, firsts = _code_rows([(d.codes, len(d.values)) for d in self.dimensions])
        columns = [d.values[d.codes[firsts]].to_list() for d in self.dimensions]
        different: list[tuple[str, ...]] = list(zip(*columns, strict=True))
        return [different[code] for code in codes.tolist()]

    @property
    def cell_ends(self) -> Int64s:
        """Where the groups of one minute and partition end, if they stand in that order."""
        borders = (np.diff(self.minutes) != 0) | (np.diff(self.partitions) != 0)
        return np.append(np.flatnonzero(borders) + 1, len(self))[: len(self)]


def group_events(minutes: Int64s, partitions: Int64s, dimensions: Sequence[Coded]) -> tuple[Int32s, Groups]:
    """The group of each event, and the groups in the order in which they first come."""
    places = [(minutes, 0), (partitions, int(partitions.max(initial=0)) + 1)]
    codes, firsts = _code_rows([*places, *((d.codes, len(d.values)) for d in dimensions)])
    columns = [Coded(d.codes[firsts], d.values) for d in dimensions]
    return codes, Groups(minutes[firsts], partitions[firsts], columns)


def _code_rows(columns: Sequence[tuple[Int32s | Int64s, int]]) -> tuple[Int32s, UInt32s]:
    """One code for what each row holds in all columns, and the row in which each stands first. In all columns but the
    first, numbers are from 0 to below the one that stands beside them.
    """
    (first, _), *others = columns
    codes, firsts = code_numbers(first.astype(np.int64))
    for column, count in others:
        codes, firsts = code_numbers(codes.astype(np.int64) * count + column)
    return codes, firsts


def merge(parts: Sequence[Groups]) -> tuple[list[Int32s], Groups]:
    """The groups of several batches as one, sorted by minute, partition and dimensions; and for each batch where its
    own groups stand there.
    """
    minutes = np.concatenate([p.minutes for p in parts])
    partitions = np.concatenate([p.partitions for p in parts])
    dimensions = [_ranked(columns) for columns in zip(*(p.dimensions for p in parts), strict=True)]
    sorting = np.lexsort((*(d.codes for d in reversed(dimensions)), partitions, minutes))
    all_sorted = Groups(minutes, partitions, dimensions).take(sorting)
    new = np.ones(len(sorting), np.bool_)
    columns = (all_sorted.minutes, all_sorted.partitions, *(d.codes for d in all_sorted.dimensions))
    new[1:] = np.any([np.diff(column) != 0 for column in columns], axis=0)
    places = np.empty(len(sorting), np.int32)
    places[sorting] = np.cumsum(new) - 1
    return np.split(places, np.cumsum([len(p) for p in parts])[:-1]), all_sorted.take(new)


def _ranked(columns: Sequence[Coded]) -> Coded:
    """The columns below each other, with codes that stand in the order of their values."""
    values = [c.values.to_list() for c in columns]
    names = sorted({v for part in values for v in part})
    place = {name: i for i, name in enumerate(names)}
    codes = [np.array([place[v] for v in part], np.int32)[c.codes] for part, c in zip(values, columns, strict=True)]
    return Coded(np.concatenate(codes), pl.Series(names, dtype=pl.String))
