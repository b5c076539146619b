"""The worker process: a session after another for every stream, until it is told to stop."""

import logging
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Sequence
from types import FrameType

from streamgauge.contract.model import Contract
from streamgauge.records.registry import registry
from streamgauge.settings import Settings
from streamgauge.telemetry import metrics
from streamgauge.telemetry.threads import place_of, supervised, watch_other_threads
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


def run_worker(settings: Settings, contracts: Sequence[Contract]) -> None:
    """Returns after SIGTERM or SIGINT, when what was read has been committed."""
    stop = threading.Event()
    watch_other_threads()

    def handler(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, handler)
    threads = [supervised(c.stream, lambda contract=c: _run_stream(settings, contract, stop), stop) for c in contracts]
    for thread in threads:
        thread.start()
    log.info("worker for %s", ", ".join(c.stream for c in contracts))
    # the kernel may hand a signal to any thread, and only a main thread that wakes up runs its handler
    while not stop.wait(_SIGNAL_SECONDS):
        pass
    log.info("stopping")
    until = time.monotonic() + _STOP_SECONDS
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    log.info("stopped")


def _run_stream(settings: Settings, contract: Contract, stop: threading.Event) -> None:
    owner = f"{socket.gethostname()}:{os.getpid()}"
    # the session repeats what fails, so one attempt at a time, and a short one
    client = registry(settings, attempts=1, timeout=2.0)
    publisher = Publisher(settings, contract, client, stop)
    publishing = supervised(f"{contract.stream}-publish", publisher.run, stop)
    publishing.start()
    pause = 0.5
    isolation = Isolation()
    metrics.READABLE.add([], contract.stream)
    metrics.SET_ASIDE.add(0, {"stream": contract.stream})
    while not stop.is_set():
        started = time.monotonic()
        try:
            Session(settings, contract, client, owner, stop, publisher.committed, isolation).run()
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


def what_ended(e: Exception) -> str:
    """The text of an error that nobody foresaw may quote an event: only its type and place are told."""
    if not unforeseen(e):
        return f"{type(e).__name__}: {e}"
    return f"{type(e).__name__}{place_of(e)}"
