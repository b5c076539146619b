"""Which contracts and which access `apply` has made so."""

import psycopg

from streamgauge.stores.postgres import Connection


def read_applied(connection: Connection) -> dict[str, str]:
    """The fingerprint of each stream's contract; none where nothing was ever applied."""
    try:
        with connection.transaction():
            return dict(connection.execute("select stream, fingerprint from applied_contracts").fetchall())
    except psycopg.errors.UndefinedTable:
        return {}


def read_personal(connection: Connection) -> dict[str, frozenset[str]]:
    """The fields of each stream that its applied contract calls personal; streams of which that is not known lack."""
    try:
        with connection.transaction():
            rows = connection.execute(
                "select stream, personal from applied_contracts where personal is not null"
            ).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return {}
    return {stream: frozenset(fields) for stream, fields in rows}


def read_principals(connection: Connection) -> frozenset[str]:
    """Those whose rights were made so; none where nothing was ever applied."""
    try:
        with connection.transaction():
            return frozenset(name for (name,) in connection.execute("select name from applied_principals"))
    except psycopg.errors.UndefinedTable:
        return frozenset()


def read_expressions(connection: Connection) -> dict[str, dict[str, str]]:
    """The expressions of each stream's applied contract, by derived field or condition, where they are known."""
    try:
        with connection.transaction():
            query = "select stream, expressions from applied_contracts where expressions is not null"
            return dict(connection.execute(query).fetchall())
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return {}
