"""Dagster's own tables on the real Postgres: kept connections, and a history that moves to new names."""

import json
import time
from collections.abc import Generator, Iterator
from typing import Any
from uuid import uuid4

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster_postgres.utils import create_pg_engine

from assets import dagster_storage
from assets.dagster_internals import KeyValueStoreTable
from assets.dagster_renames import DONE, new_names, rename_assets
from assets.dagster_storage import PooledPostgresStorage
from streamgauge.stack import dagster
from streamgauge.stack.control import Stack
from streamgauge.stack.credentials import credentials
from streamgauge.stack.parts import part

HOURS = ("2026-11-05-07", "2026-11-05-08")
FORMER = [dg.AssetKey([layer, "olden"]) for layer in ("lake", "facts", "reconciliation", "dims")]
NOW = [
    dg.AssetKey(k)
    for k in (
        ["lake", "olden_lake"],
        ["facts", "olden_facts"],
        ["reconciliation", "olden_reconciliation"],
        ["dims", "dim_olden"],
    )
]
KEPT = dg.AssetKey(["rollups", "olden_hourly"])


@pytest.fixture
def url(fresh_stack: Stack, monkeypatch: pytest.MonkeyPatch) -> str:
    known = credentials(fresh_stack.layout)
    dagster.prepare(known)
    environment = part("dagster-daemon").program(known).environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return environment["STREAMGAUGE_DAGSTER_POSTGRES_URL"]


@pytest.fixture
def instance(url: str, fresh_stack: Stack) -> Generator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(fresh_stack.layout.part("dagster"))) as built:
        yield built


def test_connections_outlive_a_restart_of_postgres(stack: Stack, url: str) -> None:
    storage = PooledPostgresStorage(url)
    before = storage.run_storage.get_runs_count()
    assert storage.event_log_storage.supports_asset_checks
    stack.stop_program("postgres")
    stack.start_program("postgres")
    time.sleep(dagster_storage.TRUSTED_SECONDS)
    assert storage.run_storage.get_runs_count() == before


def test_history_moves_to_the_new_names_once(url: str, instance: dg.DagsterInstance) -> None:
    _forget_names(url)
    for key in (*FORMER, KEPT):
        _make(instance, key)
    assert rename_assets(url) == len(FORMER)
    for former, now in zip(FORMER, NOW, strict=True):
        assert not instance.has_asset_key(former)
        assert _seen(instance, now) == _expected(now)
    assert _seen(instance, KEPT) == _expected(KEPT)
    assert rename_assets(url) == 0


def test_a_stream_whose_new_name_was_anothers_former_one_is_moved_too() -> None:
    keys = [json.dumps(["lake", "a"]), json.dumps(["lake", "a_lake"]), json.dumps(["kafka", "a"]), json.dumps(["x"])]
    assert new_names(keys) == {keys[0]: json.dumps(["lake", "a_lake"]), keys[1]: json.dumps(["lake", "a_lake_lake"])}


def _make(instance: dg.DagsterInstance, key: dg.AssetKey) -> None:
    """A run that makes two hours, and a check on each."""

    @dg.asset(key=key, check_specs=[dg.AssetCheckSpec("contract", asset=key)], partitions_def=_PARTITIONS)
    def asset() -> Iterator[dg.MaterializeResult[Any]]:
        yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True, check_name="contract")])

    for hour in HOURS:
        dg.materialize([asset], partition_key=hour, instance=instance, selection=[asset])
    asked = dg.DagsterRun(key.path[0], run_id=str(uuid4()), asset_selection=frozenset({key}))
    instance.add_run(asked)


_PARTITIONS = dg.HourlyPartitionsDefinition("2026-11-05-00", fmt="%Y-%m-%d-%H")


def _seen(instance: dg.DagsterInstance, key: dg.AssetKey) -> dict[str, object]:
    latest = instance.get_latest_materialization_event(key)
    check = dg.AssetCheckKey(key, "contract")
    history = instance.event_log_storage.get_asset_check_execution_history(check, limit=10)
    runs = instance.get_runs(dg.RunsFilter(job_name=key.path[0]))
    return {
        "latest": latest and latest.asset_materialization and latest.asset_materialization.asset_key,
        "partitions": instance.get_materialized_partitions(key),
        "checks": {(h.key.asset_key, h.evaluation.asset_key) for h in history if h.evaluation},
        "selected": [run.asset_selection for run in runs],
    }


def _expected(key: dg.AssetKey) -> dict[str, object]:
    return {
        "latest": key,
        "partitions": set(HOURS),
        "checks": {(key, key)},
        "selected": [frozenset({key})],
    }


def _forget_names(url: str) -> None:
    """As an instance is that an older version of this code made."""
    with create_pg_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.delete(KeyValueStoreTable).where(KeyValueStoreTable.c.key == DONE))
