"""What is left of each promise's error budget, how fast it goes, and the hours that used most of it."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.stores.prometheus import Labels, Prometheus

WINDOW = timedelta(days=30)
_OBJECTIVE, _REMAINING, _BURN = (
    "streamgauge:slo_objective:ratio",
    "streamgauge:slo_error_budget_remaining:ratio30d",
    "streamgauge:slo_burn_rate:ratio1h",
)
_BAD = "30 * sum_over_time(streamgauge:slo_bad:rate5m[1h])"
"""In an hour: a rate's sample stands for the 30 s between two evaluations of its rule."""
_WORST = 3
_KEEP_SECONDS = 300.0
"""Thirty days of hours cost Prometheus a tenth of a second or more: not each time that a page asks."""

Key = tuple[str, str]
"""A promise and its stream; "" where it is of none."""


@dataclass(frozen=True)
class Burnt:
    """An hour (its start, UTC), how many missed the promise in it (of correctness: seconds), and which share that is of
    all that did in 30 days."""

    hour: datetime
    bad: float
    share: float


@dataclass(frozen=True)
class Budget:
    """`remaining`: 1 is all of it, below 0 the promise is broken. `burn_rate`: how many times as fast as allowed."""

    name: str
    stream: str | None
    objective: float | None
    remaining: float | None
    burn_rate: float | None
    burnt: tuple[Burnt, ...]

    def as_json(self) -> dict[str, Any]:
        burnt = [{**asdict(b), "hour": b.hour.isoformat()} for b in self.burnt]
        return {**asdict(self), "window": f"{WINDOW.days}d", "burnt": burnt}


class Budgets:
    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._lock = threading.Lock()
        self._worst: dict[Key, tuple[Burnt, ...]] = {}
        self._worst_at = -_KEEP_SECONDS

    def read(self, now: datetime) -> list[Budget] | None:
        """None where Prometheus doesn't answer."""
        found = [self._prometheus.at_once(e) for e in (_REMAINING, _OBJECTIVE, _BURN)]
        worst = self._worst_hours(now)
        if worst is None or any(f is None for f in found):
            return None
        remaining, objectives, burns = (f or [] for f in found)
        objective = {labels.get("slo", ""): value for labels, value in objectives}
        burn = {_key(labels): value for labels, value in burns}
        return [
            Budget(
                name=key[0],
                stream=key[1] or None,
                objective=objective.get(key[0]),
                remaining=_number(value),
                burn_rate=_number(burn.get(key)),
                burnt=worst.get(key, ()),
            )
            for key, value in sorted((_key(labels), value) for labels, value in remaining)
        ]

    def _worst_hours(self, now: datetime) -> dict[Key, tuple[Burnt, ...]] | None:
        with self._lock:
            if time.monotonic() - self._worst_at >= _KEEP_SECONDS:
                end = hour_start(now) + HOUR
                found = self._prometheus.over_time(_BAD, end - WINDOW, end, HOUR)
                if found is None:
                    return None
                self._worst = {_key(labels): worst_hours(values) for labels, values in found}
                self._worst_at = time.monotonic()
            return self._worst


def worst_hours(values: Iterable[tuple[datetime, float]]) -> tuple[Burnt, ...]:
    """The worst first. `values` are of the hours that end at these times."""
    bad: Sequence[tuple[datetime, float]] = [(end - HOUR, value) for end, value in values if value > 0]
    total = sum(value for _, value in bad)
    worst = sorted(bad, key=lambda hour: -hour[1])[:_WORST]
    return tuple(Burnt(hour, value, value / total) for hour, value in worst)


def _key(labels: Labels) -> Key:
    return labels.get("slo", ""), labels.get("stream", "")


def _number(value: float | None) -> float | None:
    """JSON has no NaN."""
    return None if value is None or value != value else value
