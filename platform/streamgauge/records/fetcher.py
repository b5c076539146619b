"""Reads partitions of a topic as columns, without a Python object for each record. Joins no group, commits nothing.

It shows the records where librdkafka has them in memory; they go when the last who holds them lets go.
"""

import ctypes
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException

from streamgauge.native.library import native
from streamgauge.records.librdkafka import NO_CONSUMER_CLOSE, message_headers, new_consumer, rdkafka
from streamgauge.records.payloads import Payloads
from streamgauge.types import Bools, Int64s

_TIMESTAMP = ctypes.cast(rdkafka.rd_kafka_message_timestamp, ctypes.c_void_p)
_HEADERS = ctypes.cast(rdkafka.rd_kafka_message_headers, ctypes.c_void_p)
_LAST_HEADER = ctypes.cast(rdkafka.rd_kafka_header_get_last, ctypes.c_void_p)
_DESTROY = ctypes.cast(rdkafka.rd_kafka_message_destroy, ctypes.c_void_p)


MOST_AHEAD_MS = 3_600_000
"""Kafka's own bound since 4.0, `message.timestamp.after.max.ms`."""


@dataclass(frozen=True)
class RawRecord:
    """A record as the broker gave it. Times in epoch ms."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    ingest_ms: int


class _Client:
    """librdkafka's handle. It must outlive its messages, so whoever lets go last destroys it: the collector of garbage
    keeps no order.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        # what is wrong with the brokers is said by the client that looks after the group or the offsets
        settings = {**config, "log_level": 0}
        settings.pop("logger", None)
        self.handle = new_consumer({k: _text(v) for k, v in settings.items()})
        self.queue = rdkafka.rd_kafka_queue_get_consumer(self.handle)
        # a list, because taking its last item is one step for all threads
        self._last_hold = [True]

    def hold(self) -> None:
        self._last_hold.append(False)

    def let_go(self) -> None:
        if self._last_hold.pop():
            rdkafka.rd_kafka_queue_destroy(self.queue)
            rdkafka.rd_kafka_destroy_flags(self.handle, NO_CONSUMER_CLOSE)


class _Messages:
    """Pointers to messages, which are librdkafka's until they are destroyed here."""

    def __init__(self, client: _Client, pointers: Int64s) -> None:
        self._client = client
        self.pointers = pointers
        client.hold()

    def __del__(self) -> None:
        native.streamgauge_destroy(self.pointers.ctypes.data, len(self.pointers), _DESTROY)
        self._client.let_go()


@dataclass(frozen=True)
class Fetched:
    """Records as columns, in the order in which they were fetched. `messages` are librdkafka's pointers."""

    payloads: Payloads
    partitions: Int64s
    offsets: Int64s
    messages: Int64s

    def __len__(self) -> int:
        return len(self.offsets)

    def take(self, rows: Int64s) -> "Fetched":
        return Fetched(self.payloads.take(rows), self.partitions[rows], self.offsets[rows], self.messages[rows])

    def ingest_ms(self, rows: Int64s) -> Int64s:
        """When the broker appended them (epoch ms), or where the topic keeps that instead, when their producers made
        them. No further ahead than brokers let such clocks be: what a wrong one says may be no date at all.
        """
        messages, times = self.messages[rows], np.empty(len(rows), np.int64)
        native.streamgauge_timestamps(messages.ctypes.data, len(rows), _TIMESTAMP, times.ctypes.data)
        return np.clip(times, 0, int(time.time() * 1000) + MOST_AHEAD_MS)

    def keys(self) -> Payloads:
        addresses, sizes = (np.empty(len(self), np.int64) for _ in range(2))
        messages = np.ascontiguousarray(self.messages)
        native.streamgauge_keys(messages.ctypes.data, len(self), addresses.ctypes.data, sizes.ctypes.data)
        return Payloads(addresses, sizes, self.payloads.owner)

    def sampled(self, rows: Int64s) -> Bools:
        """Whether their senders have set the sampled flag of their trace context."""
        messages, found = self.messages[rows], np.empty(len(rows), np.bool_)
        native.streamgauge_sampled(messages.ctypes.data, len(rows), _HEADERS, _LAST_HEADER, found.ctypes.data)
        return found

    def headers(self, row: int) -> list[tuple[str, bytes | None]]:
        return message_headers(int(self.messages[row]))

    def raw(self, row: int) -> RawRecord:
        """One record, whole and copied."""
        one = np.array([row], np.int64)
        return RawRecord(
            partition=int(self.partitions[row]),
            offset=int(self.offsets[row]),
            key=self.take(one).keys()[0],
            value=self.payloads[row],
            headers=self.headers(row),
            ingest_ms=int(self.ingest_ms(one)[0]),
        )


@dataclass(frozen=True)
class FetchEvent:
    """What Kafka says of a partition in place of a record: its end, or an error."""

    partition: int
    offset: int
    error: KafkaError


class Fetcher:
    """A consumer of its own. `fetch` must be called from one thread; what it gives may be used in any."""

    def __init__(self, config: Mapping[str, Any], topic: str) -> None:
        self._topic = topic.encode()
        self._first: dict[int, int] = {}
        self._client: _Client | None = _Client(config)

    def close(self) -> None:
        """Ends fetching. What was fetched can still be used."""
        if self._client is not None:
            self.assign({})
            self._client.let_go()
            self._client = None

    def __del__(self) -> None:
        if getattr(self, "_client", None) is not None:
            self.close()

    @property
    def _open(self) -> _Client:
        if self._client is None:
            raise ValueError("the fetcher is closed")
        return self._client

    def start_from(self, first_positions: Mapping[int, int]) -> None:
        """To be called while nothing is assigned: from then on all that is given and taken are positions
        (streamgauge.state.topics).
        """
        self._first = dict(first_positions)

    def assign(self, positions: Mapping[int, int]) -> None:
        """Reads these partitions, from these positions on, and no others any more."""
        offsets = {p: position - self._first.get(p, 0) for p, position in positions.items()}
        handle = self._open.handle
        with self._partitions(offsets) as partitions:
            _check(rdkafka.rd_kafka_assign(handle, partitions))
            # librdkafka keeps a partition paused from one assignment to the next
            _check(rdkafka.rd_kafka_resume_partitions(handle, partitions))

    def pause(self, partitions: Iterable[int]) -> None:
        with self._partitions(dict.fromkeys(partitions, 0)) as paused:
            _check(rdkafka.rd_kafka_pause_partitions(self._open.handle, paused))

    def fetch(self, most: int, seconds: float) -> tuple[Fetched, list[FetchEvent]]:
        """As many records as there are, or come in that time."""
        pointers = np.empty(most, np.int64)
        count = rdkafka.rd_kafka_consume_batch_queue(self._open.queue, int(seconds * 1000), pointers.ctypes.data, most)
        # librdkafka says no more than -1: what went wrong comes as a message
        messages = _Messages(self._open, pointers[: max(count, 0)].copy())
        n = len(messages.pointers)
        addresses, sizes, partitions, offsets = (np.empty(n, np.int64) for _ in range(4))
        errors = np.empty(n, np.int32)
        native.streamgauge_messages(
            messages.pointers.ctypes.data,
            n,
            *(column.ctypes.data for column in (addresses, sizes, partitions, offsets, errors)),
        )
        if any(self._first.values()):
            known = np.array([self._first.get(p, 0) for p in range(max(self._first) + 1)], np.int64)
            offsets += known[partitions]
        fetched = Fetched(Payloads(addresses, sizes, messages), partitions, offsets, messages.pointers)
        if not errors.any():
            return fetched, []
        events = [
            FetchEvent(int(partitions[i]), int(offsets[i]), KafkaError(int(errors[i]))) for i in np.flatnonzero(errors)
        ]
        return fetched.take(np.flatnonzero(errors == 0)), events

    def end(self, partition: int) -> int | None:
        """Where the partition's log ends, as the broker last said while records were fetched."""
        ends = np.full(2, -1, np.int64)
        low, high = ends.ctypes.data, ends[1:].ctypes.data
        _check(rdkafka.rd_kafka_get_watermark_offsets(self._open.handle, self._topic, partition, low, high))
        return None if ends[1] < 0 else int(ends[1]) + self._first.get(partition, 0)

    @contextmanager
    def _partitions(self, offsets: Mapping[int, int]) -> Generator[int]:
        built = rdkafka.rd_kafka_topic_partition_list_new(len(offsets))
        try:
            for partition, offset in offsets.items():
                rdkafka.rd_kafka_topic_partition_list_add(built, self._topic, partition).contents.offset = offset
            yield built
        finally:
            rdkafka.rd_kafka_topic_partition_list_destroy(built)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(code: int) -> None:
    if code:
        raise KafkaException(KafkaError(code))
