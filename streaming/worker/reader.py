"""Reads a topic for a consumer group, and keeps its place in the group whatever happens behind it."""

import logging
import time
from collections.abc import Callable

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streamgauge.contracts import Contract
from streamgauge.kafka import consumer_config
from streamgauge.settings import Settings
from streaming.worker.assignment import Assignment
from streaming.worker.records import Records, from_messages

log = logging.getLogger(__name__)

BATCH_RECORDS = 25_000
_PIECE_RECORDS = 2_000
LINGER_SECONDS = 0.1
"""How long a batch may wait for more: it bounds the transactions a second, and is part of every event's latency."""
_ANSWER_SECONDS = 2.0
_SOON_SECONDS = 2.0

Claim = Callable[[dict[int, tuple[int, int]]], tuple[Assignment, dict[int, int]]]
"""Takes partitions over, given the ends of their logs. Returns the assignment and the offset to read each from."""

_PASSING = (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._PARTITION_EOF)  # pyright: ignore[reportPrivateUsage]


class Reader:
    """One consumer. All methods must be called from one thread."""

    def __init__(self, settings: Settings, contract: Contract, claim: Claim) -> None:
        self._contract = contract
        self._claim = claim
        self._consumer = Consumer(
            {
                **consumer_config(settings, contract.group),
                "partition.assignment.strategy": "roundrobin",
                "session.timeout.ms": 10_000,
                "error_cb": self._note,
            }
        )
        self.assignment: Assignment | None = None
        self._wanted: tuple[int, ...] = ()
        self._heard: dict[int, float] = {}
        self._position: dict[int, int] = {}
        self._idle_told = 0.0
        self._held: list[Message] = []
        self._consumer.subscribe(
            [contract.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def read(self) -> Records | None:
        """The next batch; None where there is nothing to do. Raises KafkaException for what won't pass by itself."""
        if self.assignment is None and self._wanted:
            self._take_over()
        messages = self._gather()
        if self.assignment is None:
            return None
        idle = self._idle()
        if not messages and not idle:
            return None
        records = from_messages(messages, idle)
        now = time.monotonic()
        for partition in np.unique(records.partitions).tolist():
            self._heard[partition] = now
            self._position[partition] = int(records.offsets[records.partitions == partition][-1]) + 1
        return records

    def _gather(self) -> list[Message]:
        """Up to a batch, or what comes while it may linger.

        In small pieces: consume() makes its list without letting another thread of the process run.
        """
        until = time.monotonic() + LINGER_SECONDS
        messages, self._held = self._held, []
        while len(messages) < BATCH_RECORDS and (left := until - time.monotonic()) > 0:
            messages += self._consume(_PIECE_RECORDS, left)
        return messages

    def wait(self, seconds: float) -> None:
        """Stays in the group while the pipeline is busy: nothing is fetched meanwhile, so memory stays bounded."""
        assignment = self.assignment
        self._consumer.pause(self._consumer.assignment())
        messages = self._consume(BATCH_RECORDS, seconds)
        if assignment is not None and assignment is self.assignment:
            # what was already on its way belongs to the next batch
            self._held += messages
            self._consumer.resume(self._consumer.assignment())

    def pause(self, partitions: set[int]) -> None:
        self._consumer.pause([TopicPartition(self._contract.topic, p) for p in partitions])

    def tell_group(self, offsets: dict[int, int]) -> None:
        """The group's offsets serve tools that show lag, nothing else."""
        positions = [TopicPartition(self._contract.topic, p, o) for p, o in offsets.items()]
        self._consumer.commit(offsets=positions, asynchronous=True)

    def ends(self) -> dict[int, int]:
        """The end of each log, as last heard from the broker."""
        positions = {p: TopicPartition(self._contract.topic, p) for p in self._position}
        heard = {p: self._consumer.get_watermark_offsets(position, cached=True) for p, position in positions.items()}
        return {p: ends[1] for p, ends in heard.items() if ends[1] >= 0}

    def close(self) -> None:
        self._revoke()
        self._consumer.close()

    def _consume(self, count: int, seconds: float) -> list[Message]:
        messages = self._consumer.consume(count, seconds)
        errors = list(map(Message.error, messages))
        if errors.count(None) == len(messages):
            return messages
        for error in errors:
            if error is not None and error.code() not in _PASSING:
                raise KafkaException(error)
        return [m for m, error in zip(messages, errors, strict=True) if error is None]

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.assign([])
        self._wanted = tuple(sorted(p.partition for p in partitions))
        log.info("%s: assigned partitions %s", self._contract.stream, list(self._wanted))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        del partitions
        self._revoke()
        consumer.unassign()

    def _revoke(self) -> None:
        if self.assignment is not None:
            self.assignment.revoked.set()
        self.assignment, self._wanted, self._held, self._heard = None, (), [], {}

    def _take_over(self) -> None:
        ends = {p: self._ends(p) for p in self._wanted}
        self.assignment, offsets = self._claim(ends)
        self._position = dict(offsets)
        self._heard = dict.fromkeys(offsets, time.monotonic())
        positions = [TopicPartition(self._contract.topic, p, o) for p, o in offsets.items()]
        self._consumer.assign(positions)
        # librdkafka keeps a partition paused from one assignment to the next
        self._consumer.resume(positions)

    def _ends(self, partition: int) -> tuple[int, int]:
        position = TopicPartition(self._contract.topic, partition)
        return self._consumer.get_watermark_offsets(position, timeout=_ANSWER_SECONDS)

    def _idle(self) -> dict[int, int]:
        """Partitions read to their end and silent for the contract's time, with the time they are complete to.

        The broker is asked for the end: while it is away, producers hold events back, and silence means nothing.
        """
        now = time.monotonic()
        silence = self._contract.time.idleAfterSeconds
        if now - self._idle_told < _SOON_SECONDS:
            return {}
        self._idle_told = now
        complete_to = int((time.time() - silence) * 1000)
        try:
            return {
                p: complete_to
                for p, heard in self._heard.items()
                if now - heard >= silence and self._position[p] >= self._ends(p)[1]
            }
        except KafkaException:
            return {}

    def _note(self, error: KafkaError) -> None:
        log.warning("%s: Kafka: %s", self._contract.stream, error.str())
