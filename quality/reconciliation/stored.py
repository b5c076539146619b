"""What the latest comparisons found, from Postgres."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row

from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection


@dataclass(frozen=True)
class Compared:
    """An hour's latest comparison, and how the hour stands."""

    stream: str
    hour: datetime
    at: datetime
    passed: bool
    buckets: int
    explained: int
    unexplained: int
    facts: int
    counted: int
    late: int
    duplicates: int
    batch_duplicates: int
    waits_for: str | None
    revision: int | None
    checked: bool | None
    accepted_by: str | None
    """Who accepted just the differences of this comparison, and why."""
    accepted_because: str | None

    @property
    def status(self) -> str:
        return "provisional" if self.revision is None else "final"


def read_compared(
    connection: Connection, contract: Contract, start: datetime | None, end: datetime | None, limit: int
) -> list[Compared]:
    """Of the hours from `start` up to `end`, the latest `limit` of them, oldest first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            """SELECT DISTINCT ON (r.hour) r.stream, r.hour, r.at, r.passed, r.buckets, r.explained, r.unexplained,
            r.facts, r.counted, r.late, r.duplicates, r.batch_duplicates, r.waits_for, f.revision, f.checked,
            a.accepted_by, a.reason AS accepted_because
            FROM reconciliations r LEFT JOIN final_hours f USING (stream, hour)
            LEFT JOIN event_hours e USING (stream, hour) LEFT JOIN accepted_differences a
            ON a.stream = e.stream AND a.hour = e.hour AND a.differences = e.differences
            WHERE r.stream = %s AND r.hour >= coalesce(%s, '-infinity'::timestamptz)
            AND r.hour < coalesce(%s, 'infinity'::timestamptz)
            ORDER BY r.hour DESC, r.at DESC LIMIT %s""",
            (contract.stream, start, end, limit),
        ).fetchall()
    return [Compared(**row) for row in reversed(rows)]


def read_differences(
    connection: Connection, contract: Contract, start: datetime, end: datetime, limit: int
) -> list[dict[str, Any]]:
    """Unexplained ones first."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """SELECT hour, minute, dimensions, measure, speed, batch, late, duplicates, batch_duplicates, explained,
            explanation, sample_event_ids FROM reconciliation_differences
            WHERE stream = %s AND hour >= %s AND hour < %s
            ORDER BY explained, minute, dimensions::text, measure LIMIT %s""",
            (contract.stream, start, end, limit),
        ).fetchall()
