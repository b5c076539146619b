"""How long a session lasts, and the waiting of its threads, none of which may outlast it."""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TypeVar

from streamgauge.telemetry.logs import bound_to
from streaming.worker.heartbeats import Heartbeats

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
"""How often a thread that waits looks whether the session is over: a session lasts so much longer than it should."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Between attempts, in seconds: one lost answer costs next to nothing, and a server that comes back isn't overrun, nor
waited for much longer than it was away.
"""

T = TypeVar("T")


@dataclass
class Waits:
    """Seconds that one stage's thread has waited since its session began: for something to do, and for room behind it.
    That thread alone writes them; others may read.
    """

    idle: float = 0.0
    backpressured: float = 0.0


class Ended(Exception):
    """The session is over; what was being waited for is no longer wanted."""


class Lifetime:
    """Lasts until `end`, or until one of the threads fails."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._ended = threading.Event()
        self.heartbeats = Heartbeats()
        self.failure: BaseException | None = None
        """The first thing that went wrong."""

    @property
    def over(self) -> bool:
        return self._ended.is_set() or self.failure is not None

    def end(self) -> None:
        self._ended.set()

    def fail(self, e: BaseException) -> None:
        if self.failure is None and not isinstance(e, Ended):
            self.failure = e

    def guard(self, name: str, work: Callable[[], None]) -> None:
        """What a thread does, and the session's end if it fails."""
        try:
            with bound_to(stream=self._stream), self.heartbeats.of_thread(f"{self._stream}_{name}"):
                work()
        except BaseException as e:
            self.fail(e)

    def retry(self, passing: type[Exception], server: str, attempt: Callable[[], T], seconds: float | None = None) -> T:
        """Repeats `attempt` with growing pauses while it raises `passing`, for so many seconds if they are given."""
        since, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            try:
                result = attempt()
            except passing as e:
                self.heartbeats.wait_for(server)
                if seconds is not None and time.monotonic() - since > seconds:
                    raise
                if pause == _FIRST_PAUSE:
                    log.warning("%s: waiting for %s: %s", self._stream, server, str(e).strip())
                if self._ended.wait(pause * random.uniform(0.5, 1.0)):
                    raise Ended from e
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                self.heartbeats.wait_for(None)
                if pause > _FIRST_PAUSE:
                    log.info("%s: %s is back after %.1f s", self._stream, server, time.monotonic() - since)
                return result

    def offer(self, to: "queue.Queue[T]", item: T, waits: Waits) -> bool:
        """Whether there was room for it soon."""
        if self.over:
            raise Ended
        self.heartbeats.beat()
        since = time.monotonic()
        try:
            to.put(item, timeout=TICK_SECONDS)
        except queue.Full:
            return False
        finally:
            waits.backpressured += time.monotonic() - since
        return True

    def put(self, to: "queue.Queue[T]", item: T, waits: Waits) -> None:
        while not self.offer(to, item, waits):
            pass

    def get(self, source: "queue.Queue[T]", meanwhile: Callable[[], None], waits: Waits) -> T:
        """`meanwhile` is called whenever there was nothing for a moment."""
        while True:
            self.heartbeats.beat()
            since = time.monotonic()
            try:
                return source.get(timeout=TICK_SECONDS)
            except queue.Empty:
                if self.over:
                    raise Ended from None
            finally:
                waits.idle += time.monotonic() - since
            meanwhile()

    def result(self, of: Future[T], meanwhile: Callable[[], None], waits: Waits) -> T:
        while not self._done(of, waits):
            if self.over:
                raise Ended
            meanwhile()
        if of.cancelled():
            raise Ended
        return of.result()

    def _done(self, of: Future[T], waits: Waits) -> bool:
        self.heartbeats.beat()
        since = time.monotonic()
        done = wait([of], TICK_SECONDS).done
        waits.idle += time.monotonic() - since
        return bool(done)
