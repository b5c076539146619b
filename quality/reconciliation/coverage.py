"""Which of a topic's offsets each layer has: what one of them lacks explains why its numbers are lower."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

Span = tuple[int, int]
"""Offsets from the first up to, not including, the second."""


@dataclass(frozen=True)
class WorkerPart:
    """What the worker has taken of a partition: all from `start` to `next` but the gaps, which the log had lost.

    Kafka's topic begins at `first`: what is before it was in topics of this name that were deleted.
    """

    start: int
    next: int
    gaps: tuple[Span, ...] = ()
    watermark: datetime | None = None
    first: int = 0


@dataclass(frozen=True)
class Missing:
    """Numbers of offsets that only one of the layers has."""

    tail: int = 0
    """Taken by the worker, behind the lake's end."""
    holes: int = 0
    """Taken by the worker, before the lake's end and yet not in the lake."""
    deleted: int = 0
    """Taken by the worker, and deleted with their topic before the lake had them."""
    unread: int = 0
    """In the lake, not yet taken by the worker."""
    lost: int = 0
    """In the lake, and no longer in the log when the worker came to them."""


def missing(worker: Mapping[int, WorkerPart], lake: Mapping[int, Sequence[Span]]) -> Missing:
    """By partition. Markers of transactions are offsets too, so these are upper bounds of records."""
    tail = holes = deleted = unread = lost = 0
    for partition in worker.keys() | lake.keys():
        loaded, stored = worker.get(partition, WorkerPart(0, 0)), union(lake.get(partition, ()))
        had = subtract([(loaded.start, loaded.next)], union(loaded.gaps))
        lake_end = max(stored[-1][1] if stored else loaded.start, loaded.first)
        only_worker, only_lake = subtract(had, stored), subtract(stored, had)
        tail += size(only_worker, start=lake_end)
        holes += size(only_worker, start=loaded.first, end=lake_end)
        deleted += size(only_worker, end=loaded.first)
        unread += size(only_lake, start=loaded.next)
        lost += size(only_lake, end=loaded.next)
    return Missing(tail, holes, deleted, unread, lost)


def union(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(s for s in spans if s[0] < s[1]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def subtract(spans: Iterable[Span], others: Sequence[Span]) -> list[Span]:
    """`others` must be a union."""
    left: list[Span] = []
    for start, end in spans:
        at = start
        for low, high in others:
            if low < end and high > at:
                if at < low:
                    left.append((at, low))
                at = high
        if at < end:
            left.append((at, end))
    return left


def size(spans: Iterable[Span], *, start: int = 0, end: int | None = None) -> int:
    """How many offsets of the spans lie from `start` up to `end`."""
    return sum(max(0, (b if end is None else min(b, end)) - max(a, start)) for a, b in spans)
