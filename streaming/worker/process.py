"""The worker process: a session after another for every stream, until it is told to stop."""

import logging
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import FrameType

from streamgauge.contract.in_use import SECONDS, ContractsInUse
from streamgauge.contract.model import Contract
from streamgauge.records.registry import registry
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.settings import Settings
from streamgauge.state.commits import COMMITTER
from streamgauge.telemetry import metrics
from streamgauge.telemetry.log_export import export_logs
from streamgauge.telemetry.logs import bound_to
from streamgauge.telemetry.probes import LIVE, READY, serve_metrics
from streamgauge.telemetry.span_export import export_traces
from streamgauge.telemetry.threads import place_of, supervised, watch_other_threads
from streaming.worker.gauges import export_gauges
from streaming.worker.health import Health
from streaming.worker.heartbeats import Heartbeats
from streaming.worker.isolation import Isolation, unforeseen
from streaming.worker.publisher import Publisher
from streaming.worker.session import Session

log = logging.getLogger(__name__)

_STEADY_SECONDS = 30.0
"""A session that lasted this long was well; the pause after it starts small again."""
_SIGNAL_SECONDS = 0.2
"""How often the main thread wakes up: a signal that another thread got is heard so late."""
_STOP_SECONDS = 4.0
"""Who waits longer than this for a server is left behind; what it holds is still in the log."""


@dataclass(frozen=True)
class _Running:
    contract: Contract
    stop: threading.Event
    thread: threading.Thread


def run_worker(settings: Settings, contracts: ContractsInUse) -> None:
    """Returns after SIGTERM or SIGINT, when what was read has been committed. Streams come and go with `contracts`."""
    stop = threading.Event()
    watch_other_threads()

    def handler(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, handler)
    running: dict[str, _Running] = {}
    sessions: dict[str, Session] = {}
    heartbeats = Heartbeats()
    if settings.metrics_port is not None:
        health = Health(heartbeats, running.keys(), sessions)
        probes = {LIVE: health.alive, READY: health.ready}
        serve_metrics("streamgauge-worker", settings.metrics_port, settings.metrics_host, probes)
    # after the metrics, which count what becomes of both
    export_logs("streamgauge-worker", settings.logs_url, whole=COMMITTER)
    export_traces("streamgauge-worker", settings.zipkin_url)
    export_gauges(sessions)

    def follow_contracts() -> None:
        with heartbeats.of_thread("contracts"):
            while not stop.is_set():
                heartbeats.beat()
                contracts.refresh()
                _follow(settings, dict(contracts), running, sessions, heartbeats)
                stop.wait(SECONDS)

    following = supervised("contracts", follow_contracts, stop)
    following.start()
    # the kernel may hand a signal to any thread, and only a main thread that wakes up runs its handler
    with heartbeats.of_thread("main"):
        while not stop.wait(_SIGNAL_SECONDS):
            heartbeats.beat()
    log.info("stopping")
    until = time.monotonic() + _STOP_SECONDS
    following.join(_STOP_SECONDS)
    for stream in running.values():
        stream.stop.set()
    for stream in running.values():
        stream.thread.join(max(0.0, until - time.monotonic()))
    log.info("stopped")


def _follow(
    settings: Settings,
    wanted: Mapping[str, Contract],
    running: dict[str, _Running],
    sessions: dict[str, Session],
    heartbeats: Heartbeats,
) -> None:
    """Ends what has another contract now or none, and starts what is missing."""
    ended = [name for name, stream in running.items() if wanted.get(name) != stream.contract]
    for name in ended:
        running[name].stop.set()
    for name in ended:
        # one that hangs is left behind: what it still sends meets the next one's fence
        running.pop(name).thread.join(_STOP_SECONDS)
    started = [name for name in wanted if name not in running]
    for name in started:
        stop = threading.Event()
        thread = supervised(name, partial(_run_stream, settings, wanted[name], stop, sessions, heartbeats), stop)
        running[name] = _Running(wanted[name], stop, thread)
        thread.start()
    if started or ended:
        log.info("worker for %s", ", ".join(sorted(running)) or "no stream yet")


def _run_stream(
    settings: Settings,
    contract: Contract,
    stop: threading.Event,
    sessions: dict[str, Session],
    heartbeats: Heartbeats,
) -> None:
    """A session after another, the present one in `sessions`."""
    with bound_to(stream=contract.stream):
        _run_sessions(settings, contract, stop, sessions, heartbeats)


def _run_sessions(
    settings: Settings,
    contract: Contract,
    stop: threading.Event,
    sessions: dict[str, Session],
    heartbeats: Heartbeats,
) -> None:
    owner = f"{socket.gethostname()}:{os.getpid()}"
    # the session repeats what fails, so one attempt at a time, and a short one
    client = registry(settings, attempts=1, timeout=2.0)
    publisher = Publisher(settings, contract, client, stop, heartbeats)
    publishing = supervised(f"{contract.stream}-publish", publisher.run, stop)
    publishing.start()
    pause = 0.5
    isolation = Isolation()
    pseudonyms = pseudonyms_of(settings, contract)
    metrics.READABLE.add([], contract.stream)
    metrics.WINDOW_COMPLETE.add([], contract.stream)
    metrics.SET_ASIDE.add(0, {"stream": contract.stream})
    while not stop.is_set():
        started = time.monotonic()
        try:
            _run_session(
                Session(settings, contract, client, owner, stop, publisher.committed, isolation, pseudonyms),
                contract.stream,
                sessions,
            )
        except Exception as e:
            # whatever ended it, the next session starts from what is committed: that is the recovery
            isolation.failed(e, contract.stream, time.monotonic())
            metrics.RESTARTS.add(1, {"stream": contract.stream, "cause": type(e).__name__})
            log.warning("%s: session ended (%s), beginning anew", contract.stream, what_ended(e))
            if isolation.active:
                pause = 0.5
            pause = 0.5 if time.monotonic() - started > _STEADY_SECONDS else min(pause * 2, 10.0)
            stop.wait(pause * random.uniform(0.5, 1.0))
    publishing.join()
    client.close()


def _run_session(session: Session, stream: str, sessions: dict[str, Session]) -> None:
    sessions[stream] = session
    try:
        session.run()
    finally:
        # it holds all that is remembered: the next one would need the memory twice
        if sessions.get(stream) is session:
            del sessions[stream]


def what_ended(e: Exception) -> str:
    """The text of an error that nobody foresaw may quote an event: only its type and place are logged."""
    if not unforeseen(e):
        return f"{type(e).__name__}: {e}"
    return f"{type(e).__name__}{place_of(e)}"
