"""What happens in a run, drawn from its seed: what is sent, and what goes wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from tests.simulator.faults import MISHAPS, STEPS, AtStep, AtTime, Event, Fault, Mishap, Step
from tests.simulator.postgres import POISON
from tests.simulator.stream import BROKEN, TOLERANCE_S, Content, Reading
from tests.simulator.substitutes import WALL

METRICS = ("cpu", "disk")
UNITS = ("s", "By", "1")


@dataclass(frozen=True)
class Sending:
    """At so many seconds a record is appended; None is an offset without one, such as a transaction's marker."""

    at: float
    partition: int
    key: bytes | None
    content: Content | None


@dataclass(frozen=True)
class Scenario:
    """`letters` is the contract's limit on dead letters, `most` how many records may come at once."""

    seed: int
    partitions: int
    processes: int
    letters: int
    most: int
    sendings: tuple[Sending, ...]
    faults: tuple[Fault, ...]

    @property
    def ends(self) -> float:
        """When everything has been sent and nothing goes wrong any more."""
        ends = [f.at + (f.seconds if f.seconds < FOR_EVER else _ACCEPTED) for f in self.faults]
        return max([s.at for s in self.sendings] + ends, default=0.0) + 1.0


_DURATION = 14.0
FOR_EVER = 1_000.0
_ACCEPTED = 20.0
"""After so many seconds others must have come to terms with what lasts for ever."""
_RARE = 0.04


def draw(seed: int) -> Scenario:
    random = Random(seed)
    partitions, processes = random.choice((1, 2, 3)), random.choice((1, 1, 2, 2, 3))
    most = random.choice((3, 8, 20, 60))
    bursts = sorted(random.uniform(0.0, _DURATION) for _ in range(random.randint(1, 5)))
    # few kinds in one run meet more often than many
    kinds: list[Kind] = [_kind(random) for _ in range(random.choice((1, 2, 2, 3, 8)))]
    count = random.choice((0, 1, 2, 3, 5))
    drawn = [_fault(random, random.choice(kinds), bursts, processes, partitions) for _ in range(count)]
    faults = sorted((fault for together in drawn for fault in together), key=lambda f: f.at)
    skips = [(f.at, f.seconds) for f in faults if _is(f, "skip")]
    # with a broker's clock that is behind, all that comes is from the future
    letters = random.choice((1, 2, 1_000, 1_000)) if not any(_is(f, "broker clock") for f in faults) else 1_000
    ids = [f"id{i}" for i in range(random.choice((4, 12, 40)))]
    poisoned = random.random() < _RARE
    sendings: list[Sending] = []
    known: list[Reading] = []
    for burst in bursts:
        partition = random.randrange(partitions)
        for _ in range(random.choice((1, 3, 8, 15))):
            at = burst + random.uniform(0.0, 0.3)
            if random.random() < 0.5:
                partition = random.randrange(partitions)
            now_ms = int((WALL + at + sum(s for when, s in skips if when <= at)) * 1000)
            content = _content(random, ids, known, now_ms, poisoned)
            key = content.id.encode() if isinstance(content, Reading) else None
            sendings.append(Sending(at, partition, key, content))
    sendings.sort(key=lambda s: s.at)
    return Scenario(seed, partitions, processes, letters, most, tuple(sendings), tuple(faults))


def _is(fault: Fault, event: Event) -> bool:
    return isinstance(fault, AtTime) and fault.event == event


def _content(random: Random, ids: list[str], known: list[Reading], now_ms: int, poisoned: bool) -> Content | None:
    chance = random.random()
    if chance < 0.05:
        return None
    if chance < 0.11:
        return random.choice(BROKEN)
    if chance < 0.20 and known:
        return random.choice(known)
    behind = random.choice((0, 0, 0, 1, 5, 30, 59, 61, 100, 400, -100, -TOLERANCE_S - 50))
    metric = POISON if poisoned and random.random() < 0.1 else random.choice(METRICS)
    made = Reading(
        random.choice(ids), now_ms - behind * 1000, metric, random.randrange(-8, 9) / 4, random.choice(UNITS)
    )
    known.append(made)
    return made


_SECONDS: dict[Event, tuple[float, ...]] = {
    "crash": (0.2, 3.0, 15.0),
    "freeze": (1.0, 6.0, 12.0, 20.0, 45.0, FOR_EVER),
    "stop": (0.2, 3.0, 12.0),
    "clock": (-3600.0, -20.0, 5.0, 3600.0),
    "broker clock": (-3600.0, -30.0, 30.0, 3600.0),
    "skip": (20.0, 61.0, 130.0, 250.0),
    "postgres away": (0.5, 4.0),
    "kafka away": (0.5, 4.0, 12.0),
    "registry away": (2.0, 8.0),
    "redis away": (1.0, 8.0),
    "redis flushed": (0.0,),
    "retention": (0.0,),
    "recreated": (0.0, 2.0),
    "stalled": (0.0,),
}
_STEP_WEIGHTS: dict[Step, int] = {"commit": 6, "statement": 5, "copy": 2, "committed": 2, "flush": 3}
_EVENT_WEIGHTS: dict[Event, int] = {
    "crash": 4,
    "freeze": 4,
    "stop": 3,
    "skip": 5,
    "recreated": 2,
    "retention": 3,
    "stalled": 1,
}


Kind: TypeAlias = Event | tuple[Step, Mishap]


def _kind(random: Random) -> Kind:
    if random.random() < 0.5:
        step: Step = random.choices(STEPS, [_STEP_WEIGHTS.get(step, 1) for step in STEPS])[0]
        mishap: Mishap = random.choice(MISHAPS)
        return step, mishap
    events = list(_SECONDS)
    event: Event = random.choices(events, [_EVENT_WEIGHTS.get(e, 1) for e in events])[0]
    return event


def _fault(random: Random, kind: Kind, bursts: Sequence[float], processes: int, partitions: int) -> list[Fault]:
    at = random.uniform(0.0, _DURATION)
    if random.random() < 0.7:
        # where there is something to be done
        at = max(0.0, random.choice(bursts) + random.uniform(-0.3, 0.7))
    if isinstance(kind, tuple):
        step, mishap = kind
        seconds = random.choice((0.5, 6.0, 14.0) if mishap != "freeze" else (6.0, 14.0, 45.0, FOR_EVER))
        return [AtStep(at, random.randrange(processes), step, mishap, seconds)]
    which = random.randrange(max(processes, partitions))
    found: list[Fault] = [AtTime(at, kind, which, random.choice(_SECONDS[kind]), random.random())]
    if kind == "skip" and random.random() < 0.5:
        found.append(AtTime(at + 1.0, "crash", random.randrange(processes), 0.2))
    return found
