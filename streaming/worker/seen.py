"""The event ids one partition remembers, to find duplicates.

An id is kept as a 64-bit hash in the generation its event fell into: an equal share of the duplicate horizon,
counted on the partition's watermark. What is remembered depends only on the log's order, never on where batches
begin, so a restart that reads the remembered generations again finds the same.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streamgauge.native.library import native
from streamgauge.types import Bools, Int64s, UInt64s

GENERATIONS = 4
"""Generations behind the current one that are remembered: together at least the horizon, at most 5/4 of it."""

_FEWEST_SLOTS = 1 << 12


class Seen:
    def __init__(self) -> None:
        self._generation: int | None = None
        self._size = 0
        self._slots, self._generations = _slots(_FEWEST_SLOTS)

    def duplicates(self, hashes: UInt64s, generations: Int64s) -> Bools:
        """Which rows were seen before, remembering those that weren't. `generations` must never fall."""
        duplicate = np.empty(len(hashes), np.bool_)
        hashes = np.ascontiguousarray(hashes)
        for part in _equal_runs(generations):
            self._begin(int(generations[part.start]))
            self._make_room(part.stop - part.start)
            self._size += native.streamgauge_seen(
                self._slots.ctypes.data,
                self._generations.ctypes.data,
                len(self._slots) - 1,
                int(generations[part.start]) % 256,
                hashes[part].ctypes.data,
                part.stop - part.start,
                duplicate[part].ctypes.data,
            )
        return duplicate

    def _begin(self, generation: int) -> None:
        if self._generation is not None and generation > self._generation:
            passed = generation - self._generation
            self._copy(len(self._slots), self._generation, GENERATIONS - passed)
        self._generation = generation

    def _make_room(self, more: int) -> None:
        if self._generation is not None and 4 * (self._size + more) > 3 * len(self._slots):
            self._copy(1 << (2 * (self._size + more) - 1).bit_length(), self._generation, GENERATIONS)

    def _copy(self, slots: int, newest: int, remembered: int) -> None:
        """What is at most `remembered` generations behind `newest`, to as many new slots."""
        to_slots, to_generations = _slots(slots)
        self._size = 0
        if remembered >= 0:
            self._size = native.streamgauge_seen_copy(
                self._slots.ctypes.data,
                self._generations.ctypes.data,
                len(self._slots),
                newest % 256,
                remembered,
                to_slots.ctypes.data,
                to_generations.ctypes.data,
                slots - 1,
            )
        self._slots, self._generations = to_slots, to_generations


def _slots(count: int) -> tuple[UInt64s, NDArray[np.uint8]]:
    return np.zeros(count, np.uint64), np.empty(count, np.uint8)


def _equal_runs(values: Int64s) -> Iterator[slice]:
    borders = np.flatnonzero(np.diff(values)) + 1
    edges = [0, *borders.tolist(), len(values)]
    return (slice(a, b) for a, b in pairwise(edges) if a < b)
