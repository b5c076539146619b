"""A batch of Kafka records as columns: row i of every column is the same record, in consumption order."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from streamgauge.fetcher import Fetched, RawRecord
from streamgauge.payloads import Payloads
from streamgauge.types import Int64s


@dataclass(frozen=True)
class Records:
    """`raw(row)` gives one record whole, `ingest_ms(rows)` the ingest times of some; `earliest_ingest_ms` is a
    lower bound of all of them.

    `idle` maps a partition that has been read to its end to the time (epoch ms) up to which it is believed
    complete.
    """

    payloads: Payloads
    partitions: Int64s
    offsets: Int64s
    earliest_ingest_ms: int
    raw: Callable[[int], RawRecord]
    ingest_ms: Callable[[Int64s], Int64s]
    idle: dict[int, int] = field(default_factory=dict[int, int])

    def __len__(self) -> int:
        return len(self.offsets)


def from_fetched(fetched: Fetched, idle: dict[int, int]) -> Records:
    """Log-append time never falls within a partition, so its first row is its earliest."""
    firsts = np.unique(fetched.partitions, return_index=True)[1]
    return Records(
        payloads=fetched.payloads,
        partitions=fetched.partitions,
        offsets=fetched.offsets,
        earliest_ingest_ms=int(fetched.ingest_ms(firsts).min(initial=2**62)),
        raw=fetched.raw,
        ingest_ms=fetched.ingest_ms,
        idle=idle,
    )
