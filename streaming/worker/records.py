"""A batch of Kafka records as columns: row i of every column is the same record, in consumption order."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from confluent_kafka import Message

from streamgauge.types import Int64s


@dataclass(frozen=True)
class RawRecord:
    """A record as the broker gave it, for a dead letter. Times in epoch ms."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    ingest_ms: int


@dataclass(frozen=True)
class Records:
    """`raw(row)` gives one record whole, `ingest_ms(rows)` the ingest times of some; `earliest_ingest_ms` is a
    lower bound of all of them.

    `idle` maps a partition that has been read to its end to the time (epoch ms) up to which it is believed
    complete.
    """

    values: list[bytes | None]
    partitions: Int64s
    offsets: Int64s
    earliest_ingest_ms: int
    raw: Callable[[int], RawRecord]
    ingest_ms: Callable[[Int64s], Int64s]
    idle: dict[int, int] = field(default_factory=dict[int, int])

    def __len__(self) -> int:
        return len(self.values)


def from_messages(messages: list[Message], idle: dict[int, int]) -> Records:
    """The columns of consumed messages. Log-append time never falls within a partition, so its first row is its
    earliest.
    """
    count = len(messages)
    partitions = np.fromiter(map(Message.partition, messages), np.int64, count)
    offsets = np.fromiter(map(Message.offset, messages), np.int64, count)
    firsts = np.unique(partitions, return_index=True)[1]

    def raw(row: int) -> RawRecord:
        m = messages[row]
        return RawRecord(
            partition=int(partitions[row]),
            offset=int(offsets[row]),
            key=m.key(),
            value=m.value(),
            headers=cast(list[tuple[str, bytes | None]], m.headers() or []),
            ingest_ms=_ingest_ms(m),
        )

    def ingest_ms(rows: Int64s) -> Int64s:
        return np.array([_ingest_ms(messages[row]) for row in cast(list[int], rows.tolist())], np.int64)

    return Records(
        values=list(map(Message.value, messages)),
        partitions=partitions,
        offsets=offsets,
        earliest_ingest_ms=int(ingest_ms(firsts).min(initial=2**62)),
        raw=raw,
        ingest_ms=ingest_ms,
        idle=idle,
    )


def _ingest_ms(message: Message) -> int:
    return message.timestamp()[1]
