"""The incidents of the sensors, as Postgres has them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg.rows import class_row

from streamgauge.errors import UserError
from streamgauge.stores.postgres import Connection


@dataclass(frozen=True)
class Alert:
    id: str
    cause: str
    name: str
    severity: str
    stream: str
    asset: str
    owner: str
    summary: str
    description: str
    downstream: list[str]
    asset_url: str | None
    runbook_url: str
    since: datetime
    raised_at: datetime
    resolved_at: datetime | None
    accepted_at: datetime | None
    accepted_by: str | None
    accepted_because: str | None

    def as_json(self) -> dict[str, Any]:
        return _texts(asdict(self))


@dataclass(frozen=True)
class Undelivered:
    """A message that its target has not taken."""

    alert: str
    summary: str
    target: str
    status: str
    severity: str
    made_at: datetime
    attempts: int
    next_at: datetime
    error: str | None

    def as_json(self) -> dict[str, Any]:
        return _texts(asdict(self))


ACCEPTABLE = ("StreamgaugeRunFailed", "StreamgaugeCheckFailed")
"""Failures are events, not states: where nothing succeeds in their place, a person must say that they are settled."""

_ALERTS: LiteralString = (
    "select id, cause, name, severity, stream, asset, owner, summary, description, downstream, asset_url, runbook_url,"
    " since, raised_at, resolved_at, accepted_at, accepted_by, accepted_because from alerts"
)


def firing(connection: Connection) -> list[Alert]:
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return cursor.execute(_ALERTS + " where resolved_at is null order by raised_at").fetchall()


def history(connection: Connection, limit: int) -> list[Alert]:
    """The latest first, firing or not."""
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return cursor.execute(_ALERTS + " order by raised_at desc limit %s", (limit,)).fetchall()


def accept(
    connection: Connection, name: str, stream: str | None, asset: str | None, by: str, reason: str
) -> Sequence[Alert]:
    """Notes that a person takes the failures behind these alerts for settled; the sensor ends them when it looks next.

    Raises UserError where none such fires, or where it ends by itself: what is stale or differs still is so.
    """
    found = [
        a
        for a in firing(connection)
        if a.name == name and stream in (None, a.stream) and asset in (None, a.asset) and a.accepted_at is None
    ]
    if not found:
        raise UserError(f"no alert {name} of that stream and asset fires", "see streamgauge alerts firing")
    if name not in ACCEPTABLE:
        raise UserError(
            f"{name} ends when what it reports is over, not by acceptance",
            f"accepted are {' and '.join(ACCEPTABLE)}; of hours: streamgauge reconcile accept",
        )
    if len(found) > 1 and stream is None and asset is None:
        raise UserError(
            f"{len(found)} alerts {name} fire: {', '.join(a.asset for a in found)}", "name one by --asset or --stream"
        )
    connection.execute(
        "update alerts set accepted_at = now(), accepted_by = %s, accepted_because = %s where id = any(%s)",
        (by, reason, [a.id for a in found]),
    )
    return found


def undelivered(connection: Connection) -> list[Undelivered]:
    with connection.cursor(row_factory=class_row(Undelivered)) as cursor:
        return cursor.execute(
            "select m.alert, a.summary, m.target, m.status, m.severity, m.made_at, m.attempts, m.next_at, m.error"
            " from alert_messages m join alerts a on a.id = m.alert where m.delivered_at is null"
            " order by m.made_at, m.alert, m.number"
        ).fetchall()


def heartbeat(connection: Connection) -> datetime | None:
    """When the sensor that raises alerts last finished."""
    row = connection.execute("select at from sensor_heartbeats where sensor = 'alerts'").fetchone()
    return None if row is None else row[0]


def _texts(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()}
