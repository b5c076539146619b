"""What a report says, whatever it is written as."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from quality.checks.quarantine import quarantined_share
from quality.outcome import CheckOutcome, Sample, Status
from quality.results import Result
from streamgauge.contract.model import Contract, Severity
from streamgauge.dagster.hours import HOUR, hour_key, hour_of

Reading = Literal["sound", "warnings", "errors", "nothing checked"]


@dataclass(frozen=True)
class Hour:
    """An hour of event time. `lake` None: no record of the lake belongs to it."""

    start: datetime
    facts: int = 0
    duplicates: int = 0
    quarantined: int = 0
    late: int = 0
    outdated: bool = False
    final: bool = False
    unexplained: int | None = None
    """Buckets on which the two layers differ; None where they were not compared."""

    @property
    def key(self) -> str:
        return hour_key(self.start)


@dataclass(frozen=True)
class CheckLine:
    """A check over the day's hours."""

    asset: str
    check: str
    severity: Severity
    by_hour: Mapping[str, Result]
    meaning: str = ""

    @property
    def status(self) -> Status:
        found = {r.status for r in self.by_hour.values()}
        return "failed" if "failed" in found else "passed" if "passed" in found else "unknown"

    @property
    def failing(self) -> int:
        return sum(r.failing for r in self.by_hour.values())

    @property
    def denominator(self) -> int:
        return sum(r.denominator for r in self.by_hour.values())

    @property
    def share(self) -> float:
        return self.failing / self.denominator if self.denominator else 0.0

    @property
    def shown(self) -> Result:
        """The hour that says most: the worst that failed, else the latest."""
        failed = [r for r in self.by_hour.values() if r.status == "failed"]
        if failed:
            return max(failed, key=lambda r: (r.share, r.failing, r.partition))
        evaluated = [r for r in self.by_hour.values() if r.status == "passed"]
        return max(evaluated or self.by_hour.values(), key=lambda r: r.partition)

    @property
    def failed_hours(self) -> list[str]:
        return sorted(r.partition for r in self.by_hour.values() if r.status == "failed")


@dataclass(frozen=True)
class Requeue:
    """Dead letters that the worker has of the same records. `requeued`: of those looked at, sent again before."""

    reason: str
    requeued: int


@dataclass(frozen=True)
class QuarantineRule:
    """Records of the day that broke one rule, first of all rules."""

    rule: str
    count: int
    first: str
    last: str
    samples: tuple[Sample, ...]
    requeue: Requeue | None
    """None where the worker has no dead letter of them."""

    def commands(self, contract: Contract) -> list[str]:
        if self.requeue is None:
            return [
                f"streamgauge backfill facts --from {self.first} --to {after(self.last)} --stream {contract.stream}"
            ]
        some = " ".join(s.position for s in self.samples)
        whole = f"streamgauge dead-letters requeue --stream {contract.stream} --reason {self.requeue.reason}"
        return [f"streamgauge dead-letters requeue {some}", whole]


@dataclass(frozen=True)
class Report:
    contract: Contract
    day: str
    made_at: datetime
    hours: Sequence[Hour]
    lines: Sequence[CheckLine]
    quarantine: Sequence[QuarantineRule]
    books: CheckOutcome

    @property
    def reading(self) -> Reading:
        failed = {line.severity for line in self.lines if line.status == "failed"}
        if "error" in failed or self.books.status == "failed":
            return "errors"
        if failed:
            return "warnings"
        return "sound" if any(line.status == "passed" for line in self.lines) else "nothing checked"

    def total(self, what: Literal["facts", "duplicates", "quarantined", "late"]) -> int:
        return sum(getattr(h, what) for h in self.hours)

    @property
    def with_events(self) -> list[Hour]:
        return [h for h in self.hours if h.facts or h.duplicates or h.quarantined]

    @property
    def quarantined_share(self) -> float:
        return quarantined_share(self.total("facts") + self.total("duplicates"), self.total("quarantined"))

    @property
    def failing(self) -> list[CheckLine]:
        return [line for line in self.lines if line.status == "failed"]

    def figures(self) -> dict[str, Any]:
        """For Dagster's metadata."""
        return {
            "reading": self.reading,
            "facts": self.total("facts"),
            "duplicates": self.total("duplicates"),
            "quarantined": self.total("quarantined"),
            "late for the speed layer": self.total("late"),
            "checks": len(self.lines),
            "checks that failed": len(self.failing),
            "hours with events": len(self.with_events),
            "hours final": sum(h.final for h in self.hours),
        }


def after(key: str) -> str:
    return hour_key(hour_of(key) + HOUR)
