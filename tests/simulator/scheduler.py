"""Simulated processes and their threads, which take turns in one real thread, and the clock that they live by.

Every thread is a greenlet. It gives its turn away where it waits, and whose turn is next is drawn from the seed; when
nobody has anything to do, the clock moves on to whoever wakes up next. So a run depends on its seed alone.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from greenlet import GreenletExit, getcurrent, greenlet

_MOST_TURNS = 1_000_000
"""A scenario takes some thousands: one that goes round in circles would never end."""


class Failure(Exception):
    """What a run has shown to be wrong."""


@dataclass(eq=False)
class Process:
    """`ahead` is by how many seconds its wall clock is."""

    name: str
    number: int
    ahead: float = 0.0
    dead: bool = False
    frozen_until: float = 0.0
    tasks: list["Task"] = field(default_factory=list["Task"])


@dataclass(eq=False)
class Task:
    """A thread. `turn` counts its turns: what was to wake it up in an earlier one no longer counts."""

    process: Process
    name: str
    runs: greenlet | None = None
    turn: int = 0


Waiters: TypeAlias = list[tuple[Task, int]]
"""Who waits for something, each with the turn that ended by it."""


class Scheduler:
    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = 0.0
        """Seconds since the simulation began."""
        self.jumped = 0.0
        """By how many seconds the wall clocks of the whole site have been set forward."""
        self.turns = 0
        self.current: Task | None = None
        self.failure: Failure | None = None
        self._hub = getcurrent()
        self._ready: list[Task] = []
        self._timers: list[tuple[float, int, Task | None, int, Callable[[], None] | None]] = []
        self._made = 0
        self._processes: list[Process] = []

    def process(self, name: str) -> Process:
        made = Process(name, len(self._processes))
        self._processes.append(made)
        return made

    def spawn(self, process: Process, name: str, work: Callable[[], None]) -> Task:
        task = Task(process, name)

        def run() -> None:
            try:
                work()
            except GreenletExit:
                pass
            except Exception as e:
                ended = Failure(f"the thread {name} of {process.name} ended by {type(e).__name__}: {e}")
                ended.__cause__ = e
                self.failure = self.failure or ended
            finally:
                if task in process.tasks:
                    process.tasks.remove(task)

        task.runs = greenlet(run, self._hub)
        process.tasks.append(task)
        self._ready.append(task)
        return task

    def alive(self) -> Task:
        """The thread whose turn it is. What a thread of a dead process does on its way out has no effect."""
        task = self.current
        assert task is not None, "only a simulated thread can wait"
        if task.process.dead:
            raise GreenletExit
        return task

    def wait(self, waiters: Waiters | None, seconds: float | None) -> None:
        """Ends this thread's turn until somebody wakes it, or so many seconds have passed. What it waits for must be
        looked at again.
        """
        task = self.alive()
        task.turn += 1
        if waiters is not None:
            waiters.append((task, task.turn))
        if seconds is not None:
            self._push(self.now + max(seconds, 0.0), task, task.turn, None)
        self._hub.switch()
        self.alive()

    def sleep(self, seconds: float) -> None:
        self.wait(None, seconds)

    def wake(self, waiters: Waiters) -> None:
        for task, turn in waiters:
            self._resume(task, turn)
        waiters.clear()

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Does something between two turns. It must not wait."""
        self._push(when, None, 0, action)

    def fail(self, text: str) -> None:
        """Ends the run. Where a thread has the turn it gets no other: it could go on with what is wrong."""
        self.failure = self.failure or Failure(text)
        if self.current is not None and getcurrent() is not self._hub:
            self._hub.switch()

    def freeze(self, process: Process, seconds: float) -> None:
        """No thread of it has a turn in that time, as after SIGSTOP."""
        process.frozen_until = max(process.frozen_until, self.now + seconds)

    def kill(self, process: Process) -> None:
        """As SIGKILL: its threads get no other turn."""
        process.dead = True
        if getcurrent() is self._hub:
            self._end(process)
        else:
            self.at(self.now, lambda: self._end(process))
            self.alive()

    def run(self, done: Callable[[], bool]) -> None:
        """Until `done` is true between two moments. Raises Failure."""
        while self.failure is None and (self._ready or not done()):
            if self._ready:
                self._one_turn()
            elif self._timers:
                self._next_moment()
            else:
                self.fail("nobody will ever wake up again")
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        for process in self._processes:
            process.dead = True
            self._end(process)

    def _one_turn(self) -> None:
        self.turns += 1
        if self.turns > _MOST_TURNS:
            self.fail(f"no end after {_MOST_TURNS} turns")
            return
        place = self.random.randrange(len(self._ready)) if len(self._ready) > 1 else 0
        self._ready[place], self._ready[-1] = self._ready[-1], self._ready[place]
        task = self._ready.pop()
        process = task.process
        if process.dead:
            return
        if process.frozen_until > self.now:
            task.turn += 1
            self._push(process.frozen_until, task, task.turn, None)
            return
        assert task.runs is not None
        self.current = task
        task.runs.switch()
        self.current = None

    def _next_moment(self) -> None:
        when, _, task, turn, action = heapq.heappop(self._timers)
        if task is not None and task.turn != turn:
            return
        self.now = max(self.now, when)
        if action is not None:
            action()
        elif task is not None:
            self._resume(task, turn)

    def _resume(self, task: Task, turn: int) -> None:
        if task.turn == turn and not task.process.dead:
            task.turn += 1
            self._ready.append(task)

    def _push(self, when: float, task: Task | None, turn: int, action: Callable[[], None] | None) -> None:
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, task, turn, action))

    def _end(self, process: Process) -> None:
        for task in list(process.tasks):
            task.turn += 1
            if task.runs is not None and not task.runs.dead:
                self.current = task
                task.runs.throw(GreenletExit)
        self.current = None
        process.tasks.clear()


_running: Scheduler | None = None


def scheduler() -> Scheduler:
    """That of the simulation that runs: what stands for Python's own modules has no other way to it."""
    assert _running is not None, "no simulation runs"
    return _running


def enter(made: Scheduler | None) -> None:
    global _running
    _running = made
