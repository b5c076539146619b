"""Anomalies as the sensor found them, and what people say of them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.rows import class_row

from streamgauge.errors import UserError
from streamgauge.stores.postgres import Connection, has_relation

State = Literal["open", "ended", "acknowledged", "expected"]
Verdict = Literal["acknowledged", "expected"]


@dataclass(frozen=True)
class Anomaly:
    """`observed`, `expected`, `low` and `high` are means of the `minutes` up to and including `minute`, its worst.

    `dimensions` is empty for the whole stream. `score` is how many times as far out it is as the band's edge.
    """

    id: str
    stream: str
    figure: str
    dimensions: dict[str, str]
    kind: Literal["peak", "gap"]
    direction: Literal["up", "down"]
    began: datetime
    ended: datetime | None
    shifted: bool
    minute: datetime
    minutes: int
    observed: float
    expected: float
    low: float
    high: float
    score: float
    state: State
    verdict_at: datetime | None
    verdict_by: str | None
    verdict_because: str | None

    def as_json(self) -> dict[str, Any]:
        return {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Band:
    """What was expected of the stream's count in a minute."""

    minute: datetime
    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class Looked:
    """Up to when a stream was judged (not including), and how many series were left out because there are too many."""

    until: datetime | None
    left_out: int


_ANOMALIES = """select id, stream, figure, dimensions, kind, direction, began, ended, shifted, minute, minutes,
observed, expected, low, high, score, coalesce(verdict, case when ended is null then 'open' else 'ended' end) as state,
verdict_at, verdict_by, verdict_because from anomalies"""


def read_anomalies(
    connection: Connection,
    streams: Sequence[str],
    start: datetime | None,
    end: datetime | None,
    limit: int,
    *,
    only_open: bool = False,
) -> list[Anomaly]:
    """Those that were there at some time between the two, the latest first."""
    query = f"""{_ANOMALIES} where stream = any(%(streams)s)
    and (%(end)s::timestamptz is null or began < %(end)s)
    and (%(start)s::timestamptz is null or ended is null or ended > %(start)s)
    and (not %(open)s or (ended is null and verdict is null))
    order by began desc, score desc, id limit %(limit)s"""
    with connection.cursor(row_factory=class_row(Anomaly)) as cursor:
        wanted = {"streams": list(streams), "start": start, "end": end, "limit": limit, "open": only_open}
        return cursor.execute(query.encode(), wanted).fetchall()


def read_bands(connection: Connection, stream: str, start: datetime, end: datetime) -> list[Band]:
    with connection.cursor(row_factory=class_row(Band)) as cursor:
        return cursor.execute(
            "select minute, expected, low, high from anomaly_bands where stream = %s and minute >= %s and minute < %s"
            " order by minute",
            (stream, start, end),
        ).fetchall()


def read_looked(connection: Connection, stream: str) -> Looked:
    row = connection.execute("select until, left_out from anomaly_progress where stream = %s", (stream,)).fetchone()
    return Looked(None, 0) if row is None else Looked(*row)


def is_set_up(connection: Connection) -> bool:
    """Whether `apply` has made the tables."""
    return has_relation(connection, "anomalies")


def judge(connection: Connection, ids: Sequence[str], verdict: Verdict, by: str, reason: str) -> list[Anomaly]:
    """Notes what a person says of them. What is expected becomes known to the model when the sensor looks next.

    Raises UserError where one is not known, and then notes nothing.
    """
    with connection.transaction(), connection.cursor(row_factory=class_row(Anomaly)) as cursor:
        connection.execute(
            "update anomalies set verdict = %s, verdict_at = now(), verdict_by = %s, verdict_because = %s"
            " where id = any(%s)",
            (verdict, by, reason, list(ids)),
        )
        found = cursor.execute(f"{_ANOMALIES} where id = any(%s) order by began, id".encode(), (list(ids),)).fetchall()
        unknown = sorted(set(ids) - {a.id for a in found})
        if unknown:
            raise UserError(
                f"there is no anomaly {', '.join(unknown)}",
                "see streamgauge anomalies list --all",
            )
    return found
