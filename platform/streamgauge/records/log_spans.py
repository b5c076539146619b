"""Reads given spans of a topic's log, batch by batch, as columns. Joins no group and commits nothing."""

import time
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # pyright: ignore[reportPrivateImportUsage]

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.records.fetcher import Fetched, Fetcher, FetchEvent
from streamgauge.records.payloads import Payloads
from streamgauge.records.runs import first_rows
from streamgauge.settings import Settings
from streamgauge.stores.kafka import PASSING, admin_client, consumer_config, kafka_error, topic_partitions
from streamgauge.types import Int64s

BATCH_RECORDS = 25_000
_ANSWER_SECONDS = 30.0

Span = tuple[int, int]
"""From a position up to, not including, another."""


@dataclass(frozen=True)
class LogRecords:
    """Records of the log: the value of each, where it stood, and when the broker appended it (epoch ms)."""

    payloads: Payloads
    partitions: Int64s
    offsets: Int64s
    ingest_ms: Int64s


class LogSpans:
    """Of a stream's topic, by positions (streamgauge.state.topics), and a context manager that closes it. Raises
    UserError where Kafka won't.
    """

    def __init__(self, settings: Settings, contract: Contract, first_positions: Mapping[int, int]) -> None:
        self._first = first_positions
        self._topic = contract.topic
        self._partitions = topic_partitions(contract, lambda: admin_client(settings))
        config = consumer_config(settings, contract.group)
        self._consumer = Consumer(config)
        self._fetcher = Fetcher({**config, "enable.partition.eof": True}, contract.topic)
        self._fetcher.start_from(first_positions)

    def __enter__(self) -> "LogSpans":
        return self

    def __exit__(self, *_: object) -> None:
        self._fetcher.close()
        self._consumer.close()

    def ends(self) -> dict[int, Span]:
        """Each partition's first position, and the one its next record will get."""
        with _explained():
            return {p: self._ends(p) for p in self._partitions}

    def _ends(self, partition: int) -> Span:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), _ANSWER_SECONDS)
        first = self._first.get(partition, 0)
        return first + low, first + high

    def offsets_at(self, moment: datetime) -> dict[int, int]:
        """Each partition's first position that was appended at `moment` or later; its end where there is none."""
        at = int(moment.timestamp() * 1000)
        with _explained():
            ends = self.ends()
            wanted = [TopicPartition(self._topic, p, at) for p in self._partitions]
            found = self._consumer.offsets_for_times(wanted, _ANSWER_SECONDS)
            for p in found:
                # no offset then means that none is known, not that no record is later
                if p.error is not None:
                    raise KafkaException(p.error)
        return {
            p.partition: ends[p.partition][1] if p.offset < 0 else self._first.get(p.partition, 0) + p.offset
            for p in found
        }

    def reached(self, admin: AdminClient, moment: datetime, latest: datetime) -> dict[int, int]:
        """Each partition's first position of a record whose own time is `moment` or later, where there is one.

        A record that says to be of `latest` or later is of a wrong clock, and stands for nothing. Kafka finds no other
        behind it: from there on the records themselves are looked through.
        """
        untyped: Any = admin
        spec = OffsetSpec.for_timestamp(int(moment.timestamp() * 1000))
        wanted = {TopicPartition(self._topic, p): spec for p in self._partitions}
        with _explained():
            asked = untyped.list_offsets(wanted, request_timeout=_ANSWER_SECONDS)
            found = {at.partition: future.result() for at, future in asked.items()}
            ends = self.ends()
        reached: dict[int, int] = {}
        for partition, one in found.items():
            first = self._first.get(partition, 0) + one.offset
            if one.offset >= 0 and one.timestamp < latest.timestamp() * 1000:
                reached[partition] = first
            elif one.offset >= 0:
                right = self._first_between(partition, (first + 1, ends[partition][1]), moment, latest)
                if right is not None:
                    reached[partition] = right
        return reached

    def _first_between(self, partition: int, span: Span, moment: datetime, latest: datetime) -> int | None:
        with closing(self.read({partition: span})) as parts:
            for part in parts:
                right = (part.ingest_ms >= moment.timestamp() * 1000) & (part.ingest_ms < latest.timestamp() * 1000)
                if right.any():
                    return int(part.offsets[int(np.argmax(right))])
        return None

    def read(self, spans: Mapping[int, Span]) -> Generator[LogRecords]:
        """All records of the spans; an offset without a record is a transaction's marker, or was compacted away."""
        left = {p: span for p, span in spans.items() if span[0] < span[1]}
        heard = time.monotonic()
        with _explained():
            self._fetcher.assign({p: first for p, (first, _) in left.items()})
            ends = {p: end for p, (_, end) in left.items()}
            missing = sum(end - first for first, end in left.values())
            try:
                while ends:
                    # no more than there can be, or it would wait for more
                    fetched, events = self._fetcher.fetch(min(BATCH_RECORDS, max(missing, 1)), 0.2)
                    records = self._inside(fetched, ends) if len(fetched) else None
                    # not before its records, which may have come along with the news of its end
                    for partition in self._ended(events, ends):
                        self._leave(partition, ends)
                    if len(fetched) or events:
                        heard = time.monotonic()
                    if records is not None:
                        missing -= len(records.payloads)
                        yield records
                    if time.monotonic() - heard > _ANSWER_SECONDS:
                        raise UserError(
                            f"Kafka gives no records of {self._topic}, partitions {sorted(ends)}",
                            "see streamgauge stack status",
                        )
            finally:
                self._fetcher.assign({})

    def _ended(self, events: list[FetchEvent], ends: Mapping[int, int]) -> list[int]:
        """Partitions whose log ends where their span does, or behind it: the last offsets may hold no records."""
        found: list[int] = []
        for one in events:
            if one.error.code() == KafkaError._PARTITION_EOF:  # pyright: ignore[reportPrivateUsage]
                if one.offset >= ends.get(one.partition, 0):
                    found.append(one.partition)
            elif one.error.code() not in PASSING:
                raise KafkaException(one.error)
        return found

    def _inside(self, fetched: Fetched, ends: dict[int, int]) -> LogRecords | None:
        """The records before their span's end. Partitions that are through leave `ends`."""
        inside = np.ones(len(fetched), np.bool_)
        for partition in first_rows(fetched.partitions):
            mine = fetched.partitions == partition
            end = ends.get(partition)
            inside &= ~mine | (fetched.offsets < (-1 if end is None else end))
            if end is not None and fetched.offsets[mine][-1] >= end - 1:
                self._leave(partition, ends)
        if not inside.any():
            return None
        rows = np.flatnonzero(inside)
        kept = fetched if len(rows) == len(fetched) else fetched.take(rows)
        return LogRecords(kept.payloads, kept.partitions, kept.offsets, kept.ingest_ms(np.arange(len(kept))))

    def _leave(self, partition: int, ends: dict[int, int]) -> None:
        if ends.pop(partition, None) is not None:
            self._fetcher.pause([partition])


@contextmanager
def _explained() -> Generator[None]:
    try:
        yield
    except KafkaException as e:
        raise kafka_error(e) from e
