"""How the platform is doing: looked at every few seconds by one thread, so that no request waits for a server."""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
import psycopg
from confluent_kafka import KafkaException
from redis import Redis

from serving.database import Database
from serving.problems import Problem
from serving.stream_state import LogEnds
from streamgauge.contract.in_use import SECONDS, ContractsInUse
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.records.registry import RegistryError, registry
from streamgauge.settings import Settings
from streamgauge.state.accounts import log_positions
from streamgauge.state.budgets import Budgets
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.progress import read_progress
from streamgauge.stores.prometheus import Prometheus
from streamgauge.telemetry.threads import supervised

log = logging.getLogger(__name__)

_SECONDS = 5.0
_RATE_SECONDS = 60.0
_PROBE_SECONDS = 3.0
_FAILURES = 2
"""In a row, before a part counts as down."""
_STALE_SECONDS = 30.0
"""After which what was heard of Kafka no longer counts."""


@dataclass(frozen=True)
class PartState:
    name: str
    up: bool
    detail: str
    since: datetime
    needed: bool
    """To answer at all."""


class Watch:
    def __init__(self, settings: Settings, contracts: ContractsInUse, database: Database, redis: Redis) -> None:
        self._settings = settings
        self._contracts = contracts
        self._database = database
        self._redis = redis
        self._kafka = admin_client(settings)
        # No connection is kept: a server may close it in the moment in which it is used again, and would look down.
        self._http = httpx.Client(timeout=_PROBE_SECONDS, limits=httpx.Limits(max_keepalive_connections=0))
        url = settings.prometheus_url
        self.budgets = Budgets(Prometheus(url, self._http)) if url else None
        """What is left of the promises' error budgets; None where there is no Prometheus."""
        self._schemas = registry(settings, attempts=1, timeout=_PROBE_SECONDS)
        self._parts: dict[str, PartState] = {}
        self._failures: Counter[str] = Counter()
        self._ends: dict[str, tuple[float, LogEnds]] = {}
        self._consumed: dict[str, deque[tuple[float, int]]] = {}
        self._stop = threading.Event()
        self._thread = supervised("watch", self._run, self._stop)
        # Apart from the probes, which may wait for a server while a new stream is asked for.
        self._following = supervised("contracts", self._follow_contracts, self._stop)
        # Each probe may wait for its server; none shall hold up the others.
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="probe")

    def start(self) -> None:
        self._thread.start()
        self._following.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2)
        self._following.join(timeout=2)
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def parts(self) -> tuple[PartState, ...]:
        return tuple(self._parts.values())

    def is_up(self, name: str) -> bool:
        part = self._parts.get(name)
        return part is None or part.up

    def ends(self, contract: Contract) -> LogEnds | None:
        """The log's ends, unless Kafka hasn't answered for long."""
        at = self._ends.get(contract.stream)
        return None if at is None or time.monotonic() - at[0] > _STALE_SECONDS else at[1]

    def events_per_second(self, contract: Contract) -> float | None:
        """Consumed by the worker, over the last minute."""
        seen = self._consumed.get(contract.stream)
        if seen is None or len(seen) < 2:
            return None
        (first, before), (last, after) = seen[0], seen[-1]
        return round((after - before) / (last - first), 1)

    def _run(self) -> None:
        while not self._stop.is_set():
            since = time.monotonic()
            try:
                self._look()
            except Exception:
                log.exception("looking at the parts failed")
            self._stop.wait(max(0.5, _SECONDS - (time.monotonic() - since)))

    def _follow_contracts(self) -> None:
        while not self._stop.wait(SECONDS):
            self._contracts.refresh()

    def _look(self) -> None:
        pending = {name: self._pool.submit(probe) for name, probe in self._probes().items()}
        for name, future in pending.items():
            self.note(name, *future.result(timeout=60))
        # of a stream that is served no more
        self._parts = {name: part for name, part in self._parts.items() if name in pending}

    def note(self, name: str, up: bool, detail: str) -> None:
        """What a probe has found. A part that was up is down when it fails twice: one lost answer is no outage."""
        known = self._parts.get(name)
        self._failures[name] = 0 if up else self._failures[name] + 1
        if known is not None and known.up and 0 < self._failures[name] < _FAILURES:
            return
        since = known.since if known is not None and known.up == up else datetime.now(UTC)
        self._parts[name] = PartState(name, up, detail, since, needed=name == "postgres")

    def _probes(self) -> dict[str, Callable[[], tuple[bool, str]]]:
        settings = self._settings
        probes: dict[str, Callable[[], tuple[bool, str]]] = {
            "postgres": self._postgres,
            "redis": self._ping,
            "kafka": self._log_ends,
            "registry": self._registry,
        }
        for contract in self._contracts.values():
            probes[f"worker {contract.stream}"] = lambda contract=contract: self._worker(contract)
        if settings.dagster_url:
            url = settings.dagster_url.rstrip("/")
            probes["dagster"] = lambda: self._get(f"{url}/server_info")
        if settings.prometheus_url:
            prometheus = settings.prometheus_url.rstrip("/")
            probes["prometheus"] = lambda: self._get(f"{prometheus}/-/ready")
        if settings.alertmanager_url:
            alertmanager = settings.alertmanager_url.rstrip("/")
            probes["alertmanager"] = lambda: self._get(f"{alertmanager}/-/ready")
        return probes

    def _postgres(self) -> tuple[bool, str]:
        try:
            with self._database.snapshot() as connection:
                progress = read_progress(connection, (c.topic for c in self._contracts.values()))
        except psycopg.errors.UndefinedTable:
            return True, "answers; nothing is applied yet: run `streamgauge apply`"
        except Problem as e:
            return False, e.detail
        self._note_rates({topic: sum(p.next for p in parts) for topic, parts in progress.items()})
        return True, "answers"

    def _note_rates(self, consumed: dict[str, int]) -> None:
        now = time.monotonic()
        for contract in self._contracts.values():
            seen = self._consumed.setdefault(contract.stream, deque())
            offset = consumed.get(contract.topic, 0)
            if seen and offset < seen[-1][1]:
                seen.clear()
            seen.append((now, offset))
            while now - seen[0][0] > _RATE_SECONDS:
                seen.popleft()

    def _ping(self) -> tuple[bool, str]:
        try:
            self._redis.ping()  # pyright: ignore[reportUnknownMemberType]
        except Exception as e:
            return False, str(e)
        return True, "answers"

    def _log_ends(self) -> tuple[bool, str]:
        """What is wrong with one topic says nothing of the others, and nothing of Kafka while it answers for one."""
        failed: dict[str, str] = {}
        contracts = tuple(self._contracts.values())
        if not contracts:
            return self._any_broker()
        for contract in contracts:
            try:
                with self._database.snapshot() as connection:
                    ends = log_positions(connection, self._kafka, contract)
                self._ends[contract.stream] = (time.monotonic(), ends)
            except UserError as e:
                failed[contract.topic] = e.what
            except Problem:
                return True, "answers; how far its logs are is not known while Postgres is away"
        if not failed:
            return True, "answers"
        detail = "; ".join(f"{topic}: {what}" for topic, what in failed.items())
        return len(failed) < len(contracts), detail

    def _any_broker(self) -> tuple[bool, str]:
        try:
            self._kafka.list_topics(timeout=_PROBE_SECONDS)
        except KafkaException as e:
            return False, str(e)
        return True, "answers"

    def _worker(self, contract: Contract) -> tuple[bool, str]:
        """Whoever publishes for the stream holds a lock in Postgres as long as he lives."""
        try:
            with self._database.snapshot() as connection:
                row = connection.execute(
                    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2"
                    " AND classid::bigint = hashtext('streamgauge.publisher')::bigint & 4294967295"
                    " AND objid::bigint = hashtext(%s)::bigint & 4294967295",
                    (contract.stream,),
                ).fetchone()
        except (Problem, psycopg.Error):
            return False, "not known: Postgres is away"
        up = bool(row and row[0])
        return up, "works" if up else "no worker has this stream"

    def _registry(self) -> tuple[bool, str]:
        try:
            self._schemas.check()
        except RegistryError as e:
            return False, e.what
        return True, "answers"

    def _get(self, url: str) -> tuple[bool, str]:
        try:
            answer = self._http.get(url)
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            return False, str(e) or type(e).__name__
        # without the URL, which may hold a login
        return answer.is_success, "answers" if answer.is_success else f"HTTP {answer.status_code}"
