"""One at a time for all who ask the same."""

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Who asks while another's question is under way gets its answer, and so does who asks within `keep_seconds`."""

    def __init__(self, keep_seconds: float = 0.0) -> None:
        self._keep = keep_seconds
        self._lock = threading.Lock()
        self._flights: dict[Hashable, Future[T]] = {}
        self._landed: dict[Hashable, float] = {}

    def do(self, key: Hashable, work: Callable[[], T]) -> T:
        with self._lock:
            flight = self._flights.get(key)
            stale = key in self._landed and time.monotonic() - self._landed[key] > self._keep
            first = flight is None or stale
            if first:
                flight = self._flights[key] = Future()
                self._landed.pop(key, None)
        assert flight is not None
        if not first:
            return flight.result()
        try:
            flight.set_result(work())
        except BaseException as e:
            flight.set_exception(e)
            self._forget(key, flight)
        else:
            with self._lock:
                self._landed[key] = time.monotonic()
        return flight.result()

    def _forget(self, key: Hashable, flight: Future[T]) -> None:
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
