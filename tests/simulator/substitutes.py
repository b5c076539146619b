"""What stands for Python's own modules in the simulated worker: time, threads, queues, chance, names."""

import queue as real_queue
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Generic, TypeVar

from greenlet import GreenletExit

from tests.simulator.scheduler import Waiters, scheduler

T = TypeVar("T")

WALL = 1_700_000_040.0
"""Epoch seconds at the simulation's beginning."""


def module(name: str, **members: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(members)
    return made


def overlay(real: ModuleType, **members: Any) -> ModuleType:
    """A module with some members replaced."""
    return module(real.__name__, **{**vars(real), **members})


def wall(ahead: float = 0.0) -> float:
    """Epoch seconds, by a clock that is so far ahead of the site's."""
    return WALL + scheduler().now + scheduler().jumped + ahead


def _ahead() -> float:
    task = scheduler().current
    return 0.0 if task is None else task.process.ahead


def _monotonic() -> float:
    return 1_000.0 + scheduler().now


def _sleep(seconds: float) -> None:
    scheduler().sleep(seconds)


class Event:
    def __init__(self) -> None:
        self._set = False
        self._waiters: Waiters = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        scheduler().wake(self._waiters)

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            scheduler().wait(self._waiters, timeout)
        return self._set


class Thread:
    def __init__(
        self, *, target: Callable[..., None], args: tuple[Any, ...] = (), name: str = "thread", daemon: bool = False
    ) -> None:
        del daemon
        self.name = name
        self._target = target
        self._args = args
        self._ended = Event()

    def start(self) -> None:
        scheduler().spawn(scheduler().alive().process, self.name, self._run)

    def join(self, timeout: float | None = None) -> None:
        self._ended.wait(timeout)

    def is_alive(self) -> bool:
        return not self._ended.is_set()

    def _run(self) -> None:
        try:
            self._target(*self._args)
        finally:
            self._ended.set()


class Queue(Generic[T]):
    def __init__(self, maxsize: int = 0) -> None:
        self._most = maxsize
        self._items: deque[T] = deque()
        self._putters: Waiters = []
        self._getters: Waiters = []

    def qsize(self) -> int:
        return len(self._items)

    def put(self, item: T, timeout: float) -> None:
        if len(self._items) >= self._most > 0:
            scheduler().wait(self._putters, timeout)
            if len(self._items) >= self._most:
                raise real_queue.Full
        self._items.append(item)
        scheduler().wake(self._getters)

    def get(self, timeout: float) -> T:
        if not self._items:
            scheduler().wait(self._getters, timeout)
            if not self._items:
                raise real_queue.Empty
        item = self._items.popleft()
        scheduler().wake(self._putters)
        return item


class Future(Generic[T]):
    def __init__(self) -> None:
        self.waiters: Waiters = []
        self._done = self._cancelled = self._running = False
        self._result: T | None = None
        self._error: BaseException | None = None

    def run(self, work: Callable[[], T]) -> None:
        self._running = True
        try:
            self._result = work()
        except GreenletExit:
            raise
        except BaseException as e:
            self._error = e
        self._finish()

    def cancel(self) -> bool:
        if not self._running and not self._done:
            self._cancelled = True
            self._finish()
        return self._cancelled

    def cancelled(self) -> bool:
        return self._cancelled

    def done(self) -> bool:
        return self._done

    def result(self) -> T:
        if self._cancelled:
            raise CancelledError
        if self._error is not None:
            raise self._error
        return self._result  # pyright: ignore[reportReturnType]

    def _finish(self) -> None:
        self._done = True
        scheduler().wake(self.waiters)


@dataclass(frozen=True)
class _Waited:
    done: set[Future[Any]]


def _wait(futures: Sequence[Future[Any]], timeout: float) -> _Waited:
    (future,) = futures
    if not future.done():
        scheduler().wait(future.waiters, timeout)
    return _Waited({future} if future.done() else set())


class Executor:
    def __init__(self, most: int, thread_name_prefix: str = "pool") -> None:
        self._most = most
        self._name = thread_name_prefix
        self._busy = 0
        self._todo: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, work: Callable[..., T], *args: Any) -> Future[T]:
        future = Future[T]()
        self._todo.append((future, lambda: work(*args)))
        if self._busy < self._most:
            self._busy += 1
            scheduler().spawn(scheduler().alive().process, self._name, self._run)
        return future

    def shutdown(self, wait: bool, cancel_futures: bool) -> None:
        assert cancel_futures and not wait
        for future, _ in self._todo:
            future.cancel()

    def _run(self) -> None:
        while self._todo:
            future, work = self._todo.popleft()
            if not future.done():
                future.run(work)
        self._busy -= 1


def python_modules() -> dict[str, ModuleType]:
    return {
        "time": module(
            "time",
            monotonic=_monotonic,
            time=lambda: wall(_ahead()),
            time_ns=lambda: int(wall(_ahead()) * 1e9),
            sleep=_sleep,
        ),
        "threading": module("threading", Event=Event, Thread=Thread, get_ident=lambda: id(scheduler().current)),
        "queue": module("queue", Queue=Queue, Full=real_queue.Full, Empty=real_queue.Empty),
        "concurrent.futures": module("concurrent.futures", Future=Future, ThreadPoolExecutor=Executor, wait=_wait),
        "random": module("random", uniform=lambda low, high: scheduler().random.uniform(low, high)),  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
        "socket": module("socket", gethostname=lambda: scheduler().alive().process.name),
        "os": module("os", getpid=lambda: scheduler().alive().process.number),
        "signal": module("signal"),
    }
