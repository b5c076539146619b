"""Reads given spans of a topic's log, batch by batch, as columns. Joins no group and commits nothing."""

import gc
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamgauge.contracts import Contract
from streamgauge.errors import UserError
from streamgauge.kafka import consumer_config, kafka_error
from streamgauge.settings import Settings
from streamgauge.types import Int64s

BATCH_RECORDS = 25_000
_ANSWER_SECONDS = 30.0

Span = tuple[int, int]
"""From an offset up to, not including, another."""


@dataclass(frozen=True)
class LogRecords:
    """Consumed records: the value of each, where it stood, and when the broker appended it (epoch ms)."""

    values: list[bytes | None]
    partitions: Int64s
    offsets: Int64s
    ingest_ms: Int64s


class LogSpans:
    """One consumer of a stream's topic, and a context manager that closes it. Raises UserError where Kafka won't."""

    def __init__(self, settings: Settings, contract: Contract) -> None:
        self._topic = contract.topic
        self._partitions = range(contract.topic_spec.partitions)
        config = {**consumer_config(settings, contract.group), "enable.partition.eof": True}
        self._consumer = Consumer(config)

    def __enter__(self) -> "LogSpans":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def ends(self) -> dict[int, Span]:
        """Each partition's first offset, and the one its next record will get."""
        with _explained():
            return {p: self._ends(p) for p in self._partitions}

    def _ends(self, partition: int) -> Span:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), _ANSWER_SECONDS)
        return low, high

    def offsets_at(self, moment: datetime) -> dict[int, int]:
        """Each partition's first offset that was appended at `moment` or later; its end where there is none."""
        at = int(moment.timestamp() * 1000)
        with _explained():
            ends = self.ends()
            wanted = [TopicPartition(self._topic, p, at) for p in self._partitions]
            found = self._consumer.offsets_for_times(wanted, _ANSWER_SECONDS)
            for p in found:
                # no offset then means that none is known, not that no record is later
                if p.error is not None:
                    raise KafkaException(p.error)
        return {p.partition: ends[p.partition][1] if p.offset < 0 else p.offset for p in found}

    def read(self, spans: Mapping[int, Span]) -> Generator[LogRecords]:
        """All records of the spans; an offset without a record is a transaction's marker, or was compacted away."""
        left = {p: span for p, span in spans.items() if span[0] < span[1]}
        heard = time.monotonic()
        with _explained(), _rare_collections():
            self._consumer.assign([TopicPartition(self._topic, p, first) for p, (first, _) in left.items()])
            ends = {p: end for p, (_, end) in left.items()}
            missing = sum(end - first for first, end in left.values())
            try:
                while ends:
                    # no more than there can be, or it would wait for more
                    messages = self._consumer.consume(min(BATCH_RECORDS, max(missing, 1)), 0.2)
                    records = self._taken(messages, ends)
                    if messages:
                        heard = time.monotonic()
                    if records is not None:
                        missing -= len(records.values)
                        yield records
                    if time.monotonic() - heard > _ANSWER_SECONDS:
                        raise UserError(
                            f"Kafka gives no records of {self._topic}, partitions {sorted(ends)}",
                            "see streamgauge stack status",
                        )
            finally:
                self._consumer.unassign()

    def _taken(self, messages: list[Message], ends: dict[int, int]) -> LogRecords | None:
        """The records before their span's end. Partitions that are through leave `ends`."""
        kept = [m for m in messages if m.error() is None]
        ended = self._ended(messages, ends) if len(kept) < len(messages) else ()
        records = self._inside(kept, ends) if kept else None
        # not before its records, which may have come along with the news of its end
        for partition in ended:
            self._leave(partition, ends)
        return records

    def _ended(self, messages: list[Message], ends: Mapping[int, int]) -> list[int]:
        """Partitions whose log ends where their span does, or behind it: the last offsets may hold no records."""
        found: list[int] = []
        for message in messages:
            error, partition = message.error(), message.partition()
            if error is None or partition is None:
                continue
            if error.code() == KafkaError._PARTITION_EOF:  # pyright: ignore[reportPrivateUsage]
                if (message.offset() or 0) >= ends.get(partition, 0):
                    found.append(partition)
            elif not error.retriable():
                raise KafkaException(error)
        return found

    def _inside(self, kept: list[Message], ends: dict[int, int]) -> LogRecords | None:
        partitions = np.fromiter(map(Message.partition, kept), np.int64, len(kept))
        offsets = np.fromiter(map(Message.offset, kept), np.int64, len(kept))
        inside = np.ones(len(kept), np.bool_)
        for partition in np.unique(partitions).tolist():
            mine = partitions == partition
            end = ends.get(partition)
            inside &= ~mine | (offsets < (-1 if end is None else end))
            if end is not None and offsets[mine][-1] >= end - 1:
                self._leave(partition, ends)
        if not inside.all():
            kept = [kept[i] for i in np.flatnonzero(inside).tolist()]
            partitions, offsets = partitions[inside], offsets[inside]
        if not kept:
            return None
        times = np.fromiter(map(itemgetter(1), map(Message.timestamp, kept)), np.int64, len(kept))
        return LogRecords(list(map(Message.value, kept)), partitions, offsets, times)

    def _leave(self, partition: int | None, ends: dict[int, int]) -> None:
        if partition is not None and ends.pop(partition, None) is not None:
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition)])


@contextmanager
def _rare_collections() -> Generator[None]:
    """A batch of messages is no garbage, and at Python's own thresholds each is walked many times."""
    before: Any = gc.get_threshold()
    gc.set_threshold(200_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def _explained() -> Generator[None]:
    try:
        yield
    except KafkaException as e:
        raise kafka_error(e) from e
