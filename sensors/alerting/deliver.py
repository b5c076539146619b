"""Messages to Alertmanager and to a webhook. A target that fails is asked again later, with growing pauses."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from sensors.alerting import store
from sensors.alerting.incidents import Incident, Severity, Status, asset_url
from sensors.alerting.store import DueMessage
from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection

log = logging.getLogger(__name__)

ALERTMANAGER, WEBHOOK = "alertmanager", "webhook"
_TIMEOUT = 5.0
_STANDS = timedelta(hours=24)
"""How long Alertmanager takes an alert for firing without hearing of it again. If the sensors stop, a short one would
say that all is well; that they stopped is an alert of its own.
"""


class Refused(Exception):
    """A target answered, but did not take it."""


def targets(settings: Settings) -> list[str]:
    found = {ALERTMANAGER: settings.alertmanager_url, WEBHOOK: settings.alert_webhook_url}
    return [target for target, url in found.items() if url]


def deliver(connection: Connection, settings: Settings, now: datetime) -> int:
    """Sends what is due. Returns how many messages were taken. Each is noted on its own, at once."""
    due = store.read_due(connection, targets(settings), now)
    incidents = store.read_incidents(connection, [d.message.incident for d in due])
    delivered = 0
    with httpx.Client(timeout=_TIMEOUT) as client:
        away: dict[str, str] = {}
        for d in due:
            if d.target not in away:
                try:
                    _SEND[d.target](client, settings, incidents[d.message.incident], d)
                except (httpx.HTTPError, Refused) as e:
                    # without the URL, which may be a secret
                    away[d.target] = str(e) if isinstance(e, Refused) else type(e).__name__
                    log.warning("alerts: %s did not take a message: %s", d.target, away[d.target])
            if d.target in away:
                store.refused(connection, d, away[d.target], now)
            else:
                store.delivered(connection, d, now)
                delivered += 1
    return delivered


def remind(settings: Settings, firing: Sequence[Incident], now: datetime) -> None:
    """Reports again to Alertmanager what fires: one that was started anew has forgotten it."""
    if settings.alertmanager_url is None or not firing:
        return
    alerts = [_alert(i, "firing", severity, settings.dagster_url, now) for i in firing for severity in i.reported]
    try:
        with httpx.Client(timeout=_TIMEOUT) as client:
            _post(client, f"{settings.alertmanager_url}/api/v2/alerts", alerts)
    except (httpx.HTTPError, Refused) as e:
        log.warning("alerts: Alertmanager was not reminded: %s", type(e).__name__)


def watchdog_fires(settings: Settings) -> bool:
    """Whether Alertmanager hears from Prometheus."""
    if settings.alertmanager_url is None:
        return False
    wanted = {"filter": 'alertname="Watchdog"', "active": "true"}
    try:
        answer = httpx.get(f"{settings.alertmanager_url}/api/v2/alerts", params=wanted, timeout=_TIMEOUT)
        answer.raise_for_status()
        return bool(answer.json())
    except (httpx.HTTPError, ValueError):
        return False


def _to_alertmanager(client: httpx.Client, settings: Settings, incident: Incident, due: DueMessage) -> None:
    """https://prometheus.io/docs/alerting/latest/clients/"""
    m = due.message
    alert = _alert(incident, m.status, m.severity, settings.dagster_url, datetime.now(UTC))
    _post(client, f"{settings.alertmanager_url}/api/v2/alerts", [alert])


def _to_webhook(client: httpx.Client, settings: Settings, incident: Incident, due: DueMessage) -> None:
    """As Alertmanager does (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config), so
    that one receiver understands both.
    """
    m = due.message
    alert = _alert(incident, m.status, m.severity, settings.dagster_url, datetime.now(UTC))
    labels, annotations = alert["labels"], alert["annotations"]
    if m.status == "firing":
        alert["endsAt"] = "0001-01-01T00:00:00Z"
    fingerprint = hashlib.sha256(f"{incident.alert.cause}:{m.severity}".encode()).hexdigest()[:16]
    body = {
        "version": "4",
        "groupKey": incident.id,
        "truncatedAlerts": 0,
        "status": m.status,
        "receiver": "streamgauge-sensors",
        "groupLabels": {k: labels[k] for k in ("alertname", "stream", "asset") if k in labels},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": settings.dagster_url or "",
        "alerts": [{"status": m.status, **alert, "fingerprint": fingerprint}],
    }
    assert settings.alert_webhook_url is not None
    _post(client, settings.alert_webhook_url.get_secret_value(), body)


_SEND: Mapping[str, Callable[[httpx.Client, Settings, Incident, DueMessage], None]] = {
    ALERTMANAGER: _to_alertmanager,
    WEBHOOK: _to_webhook,
}


def _post(client: httpx.Client, url: str, body: Any) -> None:
    answer = client.post(url, json=body)
    if not answer.is_success:
        raise Refused(f"HTTP {answer.status_code}")


def _alert(
    incident: Incident, status: Status, severity: Severity, dagster_url: str | None, now: datetime
) -> dict[str, Any]:
    p = incident.alert
    link = asset_url(p, dagster_url)
    began = incident.escalated_at if severity == "critical" else incident.warned_at
    labels = {
        "alertname": p.name,
        "severity": severity,
        "origin": "sensors",
        "stream": p.stream,
        "asset": p.asset,
        "owner": p.owner,
        "cause": p.cause,
    }
    ends = (incident.resolved_at or now) if status == "resolved" else now + _STANDS
    return {
        "labels": {k: v for k, v in labels.items() if v},
        "annotations": {
            "summary": p.summary if status == "firing" else f"resolved: {p.summary}",
            "description": p.description,
            "downstream": ", ".join(p.downstream),
            "since": p.since.isoformat(timespec="seconds"),
            "runbook_url": p.runbook,
            **({"asset_url": link} if link else {}),
        },
        "startsAt": (began or incident.raised_at).isoformat(),
        "endsAt": ends.isoformat(),
        **({"generatorURL": link} if link else {}),
    }
