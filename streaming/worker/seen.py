"""The event ids one partition remembers, to find duplicates.

An id is kept as a 64-bit hash in the generation its event fell into: an equal share of the duplicate horizon,
counted on the partition's watermark. A generation is a few sorted arrays that are merged as they grow. What is
remembered depends only on the log's order, never on where batches begin, so a restart that reads the remembered
generations again finds the same.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from streamgauge.types import Bools, Int64s, UInt64s

GENERATIONS = 4
"""Generations behind the current one that are remembered: together at least the horizon, at most 5/4 of it."""


class Seen:
    def __init__(self) -> None:
        self._runs: dict[int, list[UInt64s]] = {}

    def duplicates(self, hashes: UInt64s, generations: Int64s) -> Bools:
        """Which rows were seen before, remembering those that weren't. `generations` must never fall."""
        duplicate = np.zeros(len(hashes), np.bool_)
        for part in _equal_runs(generations):
            generation = int(generations[part.start])
            self._forget(generation - GENERATIONS)
            duplicate[part] = self._in_one_generation(hashes[part], generation)
        return duplicate

    def _in_one_generation(self, hashes: UInt64s, generation: int) -> Bools:
        order, ordered, repeated = _sort_first_come_first(hashes)
        known = repeated
        for runs in self._runs.values():
            for run in runs:
                at = np.minimum(np.searchsorted(run, ordered), len(run) - 1)
                known |= run[at] == ordered
        _add(self._runs.setdefault(generation, []), ordered[~known])
        duplicate = np.empty(len(hashes), np.bool_)
        duplicate[order] = known
        return duplicate

    def _forget(self, before: int) -> None:
        for generation in [g for g in self._runs if g < before]:
            del self._runs[generation]


def _equal_runs(values: Int64s) -> Iterator[slice]:
    borders = np.flatnonzero(np.diff(values)) + 1
    edges = [0, *borders.tolist(), len(values)]
    return (slice(a, b) for a, b in pairwise(edges) if a < b)


def _sort_first_come_first(hashes: UInt64s) -> tuple[Int64s, UInt64s, Bools]:
    """The sorting order, the sorted hashes, and which of them repeat an earlier row's."""
    order = np.argsort(hashes)
    ordered = hashes[order]
    repeated = np.zeros(len(hashes), np.bool_)
    repeated[1:] = ordered[1:] == ordered[:-1]
    if repeated.any():
        # a fast sort isn't stable: within equal hashes the earliest row must come first
        members = repeated.copy()
        members[:-1] |= repeated[1:]
        rows = order[members]
        order[members] = rows[np.lexsort((rows, ordered[members]))]
    return order, ordered, repeated


def _add(runs: list[UInt64s], new: UInt64s) -> None:
    """Appends a sorted run, merging while the last is not much smaller: few runs, each id moved a logarithmic
    number of times.
    """
    if not len(new):
        return
    runs.append(new)
    while len(runs) > 1 and len(runs[-2]) < 4 * len(runs[-1]):
        last = runs.pop()
        runs[-1] = np.sort(np.concatenate((runs[-1], last)), kind="stable")
