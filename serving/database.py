"""Postgres as the API asks it: a small pool, one snapshot a request, and no waiting for a server that is away."""

import logging
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import psycopg
from opentelemetry.trace import SpanKind
from psycopg import IsolationLevel
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from serving.config import ApiConfig
from serving.context import current
from serving.problems import AWAY, BUSY, TOO_SLOW, Problem
from streamgauge.settings import Settings
from streamgauge.stores.postgres import SCHEMA, Connection
from streamgauge.telemetry import metrics
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.tracing import span

log = logging.getLogger(__name__)

_WAIT_SECONDS = 2.0
"""For a connection from the pool."""
_AWAY_SECONDS = 1.0
"""How long nobody else tries after Postgres was found away: its callers must not use up all threads by waiting."""
_WAITING = 64
_SPAN = {a.DB_SYSTEM.name: "postgresql"}
WORK_MEM = "16MB"
"""Of each connection: with Postgres' 4 MB it sorts a day of minutes on disk, which takes twice as long."""


class Database:
    def __init__(self, settings: Settings, config: ApiConfig) -> None:
        self._seconds = config.query_seconds
        self._pool = ConnectionPool(
            make_conninfo(settings.postgres_dsn.get_secret_value(), connect_timeout=2),
            min_size=1,
            max_size=config.connections,
            open=False,
            timeout=_WAIT_SECONDS,
            max_waiting=_WAITING,
            reconnect_timeout=0,
            configure=_configure,
            check=ConnectionPool.check_connection,
            kwargs={
                "application_name": "streamgauge api",
                "keepalives_idle": 5,
                "keepalives_interval": 2,
                "keepalives_count": 3,
                "tcp_user_timeout": 10_000,
                "options": f"-c search_path={SCHEMA},public -c timezone=UTC"
                f" -c statement_timeout={round(config.query_seconds * 1000)} -c work_mem={WORK_MEM}",
            },
        )
        self._away_until = 0.0
        self._failing = threading.Event()

    def open(self) -> None:
        self._pool.open()

    def close(self) -> None:
        self._pool.close(timeout=2)

    @property
    def away(self) -> bool:
        """As the last one who asked found it."""
        return self._failing.is_set()

    @contextmanager
    def snapshot(self) -> Generator[Connection]:
        """All that is read here agrees: one repeatable-read transaction. Failures come out as problems."""
        if time.monotonic() < self._away_until:
            raise _away()
        since = time.perf_counter()
        try:
            with span("postgresql", _SPAN, kind=SpanKind.CLIENT), self._pool.connection() as connection:
                yield connection
        except psycopg.errors.QueryCanceled as e:
            raise Problem(TOO_SLOW, f"Postgres didn't finish within {self._seconds:g} s.") from e
        except TooManyRequests as e:
            raise Problem(BUSY, f"{_WAITING} requests wait for Postgres already.", headers=_RETRY) from e
        except PoolTimeout as e:
            if self._reachable():
                raise Problem(BUSY, "All connections to Postgres are in use.", headers=_RETRY) from e
            raise self._note_away(e) from e
        except psycopg.OperationalError as e:
            raise self._note_away(e) from e
        finally:
            store = {"db.system.name": "postgresql", "http.route": current().route}
            metrics.STORE_DURATION.record(time.perf_counter() - since, store)
        if self._failing.is_set():
            self._failing.clear()
            log.info("Postgres answers again")

    @contextmanager
    def change(self) -> Generator[Connection]:
        with self.snapshot() as connection:
            connection.rollback()
            connection.read_only = False
            # an audited change follows the entry that another has just committed
            connection.isolation_level = IsolationLevel.READ_COMMITTED
            try:
                with connection.transaction():
                    yield connection
            finally:
                if not connection.closed:
                    connection.rollback()
                    _configure(connection)

    def _reachable(self) -> bool:
        """Does any connection live? If not, waiting was not for want of a free one."""
        return self._pool.get_stats().get("pool_size", 0) > 0

    def _note_away(self, e: Exception) -> Problem:
        self._away_until = time.monotonic() + _AWAY_SECONDS
        if not self._failing.is_set():
            self._failing.set()
            log.warning("Postgres is away: %s", str(e).strip())
        return _away()


_RETRY = {"Retry-After": "1"}


def _away() -> Problem:
    return Problem(AWAY, "Postgres is away.", headers={"Retry-After": "2"})


def _configure(connection: Connection) -> None:
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    connection.prepare_threshold = 2
