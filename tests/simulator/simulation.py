"""A run: the worker's own code among simulated servers, what befalls it, and whether all is well in the end."""

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from random import Random
from typing import Any, ClassVar

from pydantic import SecretStr

from streamgauge.contract.model import Contract
from streamgauge.records.avro import parse, read_record, unframed
from streamgauge.stores.tables import database
from tests.oracle import SECRET
from tests.simulator import scheduler as running
from tests.simulator import site
from tests.simulator.code import Change
from tests.simulator.faults import AtStep, Steps
from tests.simulator.kafka import Cluster
from tests.simulator.oracle import Cell, Oracle
from tests.simulator.postgres import Server
from tests.simulator.scenario import Scenario
from tests.simulator.scheduler import Failure, Process, Scheduler
from tests.simulator.servers import Redis, SchemaRegistry
from tests.simulator.site import Site, code
from tests.simulator.stream import COUNTS_ID, SCHEMA_ID, contract, encoded, schemas
from tests.simulator.substitutes import Event

SIZES = (
    Change("streaming/worker/reader.py", "BATCH_RECORDS = 25_000", "BATCH_RECORDS = 8"),
    Change("streaming/worker/classifier.py", "_TOGETHER_RECORDS = 100_000", "_TOGETHER_RECORDS = 24"),
    Change("streaming/worker/isolation.py", "_DIVISOR = 16", "_DIVISOR = 4"),
    Change("streaming/worker/isolation.py", "_PARTS = 256", "_PARTS = 8"),
)
"""Batches as small as the logs here are."""

_LOOK_SECONDS = 0.5
_PATIENCE_SECONDS = 150.0
"""After the last mishap: a rebalance waits for a member that is gone, a worker that hears nothing for a minute, and a
record that ends sessions is looked for by one after the other.
"""
_LOGGER = logging.getLogger("streaming.worker")
_UNFORESEEN = re.compile(r"session ended \(\w+ in .*\)")


@dataclass(frozen=True)
class Outcome:
    """`failure` is None where all was well. `trace` names all that was committed and published, and when."""

    failure: str | None
    turns: int
    seconds: float
    trace: str


class _Settings:
    """As far as clients ask that are simulated."""

    kafka_bootstrap_servers = "kafka"
    kafka_security_protocol = "PLAINTEXT"
    kafka_sasl_mechanism = "PLAIN"
    kafka_properties: ClassVar[dict[str, str]] = {}
    postgres_dsn = SecretStr("postgres")
    pseudonym_key = SecretStr(SECRET)

    def __getattr__(self, name: str) -> None:
        return None


@cache
def _counts_schema() -> Any:
    return parse(schemas()[COUNTS_ID])


class Simulation:
    def __init__(self, scenario: Scenario, changes: Sequence[Change] = ()) -> None:
        self.scenario = scenario
        self.contract: Contract = contract(scenario.letters)
        self.scheduler = Scheduler(Random(scenario.seed))
        self.steps = Steps(self.scheduler, self._crash, self._freeze)
        self.server = Server(self.scheduler, self.steps, database([self.contract]).tables)
        running.enter(self.scheduler)
        self.cluster = Cluster(self.scheduler, self.steps, self.contract.topic, scenario.partitions, scenario.most)
        assert self.contract.counts_subject is not None
        subjects = {self.contract.subject: SCHEMA_ID, self.contract.counts_subject: COUNTS_ID}
        self.registry = SchemaRegistry(self.steps, schemas(), subjects)
        self.redis = Redis(self.steps)
        self.oracle = Oracle(self.scheduler, self.cluster, self.server, self.contract)
        self._workers: list[Process | None] = [None] * scenario.processes
        self._stops: dict[Process, Any] = {}
        site.enter(Site(self.server, self.cluster, self.registry, self.redis))
        self._process_module = code((*SIZES, *changes)).module("streaming.worker.process")

    # --- processes

    def _start(self, which: int) -> None:
        if self._workers[which] is not None:
            return
        process = self.scheduler.process(f"worker{which}")
        self._workers[which] = process
        stop = self._stops[process] = Event()

        def work() -> None:
            self._process_module._run_sessions(_Settings(), self.contract, stop, {}, self._process_module.Heartbeats())
            self.scheduler.at(self.scheduler.now, lambda: self._over(process))

        self.scheduler.spawn(process, "main", work)

    def _over(self, process: Process) -> None:
        """It has returned: what threads it left end with it, and its connections."""
        self.scheduler.kill(process)
        self._gone(process)

    def _gone(self, process: Process) -> None:
        self.server.hang_up(process)
        self.cluster.group.look_after(process)
        self._workers = [None if p is process else p for p in self._workers]

    def _crash(self, process: Process, seconds: float) -> None:
        which = self._workers.index(process) if process in self._workers else None
        self._gone(process)
        if which is not None:
            self.scheduler.at(self.scheduler.now + seconds, lambda: self._start(which))
        self.scheduler.kill(process)

    def _freeze(self, process: Process, seconds: float) -> None:
        self.scheduler.freeze(process, seconds)
        self.cluster.group.look_after(process)

    # --- what happens

    def _plan(self) -> None:
        at = self.scheduler.at
        for which in range(self.scenario.processes):
            at(self.scheduler.random.uniform(0.0, 2.0), lambda which=which: self._start(which))
        for s in self.scenario.sendings:
            at(s.at, lambda s=s: self._send(s.partition, s.key, s.content))
        for fault in self.scenario.faults:
            if isinstance(fault, AtStep):
                self.steps.arm(f"worker{fault.process}", fault)
            else:
                at(fault.at, lambda f=fault: self._befall(f.event, f.which, f.seconds, f.share))
        at(self.scenario.ends, self._heal)

    def _send(self, partition: int, key: bytes | None, content: Any) -> None:
        if content is None:
            self.cluster.append_marker(partition)
        else:
            self.cluster.append(partition, key, encoded(content), content)

    def _befall(self, event: str, which: int, seconds: float, share: float) -> None:
        process = self._workers[which % len(self._workers)]
        partition = which % self.scenario.partitions
        if event in ("crash", "freeze", "stop", "clock", "stalled") and process is None:
            return
        if event == "crash" and process is not None:
            self._crash(process, seconds)
        elif event == "freeze" and process is not None:
            self._freeze(process, seconds)
        elif event == "stop" and process is not None:
            self._stops[process].set()
            self.scheduler.at(self.scheduler.now + seconds, lambda: self._start(which % len(self._workers)))
        elif event == "clock" and process is not None:
            process.ahead += seconds
            self.oracle.clock_changed = self.scheduler.now
        elif event == "stalled" and process is not None:
            self.cluster.stalled.add((process, partition))
        elif event == "broker clock":
            self.cluster.ahead += seconds
        elif event == "skip":
            self.scheduler.jumped += seconds
            self.oracle.clock_changed = self.scheduler.now
        elif event == "postgres away":
            self.server.leave()
            self.scheduler.at(self.scheduler.now + seconds, self._back(self.server))
        elif event in ("kafka away", "registry away", "redis away"):
            server = {"kafka away": self.cluster, "registry away": self.registry, "redis away": self.redis}[event]
            server.away = True
            self.scheduler.at(self.scheduler.now + seconds, self._back(server))
        elif event == "redis flushed":
            self.redis.held.clear()
        elif event == "retention" and self.cluster.topic is not None:
            log = self.cluster.topic.logs[partition]
            log.low = max(log.low, int(log.high * share))
        elif event == "recreated" and self.cluster.topic is not None:
            self.cluster.topic = None
            self.scheduler.at(self.scheduler.now + seconds, self._recreate)

    def _back(self, server: Any) -> Any:
        def back() -> None:
            server.away = False

        return back

    def _recreate(self) -> None:
        if self.cluster.topic is None:
            self.cluster.create(self.scenario.partitions)

    def _heal(self) -> None:
        """From now on all servers answer, all workers run, and a person looks after what is paused."""
        self.steps.healed = True
        self.cluster.ahead = 0.0
        for server in (self.server, self.cluster, self.registry, self.redis):
            server.away = False
        self._recreate()
        zombies = [p for p in self._workers if p is not None and p.frozen_until > self.scheduler.now]
        self._workers = [None if p in zombies else p for p in self._workers]
        self._resume()

    def _resume(self) -> None:
        """As `streamgauge resume`."""
        for which in range(self.scenario.processes):
            self._start(which)
        self.server.tables["stream_pauses"].clear()
        self.scheduler.at(self.scheduler.now + 8.0, self._resume)

    # --- the end

    def run(self) -> Outcome:
        try:
            self._plan()
            self._look()
            self.scheduler.run(lambda: self._done)
            self.oracle.judge_all(self._forwarded())
            failure = self.scheduler.failure
        except Failure as e:
            failure = e
        turns, seconds = self.scheduler.turns, self.scheduler.now
        self.scheduler.close()
        running.enter(None)
        return Outcome(None if failure is None else str(failure), turns, seconds, self._trace())

    _done = False

    def _look(self) -> None:
        """Whether the stream is quiet, now and then."""
        if self.scheduler.now > self.scenario.ends:
            missing = self.oracle.unfinished() or self.oracle.unpublished(self.redis.held, self._counts())
            self._done = missing is None
            if self.scheduler.now > self.scenario.ends + _PATIENCE_SECONDS:
                self.scheduler.fail(f"no end: {missing}")
        if not self._done:
            self.scheduler.at(self.scheduler.now + _LOOK_SECONDS, self._look)

    def _counts(self) -> dict[Cell, tuple[int, int, int]]:
        found: dict[Cell, tuple[int, int, int]] = {}
        for sent in self.cluster.sent.get(self.contract.counts_topic or "", []):
            framed = unframed(sent.value or b"")
            assert framed is not None and framed[0] == COUNTS_ID
            row = read_record(BytesIO(framed[1]), _counts_schema())
            cell = int(row["minute"].timestamp() * 1000), row["metric"]
            found[cell] = row["count"], row["late"], row["duplicates"]
        return found

    def _forwarded(self) -> list[tuple[int, int, str]]:
        found: list[tuple[int, int, str]] = []
        for sent in self.cluster.sent.get(self.contract.dead_letter_topic, []):
            partition, offset, reason = (
                (sent.headers[f"dead_letter_{name}"] or b"").decode() for name in ("partition", "offset", "reason")
            )
            found.append((int(partition), int(offset), reason))
        return found

    def _trace(self) -> str:
        tables = {name: list(rows.items()) for name, rows in sorted(self.server.tables.items())}
        return hashlib.sha256(repr((tables, self.cluster.sent, self.redis.held)).encode()).hexdigest()[:16]
