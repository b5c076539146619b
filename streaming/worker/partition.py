"""What a worker knows of a partition it owns. All of it can be made again from Postgres and the log."""

from dataclasses import dataclass, field

import numpy as np

from streamgauge.records.runs import first_rows
from streamgauge.types import Bools, Int64s, UInt64s
from streaming.worker.seen import GENERATIONS, Seen


@dataclass(frozen=True)
class Progress:
    """The committed part: a row of `stream_offsets`. Times in epoch ms.

    `generations` are the remembered generations with the first offset of each, oldest first.
    """

    partition: int
    next_offset: int
    epoch: int
    watermark: int | None
    generations: tuple[tuple[int, int], ...] = ()

    @property
    def read_from(self) -> int:
        """Where to read from so that the remembered event ids are remembered again."""
        return min([self.next_offset, *(offset for _, offset in self.generations)])


@dataclass
class PartitionState:
    progress: Progress
    generation_ms: int
    seen: Seen = field(default_factory=Seen)
    paused: bool = False

    def advance(self, next_offset: int, watermark: int | None, offsets: Int64s, generations: Int64s) -> Progress:
        """Moves on to `next_offset`. `offsets` and `generations` are those of the valid events on the way, in
        order.
        """
        known = dict(self.progress.generations)
        for generation, row in first_rows(generations).items():
            known.setdefault(generation, int(offsets[row]))
        oldest = None if watermark is None else watermark // self.generation_ms - GENERATIONS
        kept = tuple((g, o) for g, o in sorted(known.items()) if oldest is None or g >= oldest)
        self.progress = Progress(self.progress.partition, next_offset, self.progress.epoch, watermark, kept)
        return self.progress

    def remember(self, hashes: UInt64s, offsets: Int64s) -> None:
        """Events before `next_offset`, read again after a restart: they are seen, and nothing else."""
        generations = self.generations_at(offsets)
        if len(generations):
            self.seen.duplicates(hashes, generations)

    def generations_at(self, offsets: Int64s) -> Int64s:
        starts = np.array([o for _, o in self.progress.generations], np.int64)
        names = np.array([g for g, _ in self.progress.generations], np.int64)
        return names[np.maximum(np.searchsorted(starts, offsets, side="right") - 1, 0)] if len(names) else offsets[:0]


@dataclass(frozen=True)
class Verdicts:
    duplicate: Bools
    late: Bools
    watermark: int | None
    generations: Int64s


def judge(state: PartitionState, hashes: UInt64s, event_times: Int64s, lateness_ms: int) -> Verdicts:
    """Duplicate, late or (neither) counted, for a partition's valid events in offset order.

    The watermark before an event is the latest event time before it, so the verdicts depend on the log alone.
    """
    before = state.progress.watermark
    start = np.iinfo(np.int64).min if before is None else before
    after = np.maximum.accumulate(np.maximum(event_times, start))
    earlier = np.concatenate((np.array([start], np.int64), after[:-1]))
    generations = after // state.generation_ms
    duplicate = state.seen.duplicates(hashes, generations)
    # compared on this side of the minus: the least int64 has no smaller neighbour
    late = ~duplicate & (event_times + lateness_ms < earlier)
    watermark = int(after[-1]) if len(after) else before
    return Verdicts(duplicate, late, watermark, generations)
