"""From two layers' minutes to one verdict an hour."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from quality.reconciliation.compare import DIFFERS, UNLIKE_FACTS, Difference, HourState, beside, explain
from quality.reconciliation.gather import Gathered
from quality.reconciliation.layers import MINUTE
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_start

FIGURES = ("buckets", "explained", "unexplained", "facts", "counted", "late", "duplicates", "batch_duplicates")
"""What of a result is numbers, in the order in which people see them."""


@dataclass(frozen=True)
class LayerMinutes:
    """Each with its minutes of the same hours; see `quality.reconciliation.layers`."""

    speed: pl.DataFrame
    batch: pl.DataFrame
    facts: pl.DataFrame


@dataclass(frozen=True)
class HourResult:
    """Counts of buckets and of records. A bucket is unexplained if one of its figures is."""

    hour: datetime
    buckets: int
    explained: int
    unexplained: int
    facts: int
    counted: int
    late: int
    duplicates: int
    batch_duplicates: int
    differences: tuple[Difference, ...]
    waits_for: str | None
    """What the hour still lacks to be final; None if nothing."""

    @property
    def passed(self) -> bool:
        return self.unexplained == 0

    @property
    def fingerprint(self) -> str | None:
        """Of the differences that nothing explains: the same as long as these are. None where all is explained."""
        apart = sorted(repr((d.bucket, d.measure, d.speed, d.batch)) for d in self.differences if not d.explained)
        return hashlib.sha256("\n".join(apart).encode()).hexdigest()[:16] if apart else None


def evaluate(
    contract: Contract,
    hours: Sequence[datetime],
    layers: LayerMinutes,
    gather: Callable[[pl.DataFrame], Gathered],
    state_of: Callable[[datetime, datetime | None], HourState],
    waits_for: Callable[[datetime], str | None],
) -> list[HourResult]:
    """`gather` is asked for the buckets that differ, `state_of` for an hour and when its first facts came in."""
    rows = beside(contract, layers.speed, layers.batch, layers.facts)
    differing = rows.filter(pl.col(DIFFERS) | pl.col(UNLIKE_FACTS))
    gathered = gather(differing) if len(differing) else Gathered({}, {})
    states = {h: state_of(h, gathered.came_in.get(h)) for h in hours}
    found = explain(contract, differing, gathered.evidence, lambda minute: states[hour_start(minute)])
    by_hour: dict[datetime, list[Difference]] = defaultdict(list)
    for difference in found:
        by_hour[hour_start(difference.bucket[0])].append(difference)
    totals = _totals(rows)
    return [_result(h, totals.get(h, {}), by_hour[h], waits_for(h)) for h in hours]


def _totals(rows: pl.DataFrame) -> dict[datetime, dict[str, int]]:
    names = {
        "facts": "__batch_count",
        "counted": "__speed_count",
        "late": "__speed_late",
        "duplicates": "__speed_duplicates",
        "batch_duplicates": "__batch_duplicates",
    }
    sums = rows.group_by(pl.col(MINUTE).dt.truncate(HOUR).alias("hour")).agg(
        pl.len().alias("buckets"), *(pl.col(c).sum().alias(n) for n, c in names.items())
    )
    return {row.pop("hour"): row for row in sums.to_dicts()}


def _result(
    hour: datetime, totals: Mapping[str, int], differences: list[Difference], waits_for: str | None
) -> HourResult:
    unexplained = {d.bucket for d in differences if not d.explained}
    waiting = next((d.explanation for d in differences if d.waits), None)
    return HourResult(
        hour=hour,
        buckets=totals.get("buckets", 0),
        explained=len({d.bucket for d in differences} - unexplained),
        unexplained=len(unexplained),
        facts=totals.get("facts", 0),
        counted=totals.get("counted", 0),
        late=totals.get("late", 0),
        duplicates=totals.get("duplicates", 0),
        batch_duplicates=totals.get("batch_duplicates", 0),
        differences=tuple(differences),
        waits_for=waits_for or waiting,
    )
