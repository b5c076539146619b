"""A batch of Kafka records as columns: row i of every column is the same record. Records are sorted by partition, and
within it by offset.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from streamgauge.records.fetcher import Fetched, RawRecord
from streamgauge.records.payloads import Payloads
from streamgauge.types import Bools, Int64s


@dataclass(frozen=True)
class Positions:
    """Where a batch's records stand in the log, when the broker appended them or, in a topic that keeps that instead,
    when their producers made them, and when they were read (epoch ms).

    `idle` maps a partition that has been read to its end to the time (epoch ms) up to which it is believed
    complete.
    """

    partitions: Int64s
    offsets: Int64s
    ingest_ms: Int64s
    idle: dict[int, int] = field(default_factory=dict[int, int])
    read_ms: int = 2**62

    def __len__(self) -> int:
        return len(self.offsets)

    def slices(self) -> Iterator[tuple[int, slice]]:
        """Each partition with its rows."""
        names, starts = np.unique(self.partitions, return_index=True)
        stops = [*starts[1:].tolist(), len(self)]
        return zip(names.tolist(), map(slice, starts.tolist(), stops), strict=False)


@dataclass(frozen=True)
class Records:
    """`raw(row)` gives one record whole, `headers(row)` its headers alone; `sampled(rows)` says whose sender has set
    the sampled flag of its trace context. The client keeps its memory for as long as a batch of these is held.
    """

    positions: Positions
    keys: Payloads
    payloads: Payloads
    raw: Callable[[int], RawRecord]
    headers: Callable[[int], list[tuple[str, bytes | None]]]
    sampled: Callable[[Int64s], Bools]


def some_of(records: Records, rows: Int64s) -> Records:
    """A batch of these rows, which must be ascending."""
    at = records.positions
    positions = Positions(at.partitions[rows], at.offsets[rows], at.ingest_ms[rows], at.idle, at.read_ms)
    return Records(
        positions,
        records.keys.take(rows),
        records.payloads.take(rows),
        lambda row: records.raw(int(rows[row])),
        lambda row: records.headers(int(rows[row])),
        lambda some: records.sampled(rows[some]),
    )


def from_fetched(fetched: Fetched, idle: dict[int, int]) -> Records:
    fetched = fetched.take(np.argsort(fetched.partitions, kind="stable"))
    ingest_ms = fetched.ingest_ms(np.arange(len(fetched)))
    positions = Positions(fetched.partitions, fetched.offsets, ingest_ms, idle, int(time.time() * 1000))
    return Records(positions, fetched.keys(), fetched.payloads, fetched.raw, fetched.headers, fetched.sampled)
