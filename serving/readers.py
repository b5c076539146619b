"""Who asks for which stream, so that its owner knows whom a change concerns: requests by day and caller."""

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg.rows import class_row

from serving.database import Database
from serving.problems import Problem
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry.threads import supervised

log = logging.getLogger(__name__)

_SECONDS = 30.0
"""How often what was counted is written: an API that is killed loses as much, and each time costs a transaction."""
DAYS = 30
"""Of which readers are named."""


@dataclass(frozen=True)
class ReadBy:
    """`caller` is an API key's name; `key_id` is None for who asked without one."""

    caller: str
    key_id: str | None
    requests: int
    last_at: datetime


class Readers:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._counted: Counter[tuple[str, date, str]] = Counter()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = supervised("readers", self._run, self._stop)

    def note(self, stream: str, caller: str) -> None:
        """A request of the caller for the stream, by the id of its key."""
        with self._lock:
            self._counted[stream, datetime.now(UTC).date(), caller] += 1

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=2)
        self.write()

    def _run(self) -> None:
        while not self._stop.wait(_SECONDS):
            self.write()

    def write(self) -> None:
        """What can't be written now is written with the next: there are as many counts as streams and keys."""
        with self._lock:
            counted, self._counted = self._counted, Counter()
        if not counted:
            return
        try:
            with self._database.change() as connection:
                _add(connection, [(*key, n) for key, n in sorted(counted.items())])
        except (Problem, psycopg.errors.UndefinedTable) as e:
            log.warning("who asked for numbers is not written yet: %s", e)
            with self._lock:
                self._counted.update(counted)


def _add(connection: Connection, counts: Sequence[tuple[str, date, str, int]]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO stream_readers (stream, day, caller, requests, last_at) VALUES (%s, %s, %s, %s, now())"
            " ON CONFLICT (stream, day, caller) DO UPDATE SET"
            " requests = stream_readers.requests + excluded.requests, last_at = excluded.last_at",
            counts,
        )


def read_by(connection: Connection, stream: str, now: datetime) -> list[ReadBy]:
    """Of the last days, who asked most first."""
    with connection.cursor(row_factory=class_row(ReadBy)) as cursor:
        return cursor.execute(
            "SELECT coalesce(k.name, r.caller) AS caller, k.id AS key_id, sum(r.requests)::bigint AS requests,"
            " max(r.last_at) AS last_at FROM stream_readers r LEFT JOIN api_keys k ON k.id = r.caller"
            " WHERE r.stream = %s AND r.day > %s GROUP BY r.caller, k.id, k.name ORDER BY requests DESC, caller",
            (stream, (now - timedelta(days=DAYS)).date()),
        ).fetchall()
