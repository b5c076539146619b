"""Dagster's own tables in Postgres, over connections that are kept."""

from dagster._core.storage.config import PostgresStorageConfig
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import create_pg_engine, pg_url_from_config


class PooledPostgresStorage(DagsterPostgresStorage):
    """`dagster.yaml` names it.

    Dagster's own opens a connection for each statement, which is most of the time of a run over many hours: an hour of
    a range has about ten events, and an event four statements.
    """

    def __init__(self, postgres_url: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(postgres_url, inst_data=inst_data)
        for storage in (self._run_storage, self._event_log_storage, self._schedule_storage):
            storage._engine = create_pg_engine(  # pyright: ignore[reportPrivateUsage]  it has no setting for it
                postgres_url,
                isolation_level="AUTOCOMMIT",
                pool_size=2,
                max_overflow=20,
                # Postgres may have been restarted meanwhile
                pool_pre_ping=True,
            )

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: PostgresStorageConfig
    ) -> "PooledPostgresStorage":
        return cls(pg_url_from_config(config_value), inst_data)
