"""Connections to Postgres."""

import psycopg
from psycopg.rows import TupleRow

from streamgauge.errors import UserError
from streamgauge.settings import Settings

SCHEMA = "streamgauge"

Connection = psycopg.Connection[TupleRow]


def connect(
    settings: Settings, *, autocommit: bool = False, application: str = "streamgauge", options: str = ""
) -> Connection:
    """A connection that sees the `streamgauge` schema first, speaks UTC, and notices within seconds that its
    server is gone. `options` are more of the server's settings, as `-c name=value`."""
    return psycopg.connect(
        settings.postgres_dsn.get_secret_value(),
        autocommit=autocommit,
        application_name=application,
        connect_timeout=5,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        options=f"-c search_path={SCHEMA},public -c timezone=UTC {options}",
    )


def connect_or_explain(settings: Settings, *, autocommit: bool = False, application: str) -> Connection:
    """For commands, which don't wait for Postgres to come back as a worker does."""
    try:
        return connect(settings, autocommit=autocommit, application=application)
    except psycopg.OperationalError as e:
        raise UserError(f"no connection to Postgres: {str(e).strip()}", "see streamgauge stack status") from e


def has_relation(connection: Connection, name: str) -> bool:
    """Whether there is a table or view of that name, as SQL would write it: before the first `apply` there is none."""
    (there,) = connection.execute("select to_regclass(%s) is not null", (name,)).fetchone() or (False,)
    return there
