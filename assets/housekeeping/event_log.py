"""Dagster never prunes its event log, and the speed layer's reports alone add some twenty thousand events a day."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg
import sqlalchemy as sa

from assets.dagster_internals import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    SqlEventLogStorage,
    SqlEventLogStorageTable,
)

_RUNS_A_PAGE = 200
_ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


@dataclass(frozen=True)
class Pruned:
    """How many of each were deleted."""

    events: int
    checks: int
    runs: int


def prune(instance: dg.DagsterInstance, before: datetime) -> Pruned:
    """Deletes what is older.

    The latest materialization of each partition stays, with its run: by it Dagster knows that the partition is there.
    So does the latest result of each check on it. Deleting old runs whole, as `dagster run delete` does, would make
    their partitions missing.
    """
    events = _prune_events(instance, before)
    checks = _prune_checks(instance, before)
    runs = 0
    wanted = dg.RunsFilter(statuses=_ENDED, created_before=before)
    cursor = None
    while page := instance.get_runs(wanted, cursor=cursor, limit=_RUNS_A_PAGE):
        for run in page:
            if not instance.all_logs(run.run_id):
                instance.delete_run(run.run_id)
                runs += 1
        cursor = page[-1].run_id
    return Pruned(events, checks, runs)


def _prune_events(instance: dg.DagsterInstance, before: datetime) -> int:
    storage = _storage(instance)
    log, tags = SqlEventLogStorageTable, AssetEventTagsTable
    # the instance's own interface deletes by run only, and what sensors report belongs to none
    materialized = log.c.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION.value
    latest = sa.select(sa.func.max(log.c.id)).where(materialized).group_by(log.c.asset_key, log.c.partition)
    over: Any = sa.and_(
        # as Dagster stores them: UTC without a zone
        log.c.timestamp < before.replace(tzinfo=None),
        sa.or_(log.c.dagster_event_type.is_(None), ~materialized, log.c.id.not_in(latest)),
    )
    with storage.index_connection() as connection:
        connection.execute(tags.delete().where(tags.c.event_id.in_(sa.select(log.c.id).where(over))))
        return connection.execute(log.delete().where(over)).rowcount


def _prune_checks(instance: dg.DagsterInstance, before: datetime) -> int:
    """Dagster keeps each result a second time, for the checks' pages."""
    done = AssetCheckExecutionsTable
    latest = sa.select(sa.func.max(done.c.id)).group_by(done.c.asset_key, done.c.check_name, done.c.partition)
    over = sa.and_(done.c.create_timestamp < before.replace(tzinfo=None), done.c.id.not_in(latest))
    with _storage(instance).index_connection() as connection:
        return connection.execute(done.delete().where(over)).rowcount


def _storage(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    storage = instance.event_log_storage
    if not isinstance(storage, SqlEventLogStorage):
        raise TypeError(f"can't prune the event log in {type(storage).__name__}")
    return storage
