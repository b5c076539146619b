"""Data-time freshness: what is stale, evaluated from watermarks alone, and what is merely waiting for it.

A state machine without a clock or a server: (subjects, observations, memory, now) → (memory, what is stale). It rises
from fresh over warning to critical, and falls only to fresh:

- A subject is over its target when now minus its watermark is more. It must be so for a while before it is reported,
  and well under it for a while before it has recovered: nothing flaps.
- One that waits for something upstream that is itself behind is not reported; the upstream one names it. After the
  upstream one is well again it gets time to catch up.
- Once reported it stays reported until it has recovered, whatever happens upstream.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

CRITICAL_AFTER = 2
"""Targets."""
SUSPECT_AFTER = 0.75
"""Of a target: what is so far behind may be why something downstream is stale, even if nobody was alerted yet."""
CALM_BELOW = 0.8
"""Of a target."""
_SHORTEST_HOLD, _LONGEST_HOLD = timedelta(seconds=2), timedelta(minutes=10)
_GRACE_HOLDS = 4


class Phase(IntEnum):
    FRESH = 0
    WARNING = 1
    CRITICAL = 2


@dataclass(frozen=True)
class Subject:
    """What is evaluated: an asset, or a server that assets hang on."""

    key: str
    stream: str
    owner: str
    target: timedelta
    upstream: tuple[str, ...] = ()
    alert: str = "StreamgaugeDataStale"
    runbook: str = "data-stale"
    summary: str = "{key} is stale"

    @property
    def hold(self) -> timedelta:
        """For how long something must be so before it counts."""
        return min(max(self.target / 4, _SHORTEST_HOLD), _LONGEST_HOLD)

    @property
    def grace(self) -> timedelta:
        return _GRACE_HOLDS * self.hold


@dataclass(frozen=True)
class Observation:
    """`watermark` is None where nobody could tell: the last known one goes on ageing."""

    watermark: datetime | None
    detail: str = ""


@dataclass(frozen=True)
class Memory:
    """Of one subject. `since` is when it first was over its target, or calm, without a break."""

    watermark: datetime
    phase: Phase = Phase.FRESH
    over_since: datetime | None = None
    calm_since: datetime | None = None
    excused_until: datetime | None = None


@dataclass(frozen=True)
class Stale:
    """`downstream` is what waits for the subject, nearest first."""

    subject: Subject
    phase: Phase
    watermark: datetime
    detail: str
    downstream: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """`waiting`: subjects that are behind something which is behind itself, or just was."""

    memory: Mapping[str, Memory]
    stale: Sequence[Stale]
    waiting: frozenset[str]


def evaluate(
    subjects: Sequence[Subject],
    observations: Mapping[str, Observation],
    memory: Mapping[str, Memory],
    now: datetime,
) -> Evaluation:
    """Subjects must stand behind what they wait for."""
    known: dict[str, Memory] = {}
    behind: dict[str, bool] = {}
    """Of each subject that is behind or waits for one that is: whether it is more than a suspicion."""
    stale: list[Stale] = []
    for s in subjects:
        seen = observations.get(s.key, Observation(None))
        before = memory.get(s.key) or Memory(watermark=seen.watermark or now)
        waits = [behind[u] for u in s.upstream if u in behind]
        after = _step(s, before, seen.watermark or before.watermark, now, upstream=any(waits) if waits else None)
        known[s.key] = after
        age = now - after.watermark
        if waits or after.phase or age > SUSPECT_AFTER * s.target:
            behind[s.key] = after.phase > Phase.FRESH or any(waits)
        if after.phase:
            stale.append(Stale(s, after.phase, after.watermark, seen.detail, _downstream(s.key, subjects)))
    waiting = frozenset(k for k, m in known.items() if m.excused_until is not None and now < m.excused_until)
    return Evaluation(known, stale, waiting)


def _step(s: Subject, before: Memory, watermark: datetime, now: datetime, upstream: bool | None) -> Memory:
    """`upstream`: None if all is well there, False if something is suspect, True if something is known to be behind."""
    age = now - watermark
    level = Phase((age > s.target) + (age > CRITICAL_AFTER * s.target))
    over_since = (before.over_since or now) if level else None
    calm_since = (before.calm_since or now) if age <= CALM_BELOW * s.target else None
    phase, excused_until = before.phase, before.excused_until
    if upstream or (upstream is False and level < Phase.CRITICAL):
        excused_until = now + s.grace
    excused = excused_until is not None and now < excused_until
    if calm_since and now - calm_since >= s.hold:
        phase, excused_until = Phase.FRESH, excused_until if excused else None
    elif over_since and now - over_since >= s.hold and not excused:
        phase = max(phase, level)
    return Memory(watermark, phase, over_since, calm_since, excused_until)


def _downstream(key: str, subjects: Iterable[Subject]) -> tuple[str, ...]:
    waiting = {key}
    for s in subjects:
        if waiting.intersection(s.upstream):
            waiting.add(s.key)
    return tuple(s.key for s in subjects if s.key in waiting and s.key != key)
