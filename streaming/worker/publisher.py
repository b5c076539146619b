"""What the speed layer publishes after its commits: top-N and latest minutes to Redis, minute counts and dead
letters to Kafka.

All of it is read from Postgres over all partitions and written as absolute values: a tick that fails or is
repeated does no harm, and Redis can be lost at any time. One worker publishes for a stream at a time; an
advisory lock says which.
"""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
from confluent_kafka import KafkaException, Producer
from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Link, NonRecordingSpan, SpanContext, SpanKind
from redis.exceptions import RedisError

from streamgauge.contract.model import Contract
from streamgauge.records.registry import Registry, RegistryError
from streamgauge.rollup import sketches
from streamgauge.rollup.plan import MINUTE_MS
from streamgauge.settings import Settings
from streamgauge.stores.kafka import DEAD_LETTER_MAX_BYTES, UNREACHED_SECONDS, producer_config
from streamgauge.stores.postgres import Connection
from streamgauge.stores.redis import redis_client, replace_unless_newer
from streamgauge.telemetry import metrics
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.logs import bound_to
from streamgauge.telemetry.tracing import fail, span
from streaming.worker.connection import connect_publisher
from streaming.worker.heartbeats import Heartbeats
from streaming.worker.outbox import Outbox
from streaming.worker.recent import Recent, Snapshot
from streaming.worker.topics import NotAcknowledged, Topics

log = logging.getLogger(__name__)

WINDOWS = {"1m": (1, 0.0), "5m": (5, 0.0), "1h": (60, 5.0)}
"""Windows of the published top-N: length in minutes, each ending with the newest minute that has events; and seconds
between two publications, because merging an hour costs more than it changes in a snapshot.
"""
TOP_ITEMS = 100
"""Of each top-N: Redis holds them as one text, which readers fetch whole."""
_TICK_SECONDS = 0.5
"""Between two ticks: shorter, and the publisher would read Postgres more than the worker writes it."""
_SHARE = 0.05
_LONGEST_REST = 5.0
"""While a worker catches up, each tick has many minutes: ticks may take this share of the time, but come this often."""
_REPEAT_SECONDS = 10.0
"""How often everything is published although nothing was committed, for a Redis that lost it."""
_TTL_SECONDS = 7 * 24 * 3600
"""What a stream that is gone left in Redis would otherwise stay for ever."""
_LINKED = 32
"""Commits that a tick is linked to at most: a worker that catches up makes many between two ticks."""
_LETTERS = 500
"""Dead letters read at once: they are kept whole, so all of a flood would not fit into memory."""


class Publisher:
    """Runs in a thread of its own; nothing it waits for holds a commit up."""

    def __init__(
        self,
        settings: Settings,
        contract: Contract,
        registry: Registry,
        stop: threading.Event,
        heartbeats: Heartbeats,
    ) -> None:
        self._settings = settings
        self._contract = contract
        self._stop = stop
        self._heartbeats = heartbeats
        self._dirty = threading.Event()
        self._commits: deque[SpanContext] = deque(maxlen=_LINKED)
        self._outbox = Outbox(contract)
        self._redis = redis_client(settings)
        self._replace = replace_unless_newer(self._redis)
        self._registry = registry
        self._topics = self._new_topics()
        self._failing: dict[str, float] = {}
        self._published: dict[str, float] = {}
        self._unmarked: dict[int, int] | None = None
        """How far the counts topic was, by partition, before counts were sent that are not marked as published."""

    def _new_topics(self) -> Topics:
        # a dead letter is longer than its record by the headers that say where it came from
        config = {**producer_config(self._settings), "message.max.bytes": DEAD_LETTER_MAX_BYTES}
        return Topics(self._contract, Producer(config), self._registry)

    def committed(self) -> None:
        """To be called within the span of the commit."""
        self._commits.append(trace.get_current_span().get_span_context())
        self._dirty.set()

    def run(self) -> None:
        stream = self._contract.stream
        with bound_to(stream=stream), self._heartbeats.of_thread(f"{stream}-publish"):
            self._run()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._heartbeats.beat()
            try:
                with connect_publisher(self._settings) as connection:
                    self._give_back(connection)
                    self._publish_while_leading(connection)
            except psycopg.Error as e:
                self._note("Postgres", e)
                self._stop.wait(1.0)

    def _give_back(self, connection: Connection) -> None:
        """Counts that were sent in an earlier session and not marked may have come after those of a successor, which
        are newer: whoever leads publishes them again. What the old producer still holds is not sent any more.
        """
        if self._unmarked is not None:
            self._topics = self._new_topics()
            self._outbox.publish_again(connection, self._unmarked)
            self._unmarked = None

    def _publish_while_leading(self, connection: Connection) -> None:
        recent, last = Recent(self._contract), 0.0
        leading = False
        while not self._stop.is_set():
            self._heartbeats.beat()
            self._dirty.wait(_TICK_SECONDS)
            rest = _TICK_SECONDS
            leading = leading or self._lead(connection)
            if leading and (self._dirty.is_set() or time.monotonic() - last > _REPEAT_SECONDS):
                self._dirty.clear()
                last = time.monotonic()
                self._tick(connection, recent)
                rest = min(max(rest, (time.monotonic() - last) / _SHARE), _LONGEST_REST)
            # at most two ticks a second, however fast the commits are
            self._stop.wait(rest)

    def _lead(self, connection: Connection) -> bool:
        row = connection.execute(
            "select pg_try_advisory_lock(hashtext('streamgauge.publisher'), hashtext(%s))",
            (self._contract.stream,),
        ).fetchone()
        return bool(row and row[0])

    def _tick(self, connection: Connection, recent: Recent) -> None:
        """Part of the trace of the commit that asked for it first, and linked to those that came meanwhile."""
        commits = [self._commits.popleft() for _ in range(len(self._commits))]
        with (
            trace.use_span(NonRecordingSpan(commits[0]) if commits else INVALID_SPAN),
            span("publish", links=[Link(c) for c in commits[1:]]),
        ):
            self._publish(connection, recent)
            self._attempt("dead letters", (NotAcknowledged, KafkaException), lambda: self._dead_letters(connection))

    def _publish(self, connection: Connection, recent: Recent) -> None:
        with connection.transaction():
            connection.execute("set transaction isolation level repeatable read, read only")
            snapshot = recent.snapshot(connection)
            if snapshot is None:
                return
            recent.refresh(connection, snapshot)
            totals = recent.totals(connection, snapshot)
            changed = recent.changed(connection, snapshot) if self._contract.counts_topic else []
        self._attempt("Redis", RedisError, lambda: self._to_redis(recent, snapshot, totals))
        if changed:
            self._attempt(
                "counts",
                (NotAcknowledged, KafkaException, RegistryError),
                lambda: self._counts(connection, snapshot, changed),
            )

    def _to_redis(self, recent: Recent, snapshot: Snapshot, totals: list[tuple[int, int, int, int]]) -> None:
        now = time.monotonic()
        windows = [w for w, (_, seconds) in WINDOWS.items() if now - self._published.get(w, -seconds) >= seconds]
        keys = 1 + len(windows) * len(self._contract.rollup.top)
        writing = {a.DB_SYSTEM.name: "redis", a.DB_OPERATION.name: "EVALSHA", a.DB_BATCH.name: keys}
        with span("EVALSHA", writing, kind=SpanKind.CLIENT):
            self._write_redis(recent, snapshot, totals, windows)
        self._published |= dict.fromkeys(windows, now)

    def _write_redis(
        self, recent: Recent, snapshot: Snapshot, totals: list[tuple[int, int, int, int]], windows: list[str]
    ) -> None:
        stamp: dict[str, Any] = {
            "version": snapshot.version,
            "as_of": _iso(int(time.time() * 1000)),
            "watermark": None if snapshot.watermark is None else _iso(snapshot.watermark),
            "status": "provisional",
        }
        minutes = [{"minute": _iso(m), "count": c, "late": late, "duplicates": d} for m, c, late, d in totals]
        self._put(self._contract.redis_minutes_key, {**stamp, "minutes": minutes})
        for top in self._contract.rollup.top:
            for window in windows:
                length, _ = WINDOWS[window]
                first = snapshot.newest - (length - 1) * MINUTE_MS
                sketch = recent.top(top.name, first, snapshot.newest)
                error = sketches.frequent_error(sketch)
                items = [
                    {"key": r.key, "count": r.count, "lower": r.lower, "upper": r.upper}
                    for r in sketches.ranked(sketch, TOP_ITEMS)
                ]
                answer = {
                    **stamp,
                    "window": window,
                    "from": _iso(first),
                    "to": _iso(snapshot.newest + MINUTE_MS),
                    "items": items,
                    "exact": error == 0,
                    "error": error,
                }
                self._put(self._contract.redis_top_key(top.name, window), answer)

    def _put(self, key: str, answer: Mapping[str, Any]) -> None:
        self._replace(keys=[key], args=[answer["version"], json.dumps(answer), _TTL_SECONDS])

    def _counts(self, connection: Connection, snapshot: Snapshot, changed: list[tuple[Any, ...]]) -> None:
        self._unmarked = snapshot.published
        self._topics.send_counts(changed)
        self._outbox.mark_published(connection, snapshot.published, snapshot.offsets)
        self._unmarked = None

    def _dead_letters(self, connection: Connection) -> None:
        while letters := self._outbox.unforwarded(connection, _LETTERS):
            self._heartbeats.beat()
            self._topics.send_dead_letters(letters)
            self._outbox.mark_forwarded(connection, [(r.partition, r.offset) for r, _ in letters])

    def _attempt(
        self, target: str, passing: type[Exception] | tuple[type[Exception], ...], work: Callable[[], None]
    ) -> None:
        try:
            work()
        except passing as e:
            fail(trace.get_current_span(), e)
            self._note(target, e)
            if isinstance(e, (NotAcknowledged, KafkaException)):
                self._replace_producer(target)
            self._dirty.set()
        else:
            if target in self._failing:
                del self._failing[target]
                log.info("%s: publishing to %s again", self._contract.stream, target)

    def _replace_producer(self, target: str) -> None:
        """What it still holds is published again: all of it is in Postgres."""
        if time.monotonic() - self._failing[target] > UNREACHED_SECONDS:
            self._failing[target] = time.monotonic()
            self._topics = self._new_topics()

    def _note(self, target: str, e: Exception) -> None:
        """Once per outage."""
        metrics.PUBLISH_FAILURES.add(1, {"stream": self._contract.stream, "target": target})
        if target not in self._failing:
            self._failing[target] = time.monotonic()
            log.warning("%s: can't publish, %s: %s", self._contract.stream, target, str(e).strip())


def _iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
