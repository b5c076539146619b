"""The audit log in Postgres."""

import os
import socket
from collections.abc import Iterator
from datetime import datetime
from getpass import getuser

import psycopg

from streamgauge.audit.entry import BY_ITSELF, Action, AuditEntry, AuditEvent
from streamgauge.errors import UserError
from streamgauge.stores.postgres import Connection

_READ_AT_ONCE = 5000


def append(connection: Connection, event: AuditEvent) -> int:
    """Records the act within the transaction of what it is about, so that neither is there without the other, and
    returns its number. The transaction must be READ COMMITTED: in a snapshot it would not see the entry before it.
    """
    try:
        row = connection.execute("select audit_append(%s::jsonb)", (event.as_json(),)).fetchone()
    except psycopg.errors.UndefinedFunction as e:
        raise UserError(
            "there is no audit log yet, and without it nothing is changed", "run `streamgauge apply` first"
        ) from e
    assert row is not None
    return int(row[0])


def user_name() -> str:
    """Of who runs this command. In a container its user may have none."""
    try:
        return getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"


def person() -> str:
    """Who runs this command, and where."""
    return f"{user_name()}@{socket.gethostname()}"


def entries(connection: Connection, after: int = 0) -> Iterator[AuditEntry]:
    """All with a higher number, in order."""
    while True:
        rows = connection.execute(
            "select number, body, digest from audit_log where number > %s order by number limit %s",
            (after, _READ_AT_ONCE),
        ).fetchall()
        for number, body, digest in rows:
            yield AuditEntry(number, body, bytes(digest).hex())
        if len(rows) < _READ_AT_ONCE:
            return
        after = rows[-1][0]


def latest(
    connection: Connection, limit: int, *, action: Action | None, subject: str | None, since: datetime | None
) -> list[AuditEntry]:
    """The newest first. Without an action, what people did."""
    rows = connection.execute(
        "select number, body, digest from audit_log where case when %(action)s::text is null"
        " then not action = any(%(by_itself)s) else action = %(action)s end"
        " and (%(subject)s::text is null or subject = %(subject)s)"
        " and (%(since)s::timestamptz is null or at >= %(since)s) order by number desc limit %(limit)s",
        {"action": action, "subject": subject, "since": since, "limit": limit, "by_itself": list(BY_ITSELF)},
    )
    return [AuditEntry(number, body, bytes(digest).hex()) for number, body, digest in rows]
