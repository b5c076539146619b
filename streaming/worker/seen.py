"""The event ids one partition remembers, to find duplicates.

An id is kept as a 64-bit hash in the generation that its last event fell into: an equal share of the duplicate
horizon, counted on the partition's watermark. What is remembered depends only on the log's order, never on where
batches begin, so a restart that reads the remembered generations again finds the same.
"""

from collections.abc import Iterator
from itertools import pairwise
from mmap import mmap

import numpy as np
from numpy.typing import NDArray

from streamgauge.native.library import native
from streamgauge.types import Bools, Int64s, UInt64s

GENERATIONS = 4
"""Generations behind the current one that are remembered: together at least the horizon, at most 5/4 of it."""

_FEWEST_SLOTS = 1 << 12
"""A smaller table would be copied again and again while the first ids come."""
_MOST_APART = 250
"""The table keeps generations modulo 256: beyond this a forgotten id would pass for one of the current generation."""


class Seen:
    def __init__(self) -> None:
        self._oldest = self._newest = 0
        self._filled = 0
        self._slots, self._generations = _slots(_FEWEST_SLOTS)

    @property
    def ids(self) -> int:
        """How many are in the table, forgotten ones that were not dropped yet included."""
        return self._filled

    @property
    def bytes(self) -> int:
        return self._slots.nbytes + self._generations.nbytes

    def duplicates(self, hashes: UInt64s, generations: Int64s) -> Bools:
        """Which rows were seen before; each is remembered from its own generation on. `generations` must never fall."""
        duplicate = np.empty(len(hashes), np.bool_)
        hashes = np.ascontiguousarray(hashes)
        for run in _equal_runs(generations):
            count = run.stop - run.start
            self._begin(int(generations[run.start]))
            if 4 * (self._filled + count) > 3 * len(self._slots):
                self._make_room(count)
            self._filled += native.streamgauge_seen(
                self._slots.ctypes.data,
                self._generations.ctypes.data,
                len(self._slots) - 1,
                self._newest % 256,
                GENERATIONS,
                hashes[run].ctypes.data,
                count,
                duplicate[run].ctypes.data,
            )
        return duplicate

    def _begin(self, generation: int) -> None:
        passed, self._newest = generation - self._newest, generation
        if passed > GENERATIONS:
            self._slots, self._generations = _slots(len(self._slots))
            self._filled, self._oldest = 0, generation
        elif generation - self._oldest > _MOST_APART:
            self._copy(len(self._slots))

    def _make_room(self, more: int) -> None:
        """Forgotten ids are dropped when their slots are needed, and only then."""
        age = np.subtract(self._newest % 256, self._generations, dtype=np.uint8, casting="unsafe")
        remembered = int(np.count_nonzero((self._slots != 0) & (age <= GENERATIONS)))
        self._copy(1 << ((remembered + more) * 8 // 5).bit_length())

    def _copy(self, slots: int) -> None:
        to_slots, to_generations = _slots(slots)
        self._filled = native.streamgauge_seen_copy(
            self._slots.ctypes.data,
            self._generations.ctypes.data,
            len(self._slots),
            self._newest % 256,
            GENERATIONS,
            to_slots.ctypes.data,
            to_generations.ctypes.data,
            slots - 1,
        )
        self._slots, self._generations = to_slots, to_generations
        self._oldest = self._newest - GENERATIONS


def _slots(count: int) -> tuple[UInt64s, NDArray[np.uint8]]:
    """Mapped, not allocated: a table that is released leaves no hole in the process's memory."""
    return np.frombuffer(mmap(-1, 8 * count), np.uint64), np.frombuffer(mmap(-1, count), np.uint8)


def _equal_runs(values: Int64s) -> Iterator[slice]:
    borders = np.flatnonzero(np.diff(values)) + 1
    edges = [0, *borders.tolist(), len(values)]
    return (slice(a, b) for a, b in pairwise(edges) if a < b)
