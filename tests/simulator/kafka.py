"""Kafka as far as the worker can tell: logs with gaps, a consumer group that rebalances eagerly, a client that has
fetched ahead, producers whose acknowledgements may not come.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from confluent_kafka import KafkaError, KafkaException

from streamgauge.records.fetcher import FetchEvent, RawRecord
from streamgauge.records.payloads import Payloads
from streamgauge.types import Bools, Int64s
from tests.simulator.faults import Steps
from tests.simulator.scheduler import Process, Scheduler, Waiters
from tests.simulator.substitutes import wall

_TRANSPORT = KafkaError._TRANSPORT  # pyright: ignore[reportPrivateUsage]
_EOF = KafkaError._PARTITION_EOF  # pyright: ignore[reportPrivateUsage]
_NO_OFFSET = KafkaError._AUTO_OFFSET_RESET  # pyright: ignore[reportPrivateUsage]


@dataclass(frozen=True)
class Record:
    """`appended` is in seconds of the simulation, `ingest_ms` by the broker's clock, `content` what it stands for."""

    offset: int
    key: bytes | None
    value: bytes | None
    ingest_ms: int
    appended: float
    content: object


@dataclass
class Log:
    """Of one partition. None stands where an offset holds no record."""

    entries: list[Record | None] = field(default_factory=list[Record | None])
    low: int = 0

    @property
    def high(self) -> int:
        return len(self.entries)


@dataclass(eq=False)
class Topic:
    id: str
    logs: list[Log]


@dataclass(frozen=True)
class Sent:
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes | None]


class Cluster:
    """`most` records come at once; `ahead` is by how many seconds the broker's clock is."""

    def __init__(self, scheduler: Scheduler, steps: Steps, name: str, partitions: int, most: int) -> None:
        self.scheduler = scheduler
        self.steps = steps
        self.name = name
        self.most = most
        self.ahead = 0.0
        self.away = False
        self.topics: list[Topic] = []
        """Of that name, one after the other."""
        self.topic: Topic | None = None
        self.sent: dict[str, list[Sent]] = {}
        self.group = Group(self, partitions)
        self.stalled: set[tuple[Process, int]] = set()
        self.reading: Callable[[Process, Mapping[int, int]], None] = lambda process, positions: None
        """Told from which positions a process begins to read."""
        self.create(partitions)

    def create(self, partitions: int) -> None:
        self.topic = Topic(f"topic{len(self.topics)}", [Log() for _ in range(partitions)])
        self.topics.append(self.topic)

    def append(self, partition: int, key: bytes | None, value: bytes | None, content: object) -> None:
        if self.topic is not None:
            log = self.topic.logs[partition]
            at = int(wall(self.ahead) * 1000)
            log.entries.append(Record(log.high, key, value, at, self.scheduler.now, content))

    def append_marker(self, partition: int) -> None:
        if self.topic is not None:
            self.topic.logs[partition].entries.append(None)

    def reach(self) -> None:
        if self.away:
            raise KafkaException(KafkaError(_TRANSPORT))


class Admin:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def describe_topics(self, topics: Any, request_timeout: float) -> dict[str, Any]:
        del topics
        cluster = self._cluster
        fault = cluster.steps.take("topic")
        if cluster.away or fault is not None:
            cluster.scheduler.sleep(request_timeout)

        def result() -> Any:
            cluster.reach()
            if fault is not None:
                raise KafkaException(KafkaError(_TRANSPORT))
            if cluster.topic is None:
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            return SimpleNamespace(topic_id=cluster.topic.id)

        return {cluster.name: SimpleNamespace(result=result)}


# --- the group


class Group:
    """Rebalances whenever a member comes or goes: all give everything back, and join anew."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self._cluster = cluster
        self._partitions = partitions
        self._members: list[Member] = []

    def join(self, member: "Member") -> None:
        self._members.append(member)
        self._rebalance()

    def leave(self, member: "Member") -> None:
        if member in self._members:
            self._members.remove(member)
            self._rebalance()

    def joined(self) -> None:
        """A member has given everything back."""
        if not all(m.joined for m in self._members):
            return
        for i, member in enumerate(self._members):
            member.given = [p for p in range(self._partitions) if p % len(self._members) == i]
            member.wake()

    def look_after(self, process: Process) -> None:
        """Gives members up that have not been heard of for as long as their session lasts."""
        for member in [m for m in self._members if m.process is process]:
            self._cluster.scheduler.at(
                self._cluster.scheduler.now + member.session_seconds, lambda member=member: self._expire(member)
            )

    def _expire(self, member: "Member") -> None:
        gone = member.process.dead or member.process.frozen_until > self._cluster.scheduler.now
        if gone and member in self._members:
            member.lost = True
            self.leave(member)

    def _rebalance(self) -> None:
        for member in self._members:
            member.joined, member.given = False, None
            member.wake()


class Member:
    def __init__(self, cluster: Cluster, config: Mapping[str, Any]) -> None:
        self._cluster = cluster
        self.process = cluster.scheduler.alive().process
        self.session_seconds = config["session.timeout.ms"] / 1000
        self.joined = self.lost = False
        self.given: list[int] | None = None
        self._has: list[int] | None = None
        self._waiters: Waiters = []
        self._assigned: Any = None
        self._revoked: Any = None
        self._forgotten: Any = None

    def subscribe(self, topics: Sequence[str], on_assign: Any, on_revoke: Any, on_lost: Any) -> None:
        assert topics == [self._cluster.name]
        self._assigned, self._revoked, self._forgotten = on_assign, on_revoke, on_lost
        self._cluster.group.join(self)

    def wake(self) -> None:
        self._cluster.scheduler.wake(self._waiters)

    def poll(self, seconds: float) -> None:
        self._cluster.scheduler.alive()
        if not self._serve() and seconds > 0:
            self._cluster.scheduler.wait(self._waiters, seconds)
            self._serve()

    def _serve(self) -> bool:
        """Whether there was something to do: taking away, and giving."""
        if self._cluster.away:
            return False
        if self.lost:
            self._take(self._forgotten)
            self.lost = False
            self._cluster.group.join(self)
        if not self.joined:
            self._cluster.steps.take("group")
            self._take(self._revoked)
            if not self.lost:
                self.joined = True
                self._cluster.group.joined()
        if self.given is None:
            return False
        self._has, self.given = self.given, None
        self._assigned(self, self._places(self._has))
        return True

    def _take(self, callback: Any) -> None:
        if self._has is not None:
            had, self._has = self._has, None
            callback(self, self._places(had))

    def _places(self, partitions: Iterable[int]) -> list[Any]:
        return [SimpleNamespace(partition=p) for p in partitions]

    def assign(self, partitions: Sequence[Any]) -> None:
        assert not partitions

    def unassign(self) -> None:
        pass

    def commit(self, offsets: Sequence[Any], asynchronous: bool) -> None:
        pass

    def get_watermark_offsets(self, position: Any, timeout: float) -> tuple[int, int]:
        cluster = self._cluster
        fault = cluster.steps.take("ends")
        if cluster.away or fault is not None:
            cluster.scheduler.sleep(timeout)
            raise KafkaException(KafkaError(_TRANSPORT))
        if cluster.topic is None:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        partition: int = position.partition
        log = cluster.topic.logs[partition]
        return log.low, log.high

    def close(self) -> None:
        self._cluster.scheduler.alive()
        self._take(self._revoked)
        self._cluster.group.leave(self)


# --- fetching


@dataclass(frozen=True)
class Fetched:
    """As streamgauge.records.fetcher has it, of records that lie in Python's memory."""

    records: list[Record]
    partitions: Int64s
    offsets: Int64s
    payloads: Payloads

    def __len__(self) -> int:
        return len(self.records)

    def take(self, rows: Int64s) -> "Fetched":
        chosen: list[int] = rows.tolist()
        records = [self.records[i] for i in chosen]
        return Fetched(records, self.partitions[rows], self.offsets[rows], self.payloads.take(rows))

    def ingest_ms(self, rows: Int64s) -> Int64s:
        chosen: list[int] = rows.tolist()
        return np.array([self.records[i].ingest_ms for i in chosen], np.int64)

    def keys(self) -> Payloads:
        return Payloads.of([r.key for r in self.records])

    def sampled(self, rows: Int64s) -> Bools:
        return np.zeros(len(rows), np.bool_)

    def headers(self, row: int) -> list[tuple[str, bytes | None]]:
        return [("producer", b"simulated")]

    def raw(self, row: int) -> RawRecord:
        r = self.records[row]
        return RawRecord(
            int(self.partitions[row]), int(self.offsets[row]), r.key, r.value, self.headers(row), r.ingest_ms
        )


_NOTHING = Fetched([], np.array([], np.int64), np.array([], np.int64), Payloads.of([]))


class Fetcher:
    """Has fetched ahead what the log held at that moment, whatever became of the log since."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._process = cluster.scheduler.alive().process
        # a client that has lost a partition is replaced by one that has not
        cluster.stalled = {(process, p) for process, p in cluster.stalled if process is not self._process}
        self._first: dict[int, int] = {}
        self._next: dict[int, int] = {}
        """The offset that is fetched next."""
        self._ahead: dict[int, deque[Record]] = {}
        self._end: dict[int, int] = {}
        self._told: dict[int, int] = {}
        """Of which end of its log a partition's reader was told."""
        self._paused: set[int] = set()

    def close(self) -> None:
        self.assign({})

    def start_from(self, first_positions: Mapping[int, int]) -> None:
        self._first = dict(first_positions)

    def assign(self, positions: Mapping[int, int]) -> None:
        self._cluster.scheduler.alive()
        self._next = {p: at - self._first.get(p, 0) for p, at in positions.items()}
        self._ahead = {p: deque() for p in positions}
        self._told, self._paused = {}, set()
        if positions:
            self._cluster.reading(self._process, positions)

    def pause(self, partitions: Iterable[int]) -> None:
        self._paused |= set(partitions)

    def end(self, partition: int) -> int | None:
        end = self._end.get(partition)
        return None if end is None else end + self._first.get(partition, 0)

    def fetch(self, most: int, seconds: float) -> tuple[Fetched, list[FetchEvent]]:
        cluster = self._cluster
        fault = cluster.steps.take("fetch", 0.0)
        chance = cluster.scheduler.random
        cluster.scheduler.sleep(seconds * (chance.random() if any(self._ahead.values()) else 1.0))
        events: list[FetchEvent] = []
        if not cluster.away and fault is None:
            events = self._fetch_ahead()
        if not any(self._ahead.values()):
            return _NOTHING, [*events, *self._tell_ends(self._ahead)]
        most = min(most, cluster.most)
        room = most if chance.random() < 0.5 else chance.randint(1, most)
        waiting = [p for p in self._ahead if p not in self._paused]
        chance.shuffle(waiting)
        records: list[Record] = []
        partitions: list[int] = []
        for partition in waiting:
            queue = self._ahead[partition]
            count = min(len(queue), chance.randint(0, room) if len(waiting) > 1 else room)
            room -= count
            records += [queue.popleft() for _ in range(count)]
            partitions += [partition] * count
        events += self._tell_ends(waiting)
        offsets = [r.offset + self._first.get(p, 0) for r, p in zip(records, partitions, strict=True)]
        payloads = Payloads.of([r.value for r in records])
        columns = np.array(partitions, np.int64), np.array(offsets, np.int64)
        return Fetched(records, *columns, payloads), events

    def _fetch_ahead(self) -> list[FetchEvent]:
        topic, events = self._cluster.topic, list[FetchEvent]()
        if topic is None:
            return events
        for partition, at in self._next.items():
            log = topic.logs[partition]
            if (self._process, partition) in self._cluster.stalled:
                continue
            if not log.low <= at <= log.high:
                events.append(FetchEvent(partition, at + self._first.get(partition, 0), KafkaError(_NO_OFFSET)))
                continue
            self._end[partition] = log.high
            self._ahead[partition] += [r for r in log.entries[at:] if r is not None]
            self._next[partition] = log.high
        return events

    def _tell_ends(self, partitions: Iterable[int]) -> list[FetchEvent]:
        told = (self._tell_end(p) for p in partitions if p not in self._paused)
        return [event for event in told if event is not None]

    def _tell_end(self, partition: int) -> FetchEvent | None:
        end = self._next[partition]
        if self._ahead[partition] or end != self._end.get(partition) or self._told.get(partition) == end:
            return None
        self._told[partition] = end
        return FetchEvent(partition, end + self._first.get(partition, 0), KafkaError(_EOF))


# --- producing


class Producer:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._queue: list[tuple[str, Sent, Any]] = []

    def produce(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Sequence[Any], on_delivery: Any
    ) -> None:
        self._queue.append((topic, Sent(key, value, dict(headers)), on_delivery))

    def poll(self, seconds: float) -> None:
        self._cluster.scheduler.sleep(seconds)

    def flush(self, seconds: float) -> int:
        cluster = self._cluster
        fault = cluster.steps.take("flush")
        if cluster.away or (fault is not None and fault.mishap != "unanswered"):
            cluster.scheduler.sleep(seconds)
            return len(self._queue)
        queue, self._queue = self._queue, []
        for topic, sent, delivered in queue:
            cluster.sent.setdefault(topic, []).append(sent)
            if fault is None:
                delivered(None, None)
        if fault is not None:
            self._queue = queue
            cluster.scheduler.sleep(seconds)
        return len(self._queue)
