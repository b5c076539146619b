"""What a worker knows of a partition it owns. All of it can be made again from Postgres and the log."""

from dataclasses import dataclass, field

import numpy as np

from streamgauge.records.runs import first_rows
from streamgauge.types import Bools, Int64s, UInt64s
from streaming.worker.seen import GENERATIONS, Seen

_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Progress:
    """The committed part: a row of `stream_offsets`. Times in epoch ms.

    `latest` is the latest of the watermark and of all events' times: no minute after it has a row yet. `generations`
    are the remembered generations with the first offset of each, oldest first.
    """

    partition: int
    next_offset: int
    epoch: int
    watermark: int | None
    latest: int | None = None
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

    def advance(self, next_offset: int, step: "Step", offsets: Int64s) -> Progress:
        """Moves on to `next_offset`. `offsets` are those of the valid events on the way, in order."""
        generations = dict(self.progress.generations)
        for generation, row in first_rows(step.generations).items():
            generations.setdefault(generation, int(offsets[row]))
        oldest = None if step.watermark is None else step.watermark // self.generation_ms - GENERATIONS
        kept = tuple((g, o) for g, o in sorted(generations.items()) if oldest is None or g >= oldest)
        self.progress = Progress(
            self.progress.partition, next_offset, self.progress.epoch, step.watermark, step.latest, kept
        )
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
class Step:
    """How far a partition comes, and the generations of the valid events on the way."""

    watermark: int | None
    latest: int | None
    generations: Int64s

    @staticmethod
    def idle(progress: Progress, complete_to: int) -> "Step":
        """Without an event, to a watermark that must be later than the present one."""
        latest = complete_to if progress.latest is None else max(progress.latest, complete_to)
        return Step(complete_to, latest, np.array([], np.int64))


@dataclass(frozen=True)
class Classified:
    duplicate: Bools
    late: Bools
    step: Step


def classify(
    state: PartitionState, hashes: UInt64s, event_times: Int64s, ingest_times: Int64s, lateness_ms: int
) -> Classified:
    """Duplicate, late or (neither) counted, for a partition's valid events in offset order. Times in epoch ms.

    An event moves the watermark to its own time, but not past the broker's when it appended it: a producer whose clock
    is ahead would make everybody else's events late. So what becomes of an event depends on the log alone.
    """
    before = state.progress
    start = _NEVER if before.watermark is None else before.watermark
    after = np.maximum.accumulate(np.maximum(np.minimum(event_times, ingest_times), start))
    earlier = np.concatenate((np.array([start], np.int64), after[:-1]))
    generations = after // state.generation_ms
    duplicate = state.seen.duplicates(hashes, generations)
    # compared on this side of the minus: the least int64 has no smaller neighbour
    late = ~duplicate & (event_times + lateness_ms < earlier)
    if not len(after):
        return Classified(duplicate, late, Step(before.watermark, before.latest, generations))
    latest = max(int(event_times.max()), int(after[-1]), _NEVER if before.latest is None else before.latest)
    return Classified(duplicate, late, Step(int(after[-1]), latest, generations))
