"""What a check found. Every check is a function from what it looks at to one of these."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from streamgauge.contract.model import Severity

Status = Literal["passed", "failed", "unknown"]
SAMPLES = 10


@dataclass(frozen=True)
class Sample:
    """A failing row: where it lies in Kafka, and its fields as `quality.masking` lets them be shown."""

    rule: str
    topic: str
    partition: int
    offset: int
    fields: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def position(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    def as_json(self) -> dict[str, Any]:
        return {"rule": self.rule, "position": self.position, "fields": dict(self.fields)}


@dataclass(frozen=True)
class CheckOutcome:
    """`unknown` where there is not enough to judge by: that is neither passed nor failed.

    No text here may hold a value of a record, but for the samples.
    """

    check: str
    status: Status
    severity: Severity
    observed: str
    expected: str
    failing: int = 0
    denominator: int = 0
    samples: tuple[Sample, ...] = ()
    details: Mapping[str, float | int | str] = field(default_factory=dict[str, float | int | str])

    @property
    def share(self) -> float:
        return self.failing / self.denominator if self.denominator else 0.0


def verdict(passed: bool) -> Status:
    return "passed" if passed else "failed"


def combined(check: str, outcomes: Mapping[str, CheckOutcome]) -> CheckOutcome:
    """One outcome for a range of partitions: as bad as the worst of them. Not for an empty range."""
    by_status: dict[Status, list[str]] = {"failed": [], "passed": [], "unknown": []}
    for partition, outcome in outcomes.items():
        by_status[outcome.status].append(partition)
    worst: Status = next(status for status in ("failed", "passed", "unknown") if by_status[status])
    named = ", ".join(by_status["failed"][:5]) + (" …" if len(by_status["failed"]) > 5 else "")
    tally = ", ".join(f"{len(keys)} {status}" for status, keys in by_status.items() if keys)
    first = next(iter(outcomes.values()))
    return CheckOutcome(
        check,
        worst,
        first.severity,
        observed=f"{len(outcomes)} partitions: {tally}" + (f" ({named})" if named else ""),
        expected=first.expected,
        failing=sum(o.failing for o in outcomes.values()),
        denominator=sum(o.denominator for o in outcomes.values()),
        samples=tuple(s for o in outcomes.values() for s in o.samples)[:SAMPLES],
    )
