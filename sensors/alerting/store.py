"""Incidents, messages and memory in Postgres. Every method leaves the transaction to its caller."""

import json
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sensors.alerting.incidents import Acceptance, Alert, Incident, Message, Severity, asset_url
from streamgauge.stores.postgres import Connection, has_relation

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=5), timedelta(minutes=10)
_KEPT = timedelta(days=90)

_INCIDENT = (
    "id, cause, name, severity, stream, asset, owner, summary, description, downstream, runbook_url, since, raised_at,"
    " warned_at, escalated_at, resolved_at, accepted_at"
)
_LOCK = "hashtext('streamgauge.alerts')"


@dataclass(frozen=True)
class DueMessage:
    """A message that a target has not taken yet."""

    number: int
    message: Message
    target: str
    attempts: int


@contextmanager
def exclusive(connection: Connection) -> Generator[None]:
    """Two ticks at once would both find the same news. The session holds the lock: while servers are asked, no
    transaction is open.
    """
    connection.execute(f"select pg_advisory_lock({_LOCK})")
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute(f"select pg_advisory_unlock({_LOCK})")


def is_set_up(connection: Connection) -> bool:
    """Whether `apply` has run on this database at all."""
    return has_relation(connection, "alerts")


def read_memory(connection: Connection) -> dict[str, Any]:
    return dict(connection.execute("select subject, memory from alert_memory").fetchall())


def write_memory(connection: Connection, memory: Mapping[str, Any]) -> None:
    """Replaces all of it."""
    connection.execute("delete from alert_memory where not subject = any(%s)", (list(memory),))
    with connection.cursor() as cursor:
        cursor.executemany(
            "insert into alert_memory (subject, memory) values (%s, %s) on conflict (subject)"
            " do update set memory = excluded.memory, updated_at = now()",
            [(subject, json.dumps(m)) for subject, m in memory.items()],
        )


def read_firing(connection: Connection) -> list[Incident]:
    return _incidents(connection, "resolved_at is null", ())


def read_acceptances(connection: Connection) -> list[Acceptance]:
    return [
        Acceptance(asset, at)
        for asset, at in connection.execute(
            "select asset, max(accepted_at) from alerts where accepted_at is not null group by asset"
        )
    ]


def read_incidents(connection: Connection, ids: Sequence[str]) -> dict[str, Incident]:
    return {i.id: i for i in _incidents(connection, "id = any(%s)", (list(ids),))}


def write(
    connection: Connection,
    incidents: Iterable[Incident],
    messages: Iterable[Message],
    targets: Sequence[str],
    now: datetime,
    dagster_url: str | None,
) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            f"""insert into alerts ({_INCIDENT}, asset_url) values ({", ".join(["%s"] * 18)})
            on conflict (id) do update set severity = excluded.severity, summary = excluded.summary,
            description = excluded.description, downstream = excluded.downstream, since = excluded.since,
            escalated_at = excluded.escalated_at, resolved_at = excluded.resolved_at""".encode(),
            [(*_row(i), asset_url(i.alert, dagster_url)) for i in incidents],
        )
        cursor.executemany(
            """insert into alert_messages (alert, number, target, status, severity, made_at, next_at)
            select %(alert)s, coalesce(max(number), 0) + 1, %(target)s, %(status)s, %(severity)s, %(now)s, %(now)s
            from alert_messages where alert = %(alert)s and target = %(target)s""",
            [
                {"alert": m.incident, "target": t, "status": m.status, "severity": m.severity, "now": now}
                for m in messages
                for t in targets
            ],
        )


def read_due(connection: Connection, targets: Sequence[str], now: datetime) -> list[DueMessage]:
    """The next message of each incident to each target, where it is due: the later ones wait for it."""
    rows = connection.execute(
        """select * from (
            select distinct on (alert, target) alert, number, target, status, severity, attempts, next_at
            from alert_messages where delivered_at is null and target = any(%s) order by alert, target, number
        ) next_of_each where next_at <= %s order by next_at, alert, number""",
        (list(targets), now),
    )
    return [
        DueMessage(number, Message(alert, status, severity), target, attempts)
        for alert, number, target, status, severity, attempts, _ in rows
    ]


def delivered(connection: Connection, due: DueMessage, now: datetime) -> None:
    connection.execute(
        "update alert_messages set delivered_at = %s, attempts = attempts + 1, error = null"
        " where alert = %s and number = %s and target = %s",
        (now, due.message.incident, due.number, due.target),
    )


def refused(connection: Connection, due: DueMessage, error: str, now: datetime) -> None:
    connection.execute(
        "update alert_messages set attempts = attempts + 1, error = %s, next_at = %s"
        " where alert = %s and number = %s and target = %s",
        (error, now + pause(due.attempts), due.message.incident, due.number, due.target),
    )


def pause(attempts: int) -> timedelta:
    """Before the next attempt, after so many that failed before this one."""
    return min(_FIRST_PAUSE * 2 ** min(attempts, 10), _LONGEST_PAUSE)


def beat(connection: Connection, sensor: str, now: datetime) -> None:
    connection.execute(
        "insert into sensor_heartbeats (sensor, at) values (%s, %s)"
        " on conflict (sensor) do update set at = excluded.at",
        (sensor, now),
    )


def forget(connection: Connection, now: datetime) -> None:
    """What is long over."""
    connection.execute(
        "delete from alert_messages m using alerts a where m.alert = a.id and a.resolved_at < %s", (now - _KEPT,)
    )
    connection.execute("delete from alerts where resolved_at < %s", (now - _KEPT,))


def _incidents(connection: Connection, where: str, arguments: Sequence[Any]) -> list[Incident]:
    rows = connection.execute(
        f"select {_INCIDENT} from alerts where {where} order by raised_at, id".encode(), arguments
    ).fetchall()
    return [_incident(*row) for row in rows]


def _incident(
    id: str, cause: str, name: str, severity: Severity, stream: str, asset: str, owner: str, summary: str,
    description: str, downstream: list[str], runbook: str, since: datetime, *times: Any,
) -> Incident:  # fmt: skip
    alert = Alert(cause, name, severity, stream, asset, owner, summary, description, runbook, since, tuple(downstream))
    return Incident(id, alert, *times)


def _row(i: Incident) -> tuple[Any, ...]:
    p = i.alert
    return (
        i.id, p.cause, p.name, p.severity, p.stream, p.asset, p.owner, p.summary, p.description, list(p.downstream),
        p.runbook, p.since, i.raised_at, i.warned_at, i.escalated_at, i.resolved_at,
        i.accepted_at,
    )  # fmt: skip
