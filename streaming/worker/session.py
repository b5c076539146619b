"""One stream's worker, from joining the group to the first failure: reader, checkers, pipeline and committer, in
threads of their own.

A session that fails is thrown away whole and a new one begins from what Postgres and the log hold: there is one
way to start, and it is the way to recover. What passes by itself (Postgres or the registry away) is waited for
inside the session.
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import psycopg
from opentelemetry.trace import Span, use_span

from streamgauge.contract.model import Contract
from streamgauge.records.registry import Registry, RegistryUnavailable
from streamgauge.records.runs import first_rows
from streamgauge.settings import Settings
from streamgauge.state.arrivals import ALL
from streamgauge.telemetry import metrics
from streamgauge.telemetry.tracing import batch_span, tracing_wanted
from streaming.worker.assignment import Assignment
from streaming.worker.isolation import Isolation, Permanent, as_set_aside, without_values
from streaming.worker.pipeline import Checked, Delta, Pipeline
from streaming.worker.reader import BATCH_RECORDS, Claimed, Reader
from streaming.worker.records import Records
from streaming.worker.store import Connection, Fenced, Store, connect_worker

log = logging.getLogger(__name__)

_UPKEEP_SECONDS = 5.0
"""How often the reference table, the pauses, the group's offsets and the ends of the log are looked after."""
_STAY_SECONDS = 2.0
"""How long the reader waits for the pipeline before it polls, to stay in the group."""
_DRAIN_SECONDS = 2.5
_CHECKERS = 2
"""How many batches are decoded and validated at once. Verdicts are given in the order of reading all the same."""
_CHECKED_AHEAD = 3
"""How many batches may wait to be judged: with those at both ends it bounds the memory."""
_TICK = 0.1
_TOGETHER_RECORDS = 100_000
"""How many records share a transaction while batches come full. Each transaction writes the rows of the minutes it
touches, however many events they stand for.
"""
_LIMIT_EXCEEDED = "54"
"""The class of SQLSTATE for what is beyond Postgres's limits, such as too long a key of an index: no outage, though
psycopg counts it among them. https://www.postgresql.org/docs/15/errcodes-appendix.html
"""
_AFTER_PAUSE = "see `streamgauge dead-letters list`, then `streamgauge resume STREAM`"

T = TypeVar("T")


class _Ended(Exception):
    """The session is over; what was being waited for is no longer wanted."""


class _Resumed(Exception):
    """Somebody resumed a paused partition."""


@dataclass(frozen=True)
class _Read:
    """A batch on its way. `checked` gives None where its assignment was revoked before."""

    assignment: Assignment
    checked: Future[Checked | None]
    span: Span


@dataclass(frozen=True)
class _Write:
    assignment: Assignment
    delta: Delta
    spans: list[Span]


class Session:
    def __init__(
        self,
        settings: Settings,
        contract: Contract,
        registry: Registry,
        owner: str,
        stop: threading.Event,
        committed: Callable[[], None],
        isolation: Isolation,
    ) -> None:
        self._settings = settings
        self._isolation = isolation
        self._begun = self._done = 0
        self._contract = contract
        self._registry = registry
        self._store = Store(contract, owner)
        self._stop = stop
        self._committed = committed
        self._failure: BaseException | None = None
        self._ended = threading.Event()
        self._checkers = ThreadPoolExecutor(_CHECKERS, thread_name_prefix=f"{contract.stream}_check")
        self._inbox: queue.Queue[_Read | None] = queue.Queue(maxsize=_CHECKED_AHEAD)
        self._outbox: queue.Queue[_Write | None] = queue.Queue(maxsize=1)
        self._offsets: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._paused: set[int] = set()
        self._current: Assignment | None = None
        """The newest, which the reference table is refreshed for."""

    def run(self) -> None:
        """Returns when `stop` is set and what was read is committed. Raises what ended the session otherwise."""
        threads = [
            threading.Thread(
                target=self._guard, args=(work,), name=f"{self._contract.stream}{work.__name__}", daemon=True
            )
            for work in (self._process, self._commit)
        ]
        reader = Reader(self._settings, self._contract, self._claim)
        for thread in threads:
            thread.start()
        try:
            self._read(reader)
            self._drain(threads)
        except BaseException as e:
            self._fail(e)
        finally:
            self._ended.set()
            self._checkers.shutdown(wait=False, cancel_futures=True)
            reader.close()
            for thread in threads:
                # one that hangs in a server's answer is left to its fate: whatever it still sends meets the fence
                thread.join(_TICK)
        if self._failure is not None:
            raise self._failure

    def _read(self, reader: Reader) -> None:
        looked_after = time.monotonic()
        while not self._stop.is_set() and self._failure is None:
            records = reader.read()
            if records is not None and reader.assignment is not None:
                if self._isolation.active:
                    self._one_by_one(reader, reader.assignment, records)
                else:
                    self._hand_over(reader, self._begin(reader.assignment, records))
            del records
            reader.pause(self._paused)
            if time.monotonic() - looked_after > _UPKEEP_SECONDS:
                looked_after = time.monotonic()
                reader.check_topic()
                reader.tell_group(dict(self._offsets))
                self._ends = reader.ends()

    def _one_by_one(self, reader: Reader, assignment: Assignment, records: Records) -> None:
        """A batch in parts, each after the one before is committed: the record is looked for that ends sessions."""
        committed = {p: state.progress.next_offset for p, state in assignment.pipeline.states.items()}
        for part, is_new in self._isolation.parts(records, committed):
            if is_new:
                self._isolation.begin(part)
            self._hand_over(reader, self._begin(assignment, part))
            while self._done < self._begun:
                if self._failure is not None or self._stop.is_set() or assignment.revoked.is_set():
                    return
                reader.stay(_TICK)
            if is_new:
                self._isolation.part_done()

    def _begin(self, assignment: Assignment, records: Records) -> _Read:
        self._begun += 1
        span = self._span(records)
        return _Read(assignment, self._checkers.submit(self._check, assignment, records, span), span)

    def _check(self, assignment: Assignment, records: Records, span: Span) -> Checked | None:
        if assignment.revoked.is_set():
            return None
        with use_span(span):
            rows = self._isolation.rows(records)
            check = partial(assignment.pipeline.check, without_values(records, rows) if rows else records)
            checked = self._patiently(RegistryUnavailable, "the schema registry", check)
            return as_set_aside(checked, rows) if rows else checked

    def _hand_over(self, reader: Reader, read: _Read) -> None:
        since = time.monotonic()
        while not self._put(self._inbox, read):
            if read.assignment.revoked.is_set() or self._stop.is_set():
                read.checked.cancel()
                return
            if time.monotonic() - since > _STAY_SECONDS:
                reader.stay(_TICK)

    def _drain(self, threads: list[threading.Thread]) -> None:
        """Lets the pipeline finish what it holds, if that is soon done; the log has it otherwise."""
        until = time.monotonic() + _DRAIN_SECONDS
        while self._failure is None and time.monotonic() < until and not self._put(self._inbox, None):
            pass
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _claim(self, topic_id: str, ends: dict[int, tuple[int, int]]) -> Claimed:
        pipeline = Pipeline(self._contract, self._registry.find_schema)
        assignment = Assignment(pipeline)
        read_from: dict[int, int] = {}
        first_positions: dict[int, int] = {}
        paused: set[int] = set()
        with self._connect() as connection:
            self._refresh(connection, assignment)
            for partition, (low, high) in ends.items():
                progress, first, reason = self._store.claim(connection, partition, topic_id, low, high)
                first_positions[partition] = first
                pipeline.take_over(progress, paused=reason is not None)
                self._store.open_minutes(connection, pipeline, progress)
                read_from[partition] = max(progress.read_from, first + low)
                if reason is not None:
                    paused.add(partition)
                    log.error("%s: partition %d is paused: %s", self._contract.stream, partition, reason)
            # a new dict: checkers of the assignment before may still go through the old one
            self._isolation.set_aside = self._isolation.set_aside | self._store.set_aside(connection, read_from)
        self._paused, self._offsets, self._ends, self._current = paused, {}, {}, assignment
        return Claimed(assignment, read_from, first_positions)

    def _span(self, records: Records) -> Span:
        """Linked to who sent the first record of each partition: headers cost too much to read them all."""
        firsts = first_rows(records.positions.partitions).values() if tracing_wanted() else ()
        sampled = (records.raw(row).headers for row in firsts)
        return batch_span(self._contract.topic, self._contract.group, len(records.positions), sampled)

    def _process(self) -> None:
        gathered: list[Checked] = []
        spans: list[Span] = []
        assignment: Assignment | None = None

        def judge() -> None:
            if gathered and assignment is not None and not assignment.revoked.is_set():
                delta = assignment.pipeline.judge(gathered)
                if delta.partitions:
                    self._hand_on(self._outbox, _Write(assignment, delta, [*spans]))
                else:
                    self._done += len(gathered)
            gathered.clear()
            spans.clear()

        while (read := self._take(self._inbox, judge)) is not None:
            if read.assignment is not assignment:
                judge()
                assignment = read.assignment
            checked = self._checked(read, judge)
            if checked is not None:
                gathered.append(checked)
                spans.append(read.span)
                if len(checked.positions) < BATCH_RECORDS or _records(gathered) >= _TOGETHER_RECORDS:
                    judge()
            else:
                self._done += 1
            # while this thread waits, the batch's memory is free
            del read, checked
        judge()
        self._hand_on(self._outbox, None)

    def _checked(self, read: _Read, meanwhile: Callable[[], None]) -> Checked | None:
        while not wait([read.checked], _TICK).done:
            if self._ended.is_set() or self._failure is not None:
                raise _Ended
            meanwhile()
        if read.checked.cancelled():
            raise _Ended
        return read.checked.result()

    def _commit(self) -> None:
        connection = self._patiently(psycopg.OperationalError, "Postgres", self._connect)
        looked_after = time.monotonic()

        def look_after() -> None:
            nonlocal connection, looked_after
            if time.monotonic() - looked_after > _UPKEEP_SECONDS:
                looked_after = time.monotonic()
                connection = self._look_after(connection)

        while (write := self._take(self._outbox, look_after)) is not None:
            if not write.assignment.revoked.is_set():
                with use_span(write.spans[0], end_on_exit=True):
                    connection = self._commit_one(connection, write)
                for span in write.spans[1:]:
                    span.end()
            self._done += len(write.spans)
            look_after()
        connection.close()

    def _commit_one(self, connection: Connection, write: _Write) -> Connection:
        """Repeats the commit until Postgres has it; if an answer was lost, looks whether it was already done."""
        delta, repeated = write.delta, False

        def attempt() -> None:
            nonlocal connection, repeated
            if connection.closed:
                connection = self._connect()
            if repeated and self._store.is_committed(connection, delta):
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
            self._patiently(psycopg.OperationalError, "Postgres", attempt)
        except Fenced:
            if write.assignment.revoked.is_set():
                return connection
            raise
        self._note(delta, time.monotonic() - started)
        if delta.earliest_ingest_ms is not None:
            self._committed()
        return connection

    def _note(self, delta: Delta, seconds: float) -> None:
        stream = self._contract.stream
        for p in delta.partitions:
            self._offsets[p.after.partition] = p.after.next_offset
            if p.pause:
                self._paused.add(p.after.partition)
                log.error("%s: partition %d is paused: %s; %s", stream, p.after.partition, p.pause, _AFTER_PAUSE)
        total = 0
        for verdict in ("counted", "late", "duplicates", "dead_letters"):
            count = sum(getattr(p, verdict) for p in delta.partitions)
            total += count
            if count:
                metrics.EVENTS.add(count, {"stream": stream, "verdict": verdict})
        for a in delta.arrivals:
            if a.kind != ALL:
                metrics.ARRIVALS.add(a.records, {"stream": stream, "kind": a.kind})
        metrics.COMMIT_SECONDS.record(seconds, {"stream": stream})
        if delta.earliest_ingest_ms is not None:
            metrics.READABLE.add([time.time() - delta.earliest_ingest_ms / 1000], stream, events=total)

    def _look_after(self, connection: Connection) -> Connection:
        try:
            if connection.closed:
                connection = self._connect()
            if self._paused - self._store.paused(connection):
                raise _Resumed
            self._store.note_ends(connection, self._ends)
            if self._current is not None:
                self._refresh(connection, self._current)
        except psycopg.OperationalError as e:
            log.warning("%s: can't look after pauses and reference: %s", self._contract.stream, e)
            connection.close()
        return connection

    def _refresh(self, connection: Connection, assignment: Assignment) -> None:
        version = self._store.reference_version(connection)
        if version is not None and version != assignment.reference_version:
            assignment.pipeline.enrich_by(self._store.reference(connection))
            assignment.reference_version = version
            log.info("%s: the reference table was read", self._contract.stream)

    def _connect(self) -> Connection:
        return connect_worker(self._settings)

    def _patiently(self, passing: type[Exception], what: str, attempt: Callable[[], T]) -> T:
        """Repeats `attempt` with growing pauses while it raises `passing`."""
        since, pause = time.monotonic(), 0.1
        while True:
            try:
                result = attempt()
            except passing as e:
                if pause == 0.1:
                    log.warning("%s: waiting for %s: %s", self._contract.stream, what, str(e).strip())
                if self._ended.wait(pause * random.uniform(0.5, 1.0)):
                    raise _Ended from e
                pause = min(pause * 2, 5.0)
            else:
                if pause > 0.1:
                    log.info("%s: %s is back after %.1f s", self._contract.stream, what, time.monotonic() - since)
                return result

    def _put(self, to: "queue.Queue[T | None]", item: T | None) -> bool:
        if self._ended.is_set() or self._failure is not None:
            raise _Ended
        try:
            to.put(item, timeout=_TICK)
        except queue.Full:
            return False
        return True

    def _hand_on(self, to: "queue.Queue[T | None]", item: T | None) -> None:
        while not self._put(to, item):
            pass

    def _take(self, source: "queue.Queue[T]", meanwhile: Callable[[], None]) -> T:
        while True:
            try:
                return source.get(timeout=_TICK)
            except queue.Empty:
                if self._ended.is_set() or self._failure is not None:
                    raise _Ended from None
                meanwhile()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as e:
            self._fail(e)

    def _fail(self, e: BaseException) -> None:
        if self._failure is None and not isinstance(e, _Ended):
            self._failure = e


def _records(gathered: Sequence[Checked]) -> int:
    return sum(len(c.positions) for c in gathered)
