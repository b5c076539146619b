"""The thread that commits, and between commits maintains what Postgres says to and hears from a worker."""

import logging
import queue
import time
from collections.abc import Callable

import psycopg

from streamgauge.contract.model import Contract
from streamgauge.settings import Settings
from streamgauge.state.arrivals import ALL
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry import metrics
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.logs import bound_to
from streamgauge.telemetry.tracing import offset_ranges, span, within
from streaming.worker.assignment import Assignment
from streaming.worker.batch import Write, finish_together
from streaming.worker.claims import Fenced
from streaming.worker.completion import windows_completed
from streaming.worker.connection import connect_worker
from streaming.worker.isolation import Permanent
from streaming.worker.lifetime import Lifetime, Waits
from streaming.worker.pipeline import Delta
from streaming.worker.reference import refresh_reference
from streaming.worker.store import Store

log = logging.getLogger(__name__)

_MAINTENANCE_SECONDS = 5.0
"""How often the reference table, the pauses and the ends of the log are looked at: a change is taken up so late, and
each look costs queries.
"""
_LIMIT_EXCEEDED = "54"
"""The class of SQLSTATE for what is beyond Postgres's limits, such as too long a key of an index: no outage, though
psycopg counts it among them. https://www.postgresql.org/docs/15/errcodes-appendix.html
"""
_AFTER_PAUSE = "see `streamgauge dead-letters list`, then `streamgauge resume STREAM`"


class _Resumed(Exception):
    """Somebody resumed a paused partition."""


class Committer:
    """Commits what comes into its inbox, None after the last, and tells `committed` when events became readable."""

    def __init__(
        self, settings: Settings, contract: Contract, store: Store, lifetime: Lifetime, committed: Callable[[], None]
    ) -> None:
        self._settings = settings
        self._contract = contract
        self._store = store
        self._lifetime = lifetime
        self._committed = committed
        self._maintained = time.monotonic()
        self.inbox: queue.Queue[Write | None] = queue.Queue(maxsize=1)
        self.waits = Waits()
        self.assignment: Assignment | None = None
        """The newest, which is maintained."""

    def run(self) -> None:
        connection = self._lifetime.retry(psycopg.OperationalError, "Postgres", self._connect)

        def maintain() -> None:
            nonlocal connection
            connection = self._maintain(connection)

        while (write := self._lifetime.get(self.inbox, maintain, self.waits)) is not None:
            if not write.assignment.revoked.is_set():
                offsets, rows = _offsets(write.delta), write.delta.minutes.height + len(write.delta.tops)
                with (
                    within(write.tickets[0].span),
                    bound_to(offsets=offsets),
                    span("commit", {a.OFFSETS.name: offsets, a.ROWS.name: rows}),
                ):
                    connection = self._commit(connection, write)
            finish_together(write.tickets)
            maintain()
        connection.close()

    def _commit(self, connection: Connection, write: Write) -> Connection:
        """Repeats the commit until Postgres has it; if an answer was lost, looks whether it was already done."""
        delta, repeated = write.delta, False

        def attempt() -> None:
            nonlocal connection, repeated
            if connection.closed:
                connection = self._connect()
            if repeated and self._store.claims.is_committed(connection, delta):
                return
            repeated = True
            try:
                self._store.commit(connection, delta)
            except psycopg.OperationalError as e:
                connection.close()
                if (e.sqlstate or "").startswith(_LIMIT_EXCEEDED):
                    raise Permanent(type(e).__name__) from e
                raise

        started = time.monotonic()
        try:
            self._lifetime.retry(psycopg.OperationalError, "Postgres", attempt)
        except Fenced:
            if write.assignment.revoked.is_set():
                return connection
            raise
        self._note(write.assignment, delta)
        log.debug("%s: committed in %.0f ms", self._contract.stream, 1000 * (time.monotonic() - started))
        _measure(self._contract.stream, delta, time.monotonic() - started)
        if delta.earliest_ingest_ms is not None:
            self._committed()
        return connection

    def _note(self, assignment: Assignment, delta: Delta) -> None:
        for p in delta.partitions:
            partition = p.after.partition
            assignment.committed[partition] = p.after.next_offset
            if p.pause:
                assignment.paused.add(partition)
                log.error("%s: partition %d is paused: %s; %s", self._contract.stream, partition, p.pause, _AFTER_PAUSE)

    def _maintain(self, connection: Connection) -> Connection:
        """Now and then. Postgres may be away: the next commit waits for it."""
        if time.monotonic() - self._maintained <= _MAINTENANCE_SECONDS:
            return connection
        self._maintained = time.monotonic()
        assignment = self.assignment
        try:
            if connection.closed:
                connection = self._connect()
            if assignment is not None:
                if assignment.paused - self._store.claims.paused(connection):
                    raise _Resumed
                self._store.claims.note_ends(connection, assignment.ends)
                refresh_reference(connection, self._contract, assignment)
            self._lifetime.heartbeats.wait_for(None)
        except psycopg.OperationalError as e:
            self._lifetime.heartbeats.wait_for("Postgres")
            log.warning("%s: can't look after pauses and reference: %s", self._contract.stream, e)
            connection.close()
        return connection

    def _connect(self) -> Connection:
        return connect_worker(self._settings)


def _offsets(delta: Delta) -> str:
    """What the transaction moves on; nothing of partitions whose watermark alone moves."""
    return offset_ranges((p.after.partition, p.before.next_offset, p.after.next_offset) for p in delta.partitions)


def _measure(stream: str, delta: Delta, seconds: float) -> None:
    total = 0
    for verdict in ("counted", "late", "duplicates", "dead_letters"):
        count = sum(getattr(p, verdict) for p in delta.partitions)
        total += count
        if count:
            metrics.EVENTS.add(count, {"stream": stream, "verdict": verdict})
    for arrived in delta.arrivals:
        if arrived.kind != ALL:
            metrics.ARRIVALS.add(arrived.records, {"stream": stream, "kind": arrived.kind})
    metrics.COMMIT_DURATION.record(seconds, {"stream": stream})
    now = time.time()
    if delta.earliest_ingest_ms is not None:
        metrics.READABLE.add([now - delta.earliest_ingest_ms / 1000], stream, events=total)
    for p in delta.partitions:
        ends = windows_completed(p.before.watermark, p.after.watermark)
        if len(ends):
            metrics.WINDOW_COMPLETE.add(now - ends / 1000, stream)
