"""Dagster's own tables in Postgres, over connections that are kept."""

import time
from typing import Any

import psycopg2
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.event_log import PostgresEventLogStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config
from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError

from assets.dagster_internals import ConfigurableClassData, PostgresStorageConfig
from assets.dagster_renames import rename_assets

TRUSTED_SECONDS = 2.0
_LAST_USED = "last_used"


class PooledPostgresStorage(DagsterPostgresStorage):
    """`dagster.yaml` names it.

    Dagster's own opens a connection for each statement, which is most of the time of a run over many hours: an hour of
    a range has about ten events, and an event four statements.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        rename_assets(postgres_url)
        self._event_log_storage = _EventLog(postgres_url, should_autocreate_tables=False)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = _pool(postgres_url)  # pyright: ignore[reportPrivateUsage]  it has no setting for it

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: PostgresStorageConfig
    ) -> "PooledPostgresStorage":
        return cls(pg_url_from_config(config_value), inst_data)


class _EventLog(PostgresEventLogStorage):
    """Dagster asks for each event of a check whether the checks' table exists."""

    def __init__(self, postgres_url: str, should_autocreate_tables: bool) -> None:
        self._known_tables = set[str]()
        super().__init__(postgres_url, should_autocreate_tables)

    def has_table(self, table_name: str) -> bool:
        if table_name not in self._known_tables and super().has_table(table_name):
            self._known_tables.add(table_name)
        return table_name in self._known_tables


def _pool(postgres_url: str) -> Engine:
    """Postgres may have been restarted meanwhile: a connection that rested is tried before it is used."""
    engine = create_pg_engine(postgres_url, isolation_level="AUTOCOMMIT", pool_size=2, max_overflow=20)

    def try_rested(connection: Any, record: Any, proxy: Any) -> None:
        del proxy
        if time.monotonic() - record.info.get(_LAST_USED, 0.0) < TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except psycopg2.Error as e:
            # the pool throws the connection away and makes another
            raise DisconnectionError from e

    def note_use(connection: Any, record: Any) -> None:
        del connection
        record.info[_LAST_USED] = time.monotonic()

    event.listen(engine, "checkout", try_rested)
    event.listen(engine, "checkin", note_use)
    return engine
