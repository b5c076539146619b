"""What this code needs of Dagster that Dagster doesn't promise, one case each: the case that fails names what moved."""

import importlib
import re
from typing import Any

import pytest

from streamgauge.dagster import names
from streamgauge.settings import CHECKOUT

CONSTANTS = {
    "PARTITION_TAG": ("dagster._core.storage.tags", "PARTITION_NAME_TAG"),
    "RANGE_START_TAG": ("dagster._core.storage.tags", "ASSET_PARTITION_RANGE_START_TAG"),
    "RANGE_END_TAG": ("dagster._core.storage.tags", "ASSET_PARTITION_RANGE_END_TAG"),
    "WILL_RETRY_TAG": ("dagster._core.storage.tags", "WILL_RETRY_TAG"),
    "MAX_RETRIES_TAG": ("dagster._core.storage.tags", "MAX_RETRIES_TAG"),
    "REPOSITORY": ("dagster._core.definitions.repository_definition.valid_definitions", "SINGLETON_REPOSITORY_NAME"),
    "ASSET_JOB": ("dagster._core.definitions.assets.job.asset_job", "IMPLICIT_ASSET_JOB_NAME"),
}
METADATA = {
    "ROW_COUNT": ("TableMetadataSet", "row_count"),
    "PARTITION_ROW_COUNT": ("TableMetadataSet", "partition_row_count"),
    "COLUMN_SCHEMA": ("TableMetadataSet", "column_schema"),
    "COLUMN_LINEAGE": ("TableMetadataSet", "column_lineage"),
    "URI": ("UriMetadataSet", "uri"),
}
COLUMNS = {
    "SqlEventLogStorageTable": {"id", "event", "asset_key", "partition", "dagster_event_type", "timestamp", "run_id"},
    "AssetEventTagsTable": {"asset_key", "event_id"},
    "AssetKeyTable": {"asset_key", "last_materialization", "cached_status_data"},
    "AssetCheckExecutionsTable": {
        "id",
        "asset_key",
        "check_name",
        "partition",
        "run_id",
        "evaluation_event",
        "create_timestamp",
    },
    "AssetDaemonAssetEvaluationsTable": {"asset_key", "asset_evaluation_body"},
    "RunsTable": {"run_id", "run_body"},
    "BulkActionsTable": {"body"},
    "KeyValueStoreTable": {"key", "value"},
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_name_is_as_dagster_has_it(name: str) -> None:
    module, constant = CONSTANTS[name]
    assert getattr(names, name) == getattr(importlib.import_module(module), constant)


@pytest.mark.parametrize("name", METADATA)
def test_a_key_of_metadata_is_as_dagster_has_it(name: str) -> None:
    kind, field = METADATA[name]
    known: Any = getattr(importlib.import_module("dagster._core.definitions.metadata.metadata_set"), kind)
    assert getattr(names, name) == f"{known.namespace()}/{field}"
    assert field in known.model_fields


@pytest.mark.parametrize("table", COLUMNS)
def test_a_table_has_the_columns_that_are_used(table: str) -> None:
    known: Any = getattr(importlib.import_module("assets.dagster_internals"), table)
    assert COLUMNS[table] <= set(known.c.keys())


def test_the_daemons_heartbeats_stand_where_they_are_read() -> None:
    from dagster._core.storage.runs.schema import DaemonHeartbeatsTable
    from dagster._daemon.daemon import SensorDaemon

    assert DaemonHeartbeatsTable.name == names.HEARTBEATS_TABLE
    assert names.HEARTBEAT_COLUMN in DaemonHeartbeatsTable.c
    assert names.DAEMON_COLUMN in DaemonHeartbeatsTable.c
    assert SensorDaemon.daemon_type() == names.SENSOR_DAEMON


def test_the_storages_keep_their_engine_where_it_is_replaced() -> None:
    """`PooledPostgresStorage` gives each of the three storages a pool of connections."""
    import inspect

    from dagster_postgres.event_log import PostgresEventLogStorage
    from dagster_postgres.run_storage import PostgresRunStorage
    from dagster_postgres.schedule_storage import PostgresScheduleStorage

    for storage in (PostgresRunStorage, PostgresEventLogStorage, PostgresScheduleStorage):
        assert "self._engine" in inspect.getsource(storage), storage.__name__
    assert hasattr(PostgresEventLogStorage, "has_table")


def test_the_web_server_asks_for_the_context_that_the_guard_decides() -> None:
    """`Workspace` lets a request change only what its sender may: Dagster must ask it, and heed `read_only`."""
    import inspect

    from assets import dagster_internals
    from assets.dagster_web import create_web_app

    webserver: Any = importlib.import_module("dagster_webserver.webserver").DagsterWebserver
    permissions: Any = importlib.import_module("dagster._core.workspace.permissions")
    internals: Any = dagster_internals
    asks = inspect.getsource(webserver._make_request_context)
    assert "self._process_context.create_request_context(conn)" in asks
    assert "source" in inspect.signature(internals.WorkspaceProcessContext.create_request_context).parameters
    wanted = {"instance", "current_workspace", "process_context", "version", "source", "read_only"}
    assert wanted <= inspect.signature(internals.WorkspaceRequestContext).parameters.keys()
    assert not any(p.enabled for p in permissions.get_user_permissions(True).values())
    assert permissions.get_user_permissions(False)["edit_sensor"].enabled
    assert "live_data_poll_rate" in inspect.signature(create_web_app).parameters
    assert internals.WorkspaceFileTarget(paths=["x"]).paths == ["x"]


def test_nothing_else_imports_what_dagster_does_not_export() -> None:
    private = re.compile(r"^\s*(?:from|import) dagster\._", re.MULTILINE)
    folders = ("platform", "assets", "quality", "lineage", "sensors", "serving", "streaming")
    sources = [p for f in folders for p in (CHECKOUT / f).rglob("*.py") if "node_modules" not in p.parts]
    found = {str(p.relative_to(CHECKOUT)) for p in sources if private.search(p.read_text())}
    assert found == {"assets/dagster_internals.py"}
