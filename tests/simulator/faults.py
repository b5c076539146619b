"""What goes wrong, and where: at a time, or at the next step of a kind that a process takes after that time."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.simulator.scheduler import Process, Scheduler

Step: TypeAlias = Literal[
    "connect",
    "statement",
    "copy",
    "commit",
    "committed",
    "fetch",
    "group",
    "ends",
    "topic",
    "flush",
    "registry",
    "redis",
]
"""What a process does with a server. `committed` is between a commit and what comes next."""
STEPS: tuple[Step, ...] = Step.__args__

Mishap: TypeAlias = Literal["crash", "freeze", "lost", "unanswered", "late", "slow"]
"""At a step. `lost` never reaches its server; `unanswered` is done, and the answer is lost; `late` is done some time
after the client has given it up; `slow` takes its time.
"""
MISHAPS: tuple[Mishap, ...] = Mishap.__args__

Event: TypeAlias = Literal[
    "crash", "freeze", "stop", "clock", "broker clock", "skip", "postgres away", "kafka away", "registry away",
    "redis away", "redis flushed", "retention", "recreated", "stalled"
]  # fmt: skip


@dataclass(frozen=True)
class AtStep:
    """From `at` on, the next `step` of a process. `seconds` is how long it is frozen, late or slow, or stays dead."""

    at: float
    process: int
    step: Step
    mishap: Mishap
    seconds: float


@dataclass(frozen=True)
class AtTime:
    """`which` is a process or a partition, `seconds` how long or how far, `share` how much of a log goes."""

    at: float
    event: Event
    which: int
    seconds: float
    share: float = 0.0


Fault: TypeAlias = AtStep | AtTime
Befall: TypeAlias = Callable[[Process, float], None]


class Steps:
    """Takes a process through a step, and whatever befalls it there. `crash` and `freeze` are what they do to it."""

    def __init__(self, scheduler: Scheduler, crash: Befall, freeze: Befall) -> None:
        self._scheduler = scheduler
        self._crash = crash
        self._freeze = freeze
        self._armed: dict[tuple[str, Step], list[AtStep]] = defaultdict(list)
        self.healed = False

    def arm(self, process: str, fault: AtStep) -> None:
        self._armed[process, fault.step].append(fault)

    def take(self, step: Step, seconds: float = 0.004) -> AtStep | None:
        """It takes some of these seconds. What it gives is for the server to do: lost, unanswered or late."""
        scheduler = self._scheduler
        process = scheduler.alive().process
        armed = self._armed.get((process.name, step))
        fault = None
        if armed and not self.healed and armed[0].at <= scheduler.now:
            fault = armed.pop(0)
            self._befall(process, fault)
        if seconds:
            scheduler.sleep(scheduler.random.random() * seconds)
        return fault if fault is not None and fault.mishap in ("lost", "unanswered", "late") else None

    def _befall(self, process: Process, fault: AtStep) -> None:
        if fault.mishap == "crash":
            self._crash(process, fault.seconds)
        elif fault.mishap == "freeze":
            self._freeze(process, fault.seconds)
        elif fault.mishap == "slow":
            self._scheduler.sleep(fault.seconds)
