"""The alerts of the sensors, as Postgres has them: for commands and for whoever asks."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg.rows import class_row

from streamgauge.stores.postgres import Connection


@dataclass(frozen=True)
class Alert:
    id: str
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


_ALERTS: LiteralString = (
    "select id, name, severity, stream, asset, owner, summary, description, downstream, asset_url, runbook_url, since,"
    " raised_at, resolved_at from alerts"
)


def firing(connection: Connection) -> list[Alert]:
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return cursor.execute(_ALERTS + " where resolved_at is null order by raised_at").fetchall()


def history(connection: Connection, limit: int) -> list[Alert]:
    """The latest first, firing or not."""
    with connection.cursor(row_factory=class_row(Alert)) as cursor:
        return cursor.execute(_ALERTS + " order by raised_at desc limit %s", (limit,)).fetchall()


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
