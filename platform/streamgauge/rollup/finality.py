"""Which hours are final, and what that makes of a window: the API, the command and the report say the same by it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql

from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.stores.postgres import Connection

FINAL, PROVISIONAL, MIXED = "final", "provisional", "mixed"


@dataclass(frozen=True)
class FinalHour:
    revision: int
    checked: bool
    """False: its latest comparison failed, or its numbers changed since."""


@dataclass(frozen=True)
class WindowStatus:
    """How far a window can be relied on."""

    status: str
    revision: int | None
    """The highest of its hours', where all are final."""
    final_share: float
    unchecked: bool
    """Final numbers in it are not known to agree with what the stream worker counted."""


@dataclass(frozen=True)
class Finality:
    """`final`: the final hours of a range. `quiet`: the hours between them that nobody has rows for, and all before
    `begins`: they keep no window from being final."""

    final: Mapping[datetime, FinalHour]
    quiet: frozenset[datetime] = frozenset()
    begins: datetime | None = None

    def _done(self, hour: datetime) -> bool:
        return hour in self.final or hour in self.quiet or (self.begins is not None and hour < self.begins)

    def standing(self, start: datetime, end: datetime) -> WindowStatus:
        revision, unchecked = 0, False
        seconds = 0.0
        hour = hour_start(start)
        while hour < end:
            if self._done(hour):
                seconds += (min(end, hour + HOUR) - max(start, hour)).total_seconds()
                if (final := self.final.get(hour)) is not None:
                    revision, unchecked = max(revision, final.revision), unchecked or not final.checked
            hour += HOUR
        share = seconds / (end - start).total_seconds()
        if share == 1:
            return WindowStatus(FINAL, revision, 1.0, unchecked)
        return WindowStatus(PROVISIONAL, None, round(share, 4), unchecked)

    def of_range(self, start: datetime, end: datetime) -> str:
        share = self.standing(start, end).final_share
        return FINAL if share == 1 else MIXED if share else PROVISIONAL


def read_finality(
    connection: Connection, contract: Contract, start: datetime, end: datetime, watermark: datetime | None
) -> Finality:
    """Of the hours that the range touches."""
    first = hour_start(start)
    rows = connection.execute(
        "SELECT hour, revision, checked FROM final_hours WHERE stream = %s AND hour >= %s AND hour < %s",
        (contract.stream, first, end),
    ).fetchall()
    final = {hour: FinalHour(revision, checked) for hour, revision, checked in rows}
    ends = _ends(connection, contract)
    if watermark is None or ends is None:
        return Finality(final)
    begins, newest = ends
    complete = watermark - timedelta(milliseconds=contract.lateness_ms)
    last = min(newest, hour_start(complete) - HOUR, end - timedelta(microseconds=1))
    unsettled = [h for h in _hours(max(first, begins), last) if h not in final]
    if not unsettled:
        return Finality(final, begins=begins)
    query = sql.SQL(
        "SELECT h FROM unnest(%(hours)s::timestamptz[]) h"
        " WHERE NOT EXISTS (SELECT FROM event_hours WHERE stream = %(stream)s AND hour = h)"
        " AND NOT EXISTS (SELECT FROM {} WHERE minute >= h AND minute < h + interval '1 hour')"
    ).format(sql.Identifier(contract.minutes_table))
    quiet = connection.execute(query, {"hours": unsettled, "stream": contract.stream}).fetchall()
    return Finality(final, frozenset(h for (h,) in quiet), begins)


def _ends(connection: Connection, contract: Contract) -> tuple[datetime, datetime] | None:
    """The first hour that anybody has rows for, and the newest final one; None before there is one."""
    query = sql.SQL(
        "SELECT least((SELECT min(hour) FROM hour_revisions WHERE stream = %(stream)s),"
        " (SELECT min(hour) FROM event_hours WHERE stream = %(stream)s),"
        " (SELECT date_trunc('hour', min(minute), 'UTC') FROM {})),"
        " max(hour) FROM hour_revisions WHERE stream = %(stream)s"
    ).format(sql.Identifier(contract.minutes_table))
    row = connection.execute(query, {"stream": contract.stream}).fetchone()
    return None if row is None or row[1] is None else (row[0], row[1])


def _hours(first: datetime, last: datetime) -> Iterable[datetime]:
    while first <= last:
        yield first
        first += HOUR
