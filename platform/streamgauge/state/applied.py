"""Which contracts `apply` has made so."""

import psycopg

from streamgauge.stores.postgres import Connection


def read_applied(connection: Connection) -> dict[str, str]:
    """The fingerprint of each stream's contract; none where nothing was ever applied."""
    try:
        with connection.transaction():
            return dict(connection.execute("select stream, fingerprint from applied_contracts").fetchall())
    except psycopg.errors.UndefinedTable:
        return {}
