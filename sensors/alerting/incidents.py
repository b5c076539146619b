"""From what is wrong now to what is to be told: one incident a cause, from its first message to its recovery. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

Severity = Literal["warning", "critical"]
Status = Literal["firing", "resolved"]


@dataclass(frozen=True)
class Problem:
    """Something wrong at this moment. `cause` is the same for as long as it is the same thing; `asset` is empty, or a
    server's name, where it is no asset's. `runbook` is a link.

    Texts hold names, numbers and times, never a value from an event.
    """

    cause: str
    name: str
    severity: Severity
    stream: str
    asset: str
    owner: str
    summary: str
    description: str
    runbook: str
    since: datetime
    downstream: tuple[str, ...] = ()


@dataclass(frozen=True)
class Incident:
    """A problem that people were told of. `warned` and `escalated`: which messages went out."""

    id: str
    problem: Problem
    raised_at: datetime
    warned_at: datetime | None
    escalated_at: datetime | None
    resolved_at: datetime | None = None

    @property
    def told(self) -> list[Severity]:
        told: list[Severity] = []
        if self.warned_at is not None:
            told.append("warning")
        if self.escalated_at is not None:
            told.append("critical")
        return told


@dataclass(frozen=True)
class Message:
    """To every target. An incident's messages are told in their order."""

    incident: str
    status: Status
    severity: Severity


def update(
    problems: Iterable[Problem], firing: Sequence[Incident], now: datetime, new_id: Callable[[], str]
) -> tuple[list[Incident], list[Message]]:
    """Incidents as they are now, those that just ended among them, and what to say.

    Severity only rises. Who was warned is told of the end, and so is who was paged: each as often as of the beginning.
    """
    wrong = {p.cause: p for p in one_a_cause(problems, firing)}
    incidents: list[Incident] = []
    messages: list[Message] = []
    for i in firing:
        p = wrong.pop(i.problem.cause, None)
        if p is None:
            incidents.append(replace(i, resolved_at=now))
            messages += [Message(i.id, "resolved", s) for s in i.told]
            continue
        if i.problem.severity == "critical":
            p = replace(p, severity="critical")
        after = replace(i, problem=replace(p, since=min(p.since, i.problem.since)))
        if p.severity == "critical" and i.escalated_at is None:
            after = replace(after, escalated_at=now)
            messages.append(Message(i.id, "firing", "critical"))
        incidents.append(after)
    for p in wrong.values():
        critical = p.severity == "critical"
        made = Incident(new_id(), p, now, None if critical else now, now if critical else None)
        incidents.append(made)
        messages.append(Message(made.id, "firing", p.severity))
    return incidents, messages


def one_a_cause(problems: Iterable[Problem], firing: Iterable[Incident]) -> list[Problem]:
    """An asset's failed run, failed check and staleness are one thing: the one told first stands for all of them."""
    told = {i.problem.cause for i in firing if i.resolved_at is None}
    by_asset: dict[str, list[Problem]] = {}
    for p in problems:
        by_asset.setdefault(p.asset or p.cause, []).append(p)
    kept: list[Problem] = []
    for together in by_asset.values():
        already = [p for p in together if p.cause in told]
        first = already or together[:1]
        others = [p for p in together if p not in first]
        worst: Severity = "critical" if any(p.severity == "critical" for p in together) else "warning"
        more = "".join(f" {p.summary}." for p in others)
        kept.append(replace(first[0], severity=worst, description=first[0].description + more))
        kept += first[1:]
    return kept


def asset_url(problem: Problem, dagster_url: str | None) -> str | None:
    """The asset's page; servers have none."""
    return f"{dagster_url}/assets/{problem.asset}" if dagster_url and "/" in problem.asset else None
