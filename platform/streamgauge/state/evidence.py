"""The signed evidence of final hours, in Postgres."""

from datetime import datetime

from streamgauge.dagster.hours import hour_start
from streamgauge.proof.evidence import SignedEvidence
from streamgauge.stores.postgres import Connection, has_relation


def read_evidence(connection: Connection, stream: str, start: datetime, end: datetime) -> list[SignedEvidence]:
    """Of each hour that the range touches."""
    if not has_relation(connection, "hour_evidence"):
        return []
    rows = connection.execute(
        "SELECT body, signature, entry FROM hour_evidence WHERE stream = %s AND hour >= %s AND hour < %s ORDER BY hour",
        (stream, hour_start(start), end),
    ).fetchall()
    return [SignedEvidence(*row) for row in rows]


def write_evidence(connection: Connection, stream: str, hour: datetime, signed: SignedEvidence) -> None:
    connection.execute(
        """INSERT INTO hour_evidence (stream, hour, body, signature, entry) VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (stream, hour) DO UPDATE SET body = excluded.body, signature = excluded.signature,
        entry = excluded.entry""",
        (stream, hour, signed.body, signed.signature, signed.entry),
    )
