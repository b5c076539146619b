"""Ends the transaction of a predecessor that stands still, so that a takeover doesn't wait for it for ever.

Postgres ends a transaction that is idle by itself (`connection.py`). One that stands still while it sends a COPY is not
idle to Postgres, and neither is one whose machine is frozen or cut off half-way through a statement.
"""

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager

import psycopg

from streamgauge.settings import Settings
from streamgauge.stores.postgres import Connection
from streaming.worker.connection import connect_worker

log = logging.getLogger(__name__)

_LOOK_SECONDS = 3.0
"""Who holds a takeover up at two looks in a row is cut off: a commit that is under way ends sooner, and is worth the
wait.
"""


@contextmanager
def without_predecessor(settings: Settings, connection: Connection, stream: str) -> Generator[None]:
    """What `connection` does in this block waits for no other worker's transaction for long."""
    done = threading.Event()
    watching = threading.Thread(
        target=_watch,
        args=(settings, connection.info.backend_pid, stream, done),
        name=f"{stream}_takeover",
        daemon=True,
    )
    watching.start()
    try:
        yield
    finally:
        done.set()


def _watch(settings: Settings, taking_over: int, stream: str, done: threading.Event) -> None:
    before: set[int] = set()
    while not done.wait(_LOOK_SECONDS):
        try:
            with connect_worker(settings) as connection:
                row = connection.execute("select pg_blocking_pids(%s)", (taking_over,)).fetchone()
                blocking: set[int] = set(row[0]) if row else set()
                for pid in sorted(blocking & before):
                    _end(connection, pid, stream)
        except psycopg.Error as e:
            log.warning("%s: can't look for who holds the takeover up: %s", stream, str(e).strip())
        else:
            before = blocking


def _end(connection: Connection, pid: int, stream: str) -> None:
    """Only what the same login began; others, such as somebody's who repairs, are named."""
    ended = connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid = %s and usename = current_user", (pid,)
    ).fetchone()
    if ended is not None:
        log.warning("%s: a worker that stands still in a transaction held up the takeover: it is cut off", stream)
    else:
        log.warning("%s: Postgres' process %d, of another login, holds the takeover up", stream, pid)
