"""A batch of Kafka records as columns: row i of every column is the same record. Records are sorted by partition, and
within it by offset.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from streamgauge.records.fetcher import Fetched, RawRecord
from streamgauge.records.payloads import Payloads
from streamgauge.records.runs import first_rows
from streamgauge.types import Int64s


@dataclass(frozen=True)
class Positions:
    """Where a batch's records stand in the log. `earliest_ingest_ms` is a lower bound of their ingest times.

    `idle` maps a partition that has been read to its end to the time (epoch ms) up to which it is believed
    complete.
    """

    partitions: Int64s
    offsets: Int64s
    earliest_ingest_ms: int
    idle: dict[int, int] = field(default_factory=dict[int, int])

    def __len__(self) -> int:
        return len(self.offsets)

    def slices(self) -> Iterator[tuple[int, slice]]:
        """Each partition with its rows."""
        names, starts = np.unique(self.partitions, return_index=True)
        stops = [*starts[1:].tolist(), len(self)]
        return zip(names.tolist(), map(slice, starts.tolist(), stops), strict=False)


@dataclass(frozen=True)
class Records:
    """`raw(row)` gives one record whole, `ingest_ms(rows)` the ingest times of some. The client keeps its memory for as
    long as a batch of these is held.
    """

    positions: Positions
    payloads: Payloads
    raw: Callable[[int], RawRecord]
    ingest_ms: Callable[[Int64s], Int64s]


def from_fetched(fetched: Fetched, idle: dict[int, int]) -> Records:
    """Log-append time never falls within a partition, so its first row is its earliest."""
    fetched = fetched.take(np.argsort(fetched.partitions, kind="stable"))
    firsts = np.array(list(first_rows(fetched.partitions).values()), np.int64)
    earliest = int(fetched.ingest_ms(firsts).min(initial=2**62))
    positions = Positions(fetched.partitions, fetched.offsets, earliest, idle)
    return Records(positions, fetched.payloads, fetched.raw, fetched.ingest_ms)
