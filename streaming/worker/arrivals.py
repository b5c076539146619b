"""How records arrive, for those who look for a sender that does it wrong: late, with a clock that is ahead, or in
partitions where their keys do not belong. It changes nothing of what becomes of a record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamgauge.state.arrivals import ALL, LATE
from streamgauge.telemetry.tracing import PRODUCER
from streamgauge.types import Int64s

AHEAD_MS = 5_000
"""A record is written before the broker appends it, and clocks that are kept by NTP agree within a second."""
_UNNAMED = "unnamed"

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Arrivals:
    """Records of one kind in a partition, between two offsets (both included), and some of their producers."""

    partition: int
    kind: str
    records: int
    first_offset: int
    last_offset: int
    producers: tuple[str, ...] = ()

    def then(self, next_: "Arrivals") -> "Arrivals":
        """Both as one."""
        producers = tuple(sorted({*self.producers, *next_.producers}))
        records = self.records + next_.records
        return Arrivals(self.partition, self.kind, records, self.first_offset, next_.last_offset, producers)


@dataclass(frozen=True)
class Observed:
    """Rows of a batch by kind, ascending, and some of their producers by kind and partition. Of the kind LATE there are
    only producers here, of events that may be late: which are depends on what came before.
    """

    rows: Mapping[str, Int64s]
    producers: Mapping[tuple[str, int], tuple[str, ...]]


def observe(found: Mapping[str, Int64s], partitions: Int64s, headers: Callable[[int], Headers]) -> Observed:
    """`found` has the rows of each kind. Of each partition the first and the last one's headers are read: all would
    take as long as everything else.
    """
    producers: dict[tuple[str, int], tuple[str, ...]] = {}
    for kind, rows in found.items():
        if not len(rows):
            continue
        of = partitions[rows]
        borders = np.flatnonzero(np.diff(of)) + 1
        for first, last in zip([0, *borders.tolist()], [*(borders - 1).tolist(), len(rows) - 1], strict=True):
            names = {_producer(headers(int(rows[i]))) for i in (first, last)}
            producers[kind, int(of[first])] = tuple(sorted(names))
    return Observed({kind: rows for kind, rows in found.items() if kind != LATE}, producers)


def arrivals(observed: Observed, partition: int, rows: slice, late: Int64s, offsets: Int64s) -> list[Arrivals]:
    """Of one partition's new rows of a batch, all of them and each kind that there is. `late` are rows too."""
    of: dict[str, Int64s] = {ALL: np.arange(rows.start, rows.stop), LATE: late}
    of |= {kind: within(found, rows) for kind, found in observed.rows.items()}
    return [
        Arrivals(
            partition,
            kind,
            len(found),
            int(offsets[found[0]]),
            int(offsets[found[-1]]),
            observed.producers.get((kind, partition), ()),
        )
        for kind, found in of.items()
        if len(found)
    ]


def within(found: Int64s, rows: slice) -> Int64s:
    """Those of ascending row numbers that are among `rows`."""
    begin, end = np.searchsorted(found, (rows.start, rows.stop)).tolist()
    return found[begin:end]


def together(parts: Sequence[Arrivals]) -> list[Arrivals]:
    """One of each partition and kind, of parts that follow each other."""
    whole: dict[tuple[int, str], Arrivals] = {}
    for p in parts:
        key = p.partition, p.kind
        whole[key] = p if key not in whole else whole[key].then(p)
    return list(whole.values())


def _producer(headers: Headers) -> str:
    """What the last header of that name says, as far as it can be shown in an alert."""
    named = [value for name, value in headers if name == PRODUCER and value]
    text = named[-1].decode(errors="replace") if named else ""
    return "".join(c for c in text if c.isprintable())[:64] or _UNNAMED
