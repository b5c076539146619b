"""Reads a topic for a consumer group, and keeps its place in the group whatever happens behind it."""

import logging
import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.records.fetcher import Fetcher
from streamgauge.records.runs import first_rows
from streamgauge.settings import Settings
from streamgauge.stores.kafka import PASSING, UNREACHED_SECONDS, admin_client, consumer_config, topic_id
from streaming.worker.assignment import Assignment, Takeover
from streaming.worker.records import Records, from_fetched

log = logging.getLogger(__name__)

BATCH_RECORDS = 25_000
"""More would come in larger steps, each of which is held in memory several times on its way."""
LINGER_SECONDS = 0.1
"""How long a batch may wait for more: it bounds the transactions a second, and is part of every event's latency."""
_ANSWER_SECONDS = 2.0
"""How long a broker is waited for: longer, and the group would give the member up that doesn't poll."""
_UNASSIGNED_SECONDS = 2 * UNREACHED_SECONDS
"""How long a member of the group waits for partitions, or for the word that there are none for it. A rebalance waits
for a member that is gone, and a worker that hangs in a server's answer, no longer than that.
"""
_IDLE_SECONDS = 2.0
"""How often the broker is asked for the ends of silent partitions: with each batch would be ten times a second."""
_STALLED_SECONDS = 10.0
"""How long fetching may bring nothing of a log that has more, while the broker answers. A client that has lost a
partition at a rebalance or a restart of the broker doesn't find it again: without this end, the partition would stand
still until somebody restarted the worker.
"""
_STALLED_FETCHES = 50
"""How often it must have been tried in that time: nothing is fetched while the stages behind are waited for."""

TakeOver = Callable[[str, dict[int, tuple[int, int]]], Takeover]
"""Takes partitions over, given the topic's id and the offsets at the ends of their logs."""


class TopicRecreated(Exception):
    """The topic was deleted and created again: what this session knows of its offsets is of the old one."""


class Unassigned(Exception):
    """The group gives this member nothing, not even the word that there is nothing for it."""


class FetchStalled(Exception):
    """Nothing is fetched of a partition that has more, though the broker answers."""


class Reader:
    """Two clients of Kafka: one is the member of the group, the other fetches what the group has given it.

    All methods but `verify_topic` must be called from one thread.
    """

    def __init__(self, settings: Settings, contract: Contract, take_over: TakeOver) -> None:
        self._contract = contract
        self._take_over = take_over
        config = consumer_config(settings, contract.group)
        self._fetcher = Fetcher({**config, "enable.partition.eof": True}, contract.topic)
        self._admin = admin_client(settings)
        self._first: dict[int, int] = {}
        self._member = Consumer(
            {
                **config,
                "partition.assignment.strategy": "roundrobin",
                "session.timeout.ms": 10_000,
                "error_cb": self._note,
            }
        )
        self.assignment: Assignment | None = None
        self._wanted: tuple[int, ...] = ()
        self._unassigned_since: float | None = time.monotonic()
        self._heard: dict[int, float] = {}
        self._position: dict[int, int] = {}
        self._idle_asked = 0.0
        self._fetches = 0
        self._checked: dict[int, int] = {}
        """The positions at the last look for partitions that stand still."""
        self._behind: dict[int, tuple[float, int]] = {}
        """Since when, and since which fetch, partitions stand still before the end of their logs."""
        self._member.subscribe(
            [contract.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    @property
    def settled(self) -> bool:
        """Whether the group gave partitions that are read, or said that there are none for it."""
        return self._unassigned_since is None and (self.assignment is not None or not self._wanted)

    def read(self) -> Records | None:
        """The next batch; None where there is nothing to do. Raises KafkaException for what won't pass by itself."""
        self.poll_group(0 if self.assignment else LINGER_SECONDS)
        if self.assignment is None and self._wanted:
            self._start_assignment()
        if self.assignment is None:
            self._check_unassigned()
            return None
        ended: dict[int, int] = {}
        fetched, events = self._fetcher.fetch(BATCH_RECORDS, LINGER_SECONDS)
        self._fetches += 1
        for event in events:
            _raise_unless_passing(event.error)
            if event.error.code() == KafkaError._PARTITION_EOF:  # pyright: ignore[reportPrivateUsage]
                ended[event.partition] = event.offset
        idle = self._idle()
        now = time.monotonic()
        for partition in first_rows(fetched.partitions):
            self._heard[partition] = now
            self._position[partition] = int(fetched.offsets[fetched.partitions == partition][-1]) + 1
        # the last offsets of a log may hold no records, but a transaction's marker: its end is reported by an event
        for partition, position in ended.items():
            if partition in self._position:
                self._position[partition] = max(self._position[partition], position)
        if not len(fetched) and not idle:
            return None
        return from_fetched(fetched, idle)

    def poll_group(self, seconds: float) -> None:
        """Stays in the group, also while the pipeline is busy: nothing is fetched meanwhile, so memory stays
        bounded.
        """
        message = self._member.poll(seconds)
        error = None if message is None else message.error()
        if error is not None:
            _raise_unless_passing(error)

    def pause(self, partitions: set[int]) -> None:
        self._fetcher.pause(partitions)

    def commit_group_offsets(self, positions: dict[int, int]) -> None:
        """The group's offsets serve tools that show lag, nothing else."""
        offsets = [TopicPartition(self._contract.topic, p, at - self._first.get(p, 0)) for p, at in positions.items()]
        self._member.commit(offsets=offsets, asynchronous=True)

    def verify_topic(self, assignment: Assignment) -> None:
        """Raises TopicRecreated where the topic is not the one that was assigned, KafkaException where the broker
        doesn't answer. May be called from any thread.

        Kafka fetches by name and offset: a topic that is deleted, created again and longer than the old position
        reads on without an error. An id never comes back, so what was read before its topic's id is found is of
        that topic.
        """
        found = topic_id(self._admin, self._contract.topic, _ANSWER_SECONDS)
        if found is not None and found != assignment.topic_id:
            raise TopicRecreated(f"{self._contract.topic} was deleted and created again: its id is {found} now")

    def check_stalled(self, paused: set[int]) -> None:
        """Raises FetchStalled where a partition stands still that should not, KafkaException where the broker doesn't
        answer. To be called every few seconds.
        """
        unmoved = [p for p, at in self._position.items() if at == self._checked.get(p) and p not in paused]
        self._checked, before, self._behind = dict(self._position), self._behind, {}
        now = time.monotonic()
        behind: dict[int, tuple[float, int]] = {}
        for partition in unmoved:
            end = self._first.get(partition, 0) + self._ends(partition)[1]
            if end > self._position[partition]:
                since, fetches = behind[partition] = before.get(partition, (now, self._fetches))
                if now - since >= _STALLED_SECONDS and self._fetches - fetches >= _STALLED_FETCHES:
                    raise FetchStalled(
                        f"nothing is fetched of partition {partition} from {self._position[partition]} on, though its "
                        f"log goes on to {end}"
                    )
        self._behind = behind

    def ends(self) -> dict[int, int]:
        """The position at each log's end, as last heard from the broker."""
        heard = {p: self._fetcher.end(p) for p in self._position}
        return {p: end for p, end in heard.items() if end is not None}

    def close(self) -> None:
        self._revoke()
        self._member.close()
        self._fetcher.close()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.assign([])
        self._wanted = tuple(sorted(p.partition for p in partitions))
        self._unassigned_since = None
        log.info("%s: assigned partitions %s", self._contract.stream, list(self._wanted))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("%s: partitions %s are taken back", self._contract.stream, sorted(p.partition for p in partitions))
        self._revoke()
        consumer.unassign()

    def _revoke(self) -> None:
        if self.assignment is not None:
            self.assignment.revoked.set()
        self.assignment, self._wanted, self._heard = None, (), {}
        self._unassigned_since = time.monotonic()
        self._fetcher.assign({})

    def _check_unassigned(self) -> None:
        since = self._unassigned_since
        if since is not None and time.monotonic() - since > _UNASSIGNED_SECONDS:
            raise Unassigned(f"no partitions of {self._contract.topic} for {_UNASSIGNED_SECONDS:.0f} s")

    def _start_assignment(self) -> None:
        found = topic_id(self._admin, self._contract.topic, _ANSWER_SECONDS)
        if found is None:
            raise UserError(f"Kafka has no topic {self._contract.topic}", "run streamgauge apply")
        takeover = self._take_over(found, {p: self._ends(p) for p in self._wanted})
        self._first, self.assignment = takeover.first_positions, takeover.assignment
        self._position = dict(takeover.read_from)
        self._checked, self._behind = {}, {}
        self._heard = dict.fromkeys(takeover.read_from, time.monotonic())
        self._fetcher.start_from(takeover.first_positions)
        self._fetcher.assign(takeover.read_from)

    def _ends(self, partition: int) -> tuple[int, int]:
        """Offsets, of the topic as it is now."""
        position = TopicPartition(self._contract.topic, partition)
        return self._member.get_watermark_offsets(position, timeout=_ANSWER_SECONDS)

    def _idle(self) -> dict[int, int]:
        """Partitions read to their end and silent for the contract's time, with the time they are complete to.

        The broker is asked for the end: while it is away, producers hold events back, and silence means nothing.
        """
        now = time.monotonic()
        silence = self._contract.time.idleAfterSeconds
        if now - self._idle_asked < _IDLE_SECONDS:
            return {}
        self._idle_asked = now
        complete_to = int((time.time() - silence) * 1000)
        try:
            return {
                p: complete_to
                for p, heard in self._heard.items()
                if now - heard >= silence and self._position[p] >= self._first.get(p, 0) + self._ends(p)[1]
            }
        except KafkaException:
            return {}

    def _note(self, error: KafkaError) -> None:
        log.warning("%s: Kafka: %s", self._contract.stream, error.str())


def _raise_unless_passing(error: KafkaError) -> None:
    if error.code() not in PASSING:
        raise KafkaException(error)
