"""All that Dagster doesn't export and this code needs nevertheless.

Dagster may move or change it in any release: `tests/unit/test_dagster_names.py` says what did.
"""

from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as CheckedMaterialization,
)
from dagster._core.storage.config import PostgresStorageConfig
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.runs.schema import BulkActionsTable, KeyValueStoreTable, RunsTable
from dagster._core.storage.schedules.schema import AssetDaemonAssetEvaluationsTable
from dagster._core.workspace.context import WorkspaceProcessContext, WorkspaceRequestContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._grpc.client import DagsterGrpcClient
from dagster._serdes import ConfigurableClassData

__all__ = [
    "AssetCheckExecutionsTable",
    "AssetDaemonAssetEvaluationsTable",
    "AssetEventTagsTable",
    "AssetKeyTable",
    "BulkActionsTable",
    "CheckedMaterialization",
    "ConfigurableClassData",
    "DagsterGrpcClient",
    "KeyValueStoreTable",
    "PostgresStorageConfig",
    "RunsTable",
    "SqlEventLogStorage",
    "SqlEventLogStorageTable",
    "WorkspaceFileTarget",
    "WorkspaceProcessContext",
    "WorkspaceRequestContext",
]
