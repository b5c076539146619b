"""What fires now, as one list for everyone who asks: the sensors' incidents in Postgres and the alerts in Alertmanager.

The sensors' alerts are in both. Postgres decides whether they still fire, because Alertmanager may have missed their
end; Alertmanager alone knows the alerts of Prometheus, and what a person has silenced. Where one of the two does not
answer, the list is what the other knows, and says that it may not be whole.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpx

from streamgauge.state import alerts
from streamgauge.state.alerts import Alert
from streamgauge.stores.postgres import Connection
from streamgauge.text import moment, plural

Source = Literal["postgres", "alertmanager"]

_WATCHDOG = "Watchdog"
_TIMEOUT_SECONDS = 3.0
_SILENT = timedelta(minutes=3)
_VARIANTS = frozenset({"severity", "window"})
"""Labels by which alerts of Prometheus differ that say the same thing."""
_SEVERITIES = ("critical", "warning")


@dataclass(frozen=True)
class FiringAlert:
    name: str
    severity: str
    stream: str
    asset: str
    owner: str
    summary: str
    description: str
    since: datetime
    asset_url: str | None
    runbook_url: str | None
    sources: tuple[Source, ...]
    accepted_by: str | None = None
    accepted_because: str | None = None
    """Of a failure that a person accepted: it ends when the sensor looks next."""

    @property
    def state(self) -> Literal["active", "accepted"]:
        return "active" if self.accepted_by is None else "accepted"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "since": self.since.isoformat(), "state": self.state}


@dataclass(frozen=True)
class Incidents:
    """What Postgres knows: the open incidents, and when the alert sensor last finished."""

    alerts: Sequence[Alert]
    heartbeat: datetime | None


@dataclass(frozen=True)
class Firing:
    """`whole`: everyone who could know of an alert answered, and the sensor looks. `notes` are sentences for people."""

    alerts: tuple[FiringAlert, ...]
    notes: tuple[str, ...]
    whole: bool
    alertmanager_answers: bool
    heartbeat: datetime | None
    silent: bool

    @property
    def well(self) -> bool:
        """Nothing fires that nobody accepted, and that is known of everything."""
        return self.whole and not any(a.state == "active" for a in self.alerts)


def read_incidents(connection: Connection) -> Incidents:
    return Incidents(alerts.firing(connection), alerts.heartbeat(connection))


def read_firing(incidents: Callable[[], Incidents | None], alertmanager_url: str | None, now: datetime) -> Firing:
    """`incidents` reads Postgres, and gives None where that does not answer."""
    reported = _read_alertmanager(alertmanager_url) if alertmanager_url else None
    known = incidents()
    notes: list[str] = []
    if known is None:
        notes.append("Postgres does not answer: whether the sensors' alerts still fire is not known.")
    if alertmanager_url is None:
        notes.append("No Alertmanager is set: alerts of Prometheus are not in this list.")
    elif reported is None:
        notes.append("Alertmanager did not answer: alerts of Prometheus are missing in this list.")
    heartbeat = known.heartbeat if known is not None else None
    silent = known is not None and (heartbeat is None or now - heartbeat > _SILENT)
    if silent:
        notes.append(f"The alert sensor is silent; it last looked at {moment(heartbeat)}: its alerts may be old.")
    found, suppressed = combine(known.alerts if known is not None else None, reported or ())
    if suppressed:
        notes.append(f"{plural(suppressed, 'alert')} not listed: silenced or inhibited in Alertmanager.")
    unanswered = known is None or (alertmanager_url is not None and reported is None)
    return Firing(found, tuple(notes), not unanswered and not silent, reported is not None, heartbeat, silent)


def combine(
    incidents: Sequence[Alert] | None, reported: Iterable[Mapping[str, Any]]
) -> tuple[tuple[FiringAlert, ...], int]:
    """Each alert once, the worst first; and how many Alertmanager suppresses. `incidents` is None where not known."""
    of_sensors: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    of_prometheus: dict[frozenset[tuple[str, str]], list[Mapping[str, Any]]] = {}
    for entry in reported:
        labels = entry["labels"]
        if labels.get("alertname") == _WATCHDOG:
            continue
        if labels.get("origin") == "sensors":
            of_sensors.setdefault((labels.get("alertname", ""), labels.get("cause", "")), []).append(entry)
        else:
            same = frozenset((k, v) for k, v in labels.items() if k not in _VARIANTS)
            of_prometheus.setdefault(same, []).append(entry)
    found: list[FiringAlert] = []
    suppressed = 0
    groups = list(of_prometheus.values())
    if incidents is None:
        groups += of_sensors.values()
    for group in groups:
        active = [_of_alertmanager(e) for e in group if not _is_suppressed(e)]
        suppressed += not active
        if active:
            worst = min(active, key=lambda a: _rank(a.severity))
            found.append(replace(worst, since=min(a.since for a in active)))
    for incident in incidents or ():
        entries = of_sensors.get((incident.name, incident.cause), [])
        if entries and all(map(_is_suppressed, entries)):
            suppressed += 1
        else:
            found.append(_of_incident(incident, bool(entries)))
    return tuple(sorted(found, key=lambda a: (_rank(a.severity), a.since, a.name, a.stream))), suppressed


def _read_alertmanager(url: str) -> list[dict[str, Any]] | None:
    try:
        answer = httpx.get(f"{url.rstrip('/')}/api/v2/alerts", timeout=_TIMEOUT_SECONDS).raise_for_status().json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return None
    return answer if isinstance(answer, list) else None  # pyright: ignore[reportUnknownVariableType]


def _is_suppressed(entry: Mapping[str, Any]) -> bool:
    return entry["status"]["state"] == "suppressed"


def _rank(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _of_alertmanager(entry: Mapping[str, Any]) -> FiringAlert:
    labels, texts = entry["labels"], entry["annotations"]
    return FiringAlert(
        name=labels.get("alertname", ""),
        severity=labels.get("severity", ""),
        stream=labels.get("stream", ""),
        asset=labels.get("asset", ""),
        owner=labels.get("owner", ""),
        summary=texts.get("summary", ""),
        description=texts.get("description", ""),
        since=datetime.fromisoformat(entry["startsAt"]).astimezone(UTC),
        asset_url=texts.get("asset_url"),
        runbook_url=texts.get("runbook_url"),
        sources=("alertmanager",),
    )


def _of_incident(incident: Alert, at_alertmanager: bool) -> FiringAlert:
    return FiringAlert(
        name=incident.name,
        severity=incident.severity,
        stream=incident.stream,
        asset=incident.asset,
        owner=incident.owner,
        summary=incident.summary,
        description=incident.description,
        since=incident.since,
        asset_url=incident.asset_url,
        runbook_url=incident.runbook_url,
        sources=("postgres", "alertmanager") if at_alertmanager else ("postgres",),
        accepted_by=incident.accepted_by,
        accepted_because=incident.accepted_because,
    )
