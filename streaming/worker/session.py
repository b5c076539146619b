"""One stream's worker, from joining the group to the first failure: reader, checkers, classifier and committer, in
threads of their own.

A session that fails is thrown away whole and a new one begins from what Postgres and the log hold: there is one
way to start, and it is the way to recover. What passes by itself (Postgres or the registry away) is waited for
inside the session.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from confluent_kafka import KafkaException
from opentelemetry.trace import Span, SpanKind

from streamgauge.contract.model import Contract
from streamgauge.records.registry import Registry, RegistryUnavailable
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.settings import Settings
from streamgauge.stores.kafka import UNREACHED_SECONDS
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.logs import bound_to
from streamgauge.telemetry.tracing import batch_span, fail, messaging, past, span, within
from streaming.worker.assignment import Assignment, Takeover
from streaming.worker.batch import Batch, Ticket
from streaming.worker.classifier import Classifier
from streaming.worker.committer import Committer
from streaming.worker.connection import connect_worker
from streaming.worker.heartbeats import Heartbeats
from streaming.worker.isolation import Isolation, as_set_aside, without_values
from streaming.worker.lifetime import TICK_SECONDS, Lifetime, Waits
from streaming.worker.pipeline import Checked, StateSize
from streaming.worker.predecessor import without_predecessor
from streaming.worker.reader import BATCH_RECORDS, Reader
from streaming.worker.records import Records
from streaming.worker.senders import senders
from streaming.worker.store import Store
from streaming.worker.takeover import take_over

_MAINTENANCE_SECONDS = 5.0
"""How often the topic's id, stalled partitions, the group's offsets and the ends of the log are looked at: a topic that
was created again is noticed so late, and each look asks the broker.
"""
_POLL_SECONDS = 2.0
"""How long the reader waits for those behind it before it polls: the group gives up a member that doesn't."""
_DRAIN_SECONDS = 2.5
"""How long what was read may take to be committed at the end: longer, and who stops the worker would kill it."""
_CHECKERS = 2
"""How many batches are decoded and validated at once. Verdicts are given in the order of reading all the same."""


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
        pseudonyms: Pseudonyms,
    ) -> None:
        self._settings = settings
        self._contract = contract
        self._registry = registry
        self._isolation = isolation
        self._pseudonyms = pseudonyms
        self._stop = stop
        self._store = Store(contract, owner)
        self._lifetime = Lifetime(contract.stream)
        self._committer = Committer(settings, contract, self._store, self._lifetime, committed)
        self._classifier = Classifier(self._lifetime, self._committer.inbox)
        self._checkers = ThreadPoolExecutor(_CHECKERS, thread_name_prefix=f"{contract.stream}_check")
        self._waits = Waits()
        self._spans: list[Span] = []
        """Of the batches begun. Those that no thread has ended end with the session."""

    @property
    def waits(self) -> dict[str, Waits]:
        """By stage; checkers wait for nothing but batches."""
        return {"read": self._waits, "classify": self._classifier.waits, "commit": self._committer.waits}

    @property
    def queued(self) -> dict[str, int]:
        """Batches that wait for a stage."""
        return {"classify": self._classifier.inbox.qsize(), "commit": self._committer.inbox.qsize()}

    @property
    def heartbeats(self) -> Heartbeats:
        """Of its threads."""
        return self._lifetime.heartbeats

    @property
    def state(self) -> StateSize | None:
        """None before the group has given it partitions."""
        assignment = self._committer.assignment
        return None if assignment is None else assignment.pipeline.state_size()

    def run(self) -> None:
        """Returns when `stop` is set and what was read is committed. Raises what ended the session otherwise."""
        with self.heartbeats.of_thread(f"{self._contract.stream}_read"):
            self._run()

    def _run(self) -> None:
        threads = [
            threading.Thread(
                target=self._lifetime.guard, args=(name, work), name=f"{self._contract.stream}_{name}", daemon=True
            )
            for name, work in (("classify", self._classifier.run), ("commit", self._committer.run))
        ]
        reader = Reader(self._settings, self._contract, self._take_over)
        for thread in threads:
            thread.start()
        try:
            self._read(reader)
            self._drain(threads)
        except BaseException as e:
            self._lifetime.fail(e)
        finally:
            self._lifetime.end()
            self._checkers.shutdown(wait=False, cancel_futures=True)
            reader.close()
            for thread in threads:
                # one that hangs in a server's answer is left to its fate: whatever it still sends meets the fence
                thread.join(TICK_SECONDS)
            self._end_spans()
        if self._lifetime.failure is not None:
            raise self._lifetime.failure

    def _end_spans(self) -> None:
        for unfinished in self._spans:
            if unfinished.is_recording():
                if self._lifetime.failure is not None:
                    fail(unfinished, self._lifetime.failure)
                unfinished.end()

    def _read(self, reader: Reader) -> None:
        maintained = time.monotonic()
        while not self._stop.is_set() and not self._lifetime.over:
            since = time.monotonic()
            began = time.time_ns()
            self.heartbeats.wait_for(None if reader.settled else "Kafka or the takeover of its partitions")
            records = reader.read()
            if records is None or len(records.positions) < BATCH_RECORDS:
                # it waited for more
                self._waits.idle += time.monotonic() - since
            if records is not None and reader.assignment is not None:
                if self._isolation.active:
                    self._one_by_one(reader, reader.assignment, records, began)
                else:
                    self._hand_over(reader, self._begin(reader, reader.assignment, records, began))
            del records
            if reader.assignment is None:
                continue
            reader.pause(reader.assignment.paused)
            if time.monotonic() - maintained > _MAINTENANCE_SECONDS:
                maintained = time.monotonic()
                # a topic that nothing can be read from gives no batch that would be verified
                with suppress(KafkaException):
                    reader.verify_topic(reader.assignment)
                    reader.check_stalled(reader.assignment.paused)
                reader.commit_group_offsets(dict(reader.assignment.committed))
                reader.assignment.ends = reader.ends()

    def _one_by_one(self, reader: Reader, assignment: Assignment, records: Records, began: int) -> None:
        """A batch in parts, each after the one before is committed: the record is looked for that ends sessions."""
        committed = {p: state.progress.next_offset for p, state in assignment.pipeline.states.items()}
        for part, is_new in self._isolation.parts(records, committed):
            if is_new:
                self._isolation.begin(part)
            batch = self._begin(reader, assignment, part, began)
            self._hand_over(reader, batch)
            reader.poll_group(0)
            while not batch.ticket.done.wait(TICK_SECONDS):
                if self._lifetime.over or self._stop.is_set() or assignment.revoked.is_set():
                    return
                self.heartbeats.beat()
                reader.poll_group(0)
            if is_new:
                self._isolation.part_done()

    def _begin(self, reader: Reader, assignment: Assignment, records: Records, began: int) -> Batch:
        """`began` is when its reading did (epoch ns)."""
        topic, group, count = self._contract.topic, self._contract.group, len(records.positions)
        ticket = Ticket(batch_span(topic, group, count, senders(records), began))
        if ticket.span.is_recording():
            with within(ticket.span):
                read = {**messaging(topic, "poll", "receive", count), a.CONSUMER_GROUP.name: group}
                past(f"poll {topic}", began, {**read, a.BYTES.name: records.payloads.bytes}, kind=SpanKind.CLIENT)
        self._spans = [s for s in (*self._spans, ticket.span) if s.is_recording()]
        return Batch(assignment, self._checkers.submit(self._check, reader, assignment, records, ticket), ticket)

    def _check(self, reader: Reader, assignment: Assignment, records: Records, ticket: Ticket) -> Checked | None:
        if assignment.revoked.is_set():
            return None
        stream = self._contract.stream
        with within(ticket.span), bound_to(stream=stream), self.heartbeats.of_thread(f"{stream}_check"):
            rows = self._isolation.rows(records)
            check = partial(assignment.pipeline.check, without_values(records, rows) if rows else records)
            checked = self._lifetime.retry(RegistryUnavailable, "the schema registry", check)
            with span("verify topic"):
                verify = partial(reader.verify_topic, assignment)
                self._lifetime.retry(KafkaException, "Kafka", verify, UNREACHED_SECONDS)
            return as_set_aside(checked, rows) if rows else checked

    def _hand_over(self, reader: Reader, batch: Batch) -> None:
        since = time.monotonic()
        while not self._lifetime.offer(self._classifier.inbox, batch, self._waits):
            if batch.assignment.revoked.is_set() or self._stop.is_set():
                batch.checked.cancel()
                batch.ticket.span.end()
                return
            if time.monotonic() - since > _POLL_SECONDS:
                reader.poll_group(TICK_SECONDS)

    def _drain(self, threads: list[threading.Thread]) -> None:
        """Lets the other threads finish what they hold, if that is soon done; the log has it otherwise."""
        until = time.monotonic() + _DRAIN_SECONDS
        while not self._lifetime.over and time.monotonic() < until:
            if self._lifetime.offer(self._classifier.inbox, None, self._waits):
                break
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _take_over(self, topic_id: str, ends: dict[int, tuple[int, int]]) -> Takeover:
        with (
            connect_worker(self._settings) as connection,
            without_predecessor(self._settings, connection, self._contract.stream),
        ):
            takeover = take_over(
                connection,
                self._store,
                self._contract,
                self._registry,
                self._isolation,
                self._pseudonyms,
                topic_id,
                ends,
            )
        self._committer.assignment = takeover.assignment
        return takeover
