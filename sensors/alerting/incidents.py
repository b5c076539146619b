"""From what is wrong now to what is to be reported: one incident a cause, from its first message to its end. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

Severity = Literal["warning", "critical"]
Status = Literal["firing", "resolved"]


@dataclass(frozen=True)
class Alert:
    """Something wrong now. `cause` is the same for as long as it is the same thing; `asset` is empty, or a
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
    """An alert from its first message to its end. `warned_at` and `escalated_at`: which messages went out.

    `accepted_at`: a person took what failed for settled, which ends it.
    """

    id: str
    alert: Alert
    raised_at: datetime
    warned_at: datetime | None
    escalated_at: datetime | None
    resolved_at: datetime | None = None
    accepted_at: datetime | None = None

    @property
    def reported(self) -> list[Severity]:
        reported: list[Severity] = []
        if self.warned_at is not None:
            reported.append("warning")
        if self.escalated_at is not None:
            reported.append("critical")
        return reported


@dataclass(frozen=True)
class Acceptance:
    """A person took for settled whatever of the asset failed before."""

    asset: str
    at: datetime


@dataclass(frozen=True)
class Message:
    """To every target. An incident's messages go out in their order."""

    incident: str
    status: Status
    severity: Severity


def update(
    alerts: Iterable[Alert], firing: Sequence[Incident], now: datetime, new_id: Callable[[], str]
) -> tuple[list[Incident], list[Message]]:
    """Incidents as they are now, those that just ended among them, and what to say.

    Severity only rises. Who was warned hears of the end, and so does who was paged: each as often as of the beginning.
    An accepted incident ends, and what stands of its cause all the same is a new one.
    """
    wrong = {p.cause: p for p in one_per_asset(alerts, firing)}
    incidents: list[Incident] = []
    messages: list[Message] = []
    for i in firing:
        p = None if i.accepted_at is not None else wrong.pop(i.alert.cause, None)
        if p is None:
            incidents.append(replace(i, resolved_at=now))
            messages += [Message(i.id, "resolved", s) for s in i.reported]
            continue
        if i.alert.severity == "critical":
            p = replace(p, severity="critical")
        after = replace(i, alert=replace(p, since=min(p.since, i.alert.since)))
        if p.severity == "critical" and i.escalated_at is None:
            after = replace(after, escalated_at=now)
            messages.append(Message(i.id, "firing", "critical"))
        incidents.append(after)
    for p in wrong.values():
        critical = p.severity == "critical"
        incident = Incident(new_id(), p, now, None if critical else now, now if critical else None)
        incidents.append(incident)
        messages.append(Message(incident.id, "firing", p.severity))
    return incidents, messages


def one_per_asset(alerts: Iterable[Alert], firing: Iterable[Incident]) -> list[Alert]:
    """An asset's failed run, failed check and staleness are one thing: the one reported first stands for them all."""
    reported = {i.alert.cause for i in firing if i.resolved_at is None and i.accepted_at is None}
    by_asset: dict[str, list[Alert]] = {}
    for p in alerts:
        by_asset.setdefault(p.asset or p.cause, []).append(p)
    kept: list[Alert] = []
    for together in by_asset.values():
        already = [p for p in together if p.cause in reported]
        first = already or together[:1]
        others = [p for p in together if p not in first]
        worst: Severity = "critical" if any(p.severity == "critical" for p in together) else "warning"
        more = "".join(f" {p.summary}." for p in others if f" {p.summary}." not in first[0].description)
        kept.append(replace(first[0], severity=worst, description=first[0].description + more))
        kept += first[1:]
    return kept


def asset_url(alert: Alert, dagster_url: str | None) -> str | None:
    """The asset's page; servers have none."""
    return f"{dagster_url}/assets/{alert.asset}" if dagster_url and "/" in alert.asset else None
