"""What the checks look at: rows from the lake's tables, figures from Postgres."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl
from psycopg import sql

from quality.checks.completeness import Books, HourBook
from streamgauge.contract.model import CALENDAR, Contract
from streamgauge.dagster.hours import HOUR, HOUR_FORMAT, hour_key
from streamgauge.stores.fact_tables import key_column
from streamgauge.stores.lake import (
    EVENT_HOUR,
    OFFSET,
    PARTITION,
    lake_table,
    table_at,
)
from streamgauge.stores.postgres import Connection


def key_columns(contract: Contract) -> dict[str, str]:
    """Of the facts, with the dimension that each leads to."""
    return {key_column(name): name for name in (*(s.name for s in contract.star), *CALENDAR)}


def dimension_keys(root: str, contract: Contract) -> dict[str, pl.Series]:
    found: dict[str, pl.Series] = {}
    for column, name in key_columns(contract).items():
        table = table_at(root, f"dims/{name}", pl.Schema({column: pl.Int64()}))
        found[column] = table.read()[column]
    return found


def positions_due(root: str, contract: Contract, hours: Sequence[datetime]) -> pl.DataFrame:
    """Position and event hour (as its key) of all records of the lake that the hours from the first of
    these to the last answer for.

    A record is never in the lake before it happened, but for the tolerance: earlier ingest hours need not be read.
    """
    tolerance = timedelta(seconds=contract.time.futureToleranceSeconds)
    table = lake_table(root, contract)
    first = hour_key(min(hours) - tolerance)
    keys = [k for k in table.stored() if k >= first]
    rows = table.scan(keys, between=(EVENT_HOUR, min(hours), max(hours)))
    return rows.select(PARTITION, OFFSET, pl.col(EVENT_HOUR).dt.strftime(HOUR_FORMAT)).collect()


def late_by_hour(connection: Connection, contract: Contract, hours: Sequence[datetime]) -> dict[datetime, int]:
    query = sql.SQL(
        "SELECT date_trunc('hour', minute), sum(late)::bigint FROM {} WHERE minute >= %s AND minute < %s GROUP BY 1"
    ).format(sql.Identifier(contract.minutes_table))
    rows = connection.execute(query, (min(hours), max(hours) + HOUR)).fetchall()
    return dict(rows)


def outdated_again(connection: Connection, contract: Contract, hours: Sequence[datetime]) -> set[datetime]:
    """Hours for which the lake got rows that their facts were not made of yet."""
    rows = connection.execute(
        "SELECT hour FROM event_hours WHERE stream = %s AND hour BETWEEN %s AND %s AND touched > built",
        (contract.stream, min(hours), max(hours)),
    ).fetchall()
    return {hour for (hour,) in rows}


class Volumes:
    """Facts by hour, as far back as the volume check looks."""

    def __init__(self, connection: Connection, contract: Contract, hours: Sequence[datetime]) -> None:
        self._days = contract.checks.volume.days
        rows = connection.execute(
            "SELECT hour, facts, built >= touched FROM event_hours WHERE stream = %s AND hour BETWEEN %s AND %s",
            (contract.stream, min(hours) - timedelta(days=self._days), max(hours)),
        ).fetchall()
        self._facts: dict[datetime, int | None] = {hour: facts if built else None for hour, facts, built in rows}
        first = connection.execute(
            "SELECT min(hour) FROM event_hours WHERE stream = %s AND built > 0", (contract.stream,)
        ).fetchone()
        self._first: datetime | None = first[0] if first else None

    def before(self, hour: datetime) -> list[int]:
        """The same hour of the days before; none from before the stream's first. One that is not there had no event."""
        days = [hour - timedelta(days=d) for d in range(1, self._days + 1)]
        known = [self._facts.get(d, 0) for d in days if self._first is not None and d >= self._first]
        return [n for n in known if n is not None]


def hour_books(connection: Connection, contract: Contract, hours: Sequence[datetime]) -> dict[datetime, list[HourBook]]:
    rows = connection.execute(
        "SELECT hour, partition, from_offset, to_offset, before, before_hour FROM ("
        "  SELECT hour, partition, from_offset, to_offset,"
        "  lag(to_offset) OVER earlier AS before, lag(hour) OVER earlier AS before_hour"
        "  FROM lake_hours WHERE stream = %(stream)s AND hour BETWEEN %(first)s - interval '1 hour' AND %(last)s"
        "  WINDOW earlier AS (PARTITION BY partition ORDER BY hour)"
        ") AS hours WHERE hour >= %(first)s ORDER BY hour, partition",
        {"stream": contract.stream, "first": min(hours), "last": max(hours)},
    ).fetchall()
    found: dict[datetime, list[HourBook]] = defaultdict(list)
    for hour, partition, start, end, before, before_hour in rows:
        # hours may be made in any order: only the one right before says where this one must begin
        follows = before if before_hour == hour - HOUR else None
        found[hour].append(HourBook(partition, start, end, follows))
    return found


def read_books(connection: Connection, contract: Contract) -> Books:
    """Both layers as of one moment: one statement sees one snapshot."""
    row = connection.execute(
        "SELECT coalesce(s.consumed, 0), coalesce(s.counted, 0), coalesce(s.late, 0), coalesce(s.duplicates, 0),"
        " coalesce(s.dead_letters, 0), l.rows, l.gaps, e.facts, e.duplicates, e.quarantined, e.outdated,"
        " (SELECT max(hour) FROM lake_hours WHERE stream = %(stream)s)"
        " FROM (SELECT 1) AS one LEFT JOIN stream_accounting AS s ON s.topic = %(topic)s"
        " CROSS JOIN (SELECT coalesce(sum(rows), 0)::bigint AS rows, coalesce(sum(span), 0)::bigint - "
        "  coalesce(sum(rows), 0)::bigint AS gaps FROM (SELECT max(to_offset) - min(from_offset) AS span,"
        "  sum(rows) AS rows FROM lake_hours WHERE stream = %(stream)s GROUP BY partition) AS p) AS l"
        " CROSS JOIN (SELECT coalesce(sum(facts), 0)::bigint AS facts,"
        "  coalesce(sum(duplicates), 0)::bigint AS duplicates, coalesce(sum(quarantined), 0)::bigint AS quarantined,"
        "  count(*) FILTER (WHERE touched > built) AS outdated FROM event_hours WHERE stream = %(stream)s) AS e",
        {"topic": contract.topic, "stream": contract.stream},
    ).fetchone()
    assert row is not None
    *figures, newest = row
    return Books(*map(int, figures), lake_until=None if newest is None else newest + HOUR)
