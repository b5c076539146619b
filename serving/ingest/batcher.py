"""Checks and encodes together the requests that wait at the same time: most of what that costs is there for one event
as for a thousand. Under load the batches grow, and an event's share of a core falls to a quarter.
"""

import asyncio
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.context import Context, attach, detach

from serving.ingest.body import MAX_BYTES, Entry, Form, events_of
from serving.ingest.check import Checked, Refused, check
from serving.ingest.publisher import Delivery, Publisher, not_delivered, of_the_record
from serving.problems import AWAY, Problem
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.producer.encode import Encoder
from streamgauge.producer.producer import find_schema_id
from streamgauge.producer.trace import publishing, tracer
from streamgauge.settings import Settings
from streamgauge.telemetry.threads import supervised

_GATHER_SECONDS = 0.02
"""For more requests to come: without it 10,000 events/s in requests of 100 would cost three times as much."""


@dataclass(frozen=True)
class Verdicts:
    """Of `events` in a request, all but the refused are in Kafka."""

    events: int
    refused: list[Refused]


@dataclass(frozen=True)
class Job:
    """A request whose body is read. `sender` and `correlation_id` go into its records' headers."""

    contract: Contract
    form: Form
    headers: Mapping[str, str]
    body: bytes
    sender: str
    correlation_id: str
    span: Context
    answered: "asyncio.Future[Verdicts]"

    def answer(self, verdicts: Verdicts) -> None:
        self._settle(self.answered.set_result, verdicts)

    def fail(self, error: Exception) -> None:
        self._settle(self.answered.set_exception, error)

    def _settle(self, settle: Callable[[Any], None], value: Any) -> None:
        """From any thread. Nobody waits any more where the API stops."""
        self.answered.get_loop().call_soon_threadsafe(lambda: None if self.answered.done() else settle(value))


@dataclass(frozen=True)
class Encoded:
    """A request's events that keep the contract, and the others."""

    events: int
    indexes: list[int]
    refused: list[Refused]
    keys: list[bytes]
    values: list[bytes]


class Batcher:
    """A thread of its own, so that readers don't wait for it."""

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self._settings = settings
        self._publisher = publisher
        self._waiting: deque[Job] = deque()
        self._arrived = threading.Condition()
        self._stop = threading.Event()
        self._thread = supervised("ingest encoder", self._run, self._stop)
        self._encoders: dict[str, tuple[Contract, Encoder]] = {}
        self._tracer = tracer()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        with self._arrived:
            self._arrived.notify()
        self._thread.join(2)

    def submit(self, job: Job) -> None:
        with self._arrived:
            self._waiting.append(job)
            self._arrived.notify()

    def _run(self) -> None:
        while not self._stop.is_set():
            with self._arrived:
                self._arrived.wait_for(lambda: self._waiting or self._stop.is_set())
            self._stop.wait(_GATHER_SECONDS)
            with self._arrived:
                jobs = self._next()
            parsed: list[tuple[Job, list[Entry]]] = []
            for job in jobs:
                try:
                    parsed.append((job, events_of(job.contract, job.form, job.headers, job.body)))
                except Problem as problem:
                    job.fail(problem)
            self._work(parsed)

    def _next(self) -> list[Job]:
        """All of one stream, as far as they are no more than one request may be: the others wait so long."""
        accepted: list[Job] = []
        left: deque[Job] = deque()
        size = 0
        for job in self._waiting:
            size += len(job.body)
            if not accepted or (job.contract is accepted[0].contract and size <= MAX_BYTES):
                accepted.append(job)
            else:
                left.append(job)
        self._waiting = left
        return accepted

    def _work(self, parsed: Sequence[tuple[Job, list[Entry]]]) -> None:
        if not parsed:
            return
        try:
            encoded = self._encode(parsed[0][0].contract, [entries for _, entries in parsed])
        except Exception as e:
            if isinstance(e, Problem) or len(parsed) == 1:
                for job, _ in parsed:
                    job.fail(e)
            else:
                # One request's mistake that nobody had thought of is not to be the others'.
                for one in parsed:
                    self._work([one])
            return
        for (job, _), own in zip(parsed, encoded, strict=True):
            try:
                self._publish(job, own)
            except Problem as problem:
                job.fail(problem)

    def _encode(self, contract: Contract, requests: Sequence[list[Entry]]) -> list[Encoded]:
        found = check(contract, [entry for entries in requests for entry in entries])
        keys: list[bytes] = []
        values: list[bytes] = []
        if found.indexes:
            encoder = self._encoder(contract)
            keys, values = encoder.keys(found.events), encoder.encode(found.events)
        built: list[Encoded] = []
        start = 0
        for entries in requests:
            built.append(part_of(found, keys, values, start, start + len(entries)))
            start += len(entries)
        return built

    def _encoder(self, contract: Contract) -> Encoder:
        known = self._encoders.get(contract.stream)
        if known is not None and known[0] is contract:
            return known[1]
        try:
            encoder = Encoder(contract, find_schema_id(self._settings, contract))
        except UserError as e:
            raise Problem(AWAY, f"{e.what}.", f"{e.hint}.", headers={"Retry-After": "5"}) from e
        self._encoders[contract.stream] = contract, encoder
        return encoder

    def _publish(self, job: Job, own: Encoded) -> None:
        if not own.indexes:
            job.answer(Verdicts(own.events, own.refused))
            return
        self._publisher.admit(len(own.values))

        def delivered(delivery: Delivery) -> None:
            if not all(map(of_the_record, delivery.errors.values())):
                job.fail(not_delivered(delivery))
                return
            large = [Refused(own.indexes[row], None, "is too large for the topic") for row in delivery.errors]
            job.answer(Verdicts(own.events, sorted([*own.refused, *large], key=lambda r: r.index)))

        stream, topic = job.contract.stream, job.contract.topic
        token = attach(job.span)
        try:
            with publishing(self._tracer, topic, len(own.values), job.correlation_id, job.sender) as headers:
                self._publisher.send(stream, topic, own.keys, own.values, headers, delivered)
        finally:
            detach(token)


def part_of(found: Checked, keys: list[bytes], values: list[bytes], start: int, stop: int) -> Encoded:
    """Of the events from `start` to `stop`, which is not included; indexes count from `start`."""
    first, last = bisect_left(found.indexes, start), bisect_left(found.indexes, stop)
    return Encoded(
        stop - start,
        [index - start for index in found.indexes[first:last]],
        [Refused(r.index - start, r.field, r.reason) for r in found.refused if start <= r.index < stop],
        keys[first:last],
        values[first:last],
    )
