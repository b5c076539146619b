"""Whether threads move, and what they wait for."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class _Beat:
    thread: str
    at: float
    waiting_for: str | None


class Heartbeats:
    """Of some threads, each of which alone writes its own; others may read."""

    def __init__(self) -> None:
        self._beats: dict[int, _Beat] = {}

    @contextmanager
    def of_thread(self, name: str) -> Generator[None]:
        """While the block lasts, the calling thread is expected to beat."""
        me = threading.get_ident()
        self._beats[me] = _Beat(name, time.monotonic(), None)
        try:
            yield
        finally:
            self._beats.pop(me, None)

    def beat(self) -> None:
        """The calling thread moves."""
        before = self._beats.get(me := threading.get_ident())
        if before is not None:
            self._beats[me] = replace(before, at=time.monotonic())

    def wait_for(self, server: str | None) -> None:
        """The calling thread moves, and gets nowhere without this server until it says None."""
        before = self._beats.get(me := threading.get_ident())
        if before is not None:
            self._beats[me] = _Beat(before.thread, time.monotonic(), server)

    def silent(self, seconds: float) -> list[str]:
        """Threads whose last beat is longer ago than that."""
        since = time.monotonic() - seconds
        return sorted(b.thread for b in list(self._beats.values()) if b.at < since)

    def waiting_for(self) -> list[str]:
        return sorted({b.waiting_for for b in list(self._beats.values()) if b.waiting_for is not None})
