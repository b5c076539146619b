"""A check's verdict on each hour of a run over a range, be it of one hour. Such a step yields one result for a check,
and that one belongs to no partition.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import dagster as dg

from assets.dagster_internals import CheckedMaterialization

Verdict = tuple[str, dg.AssetCheckResult]
"""The partition's key, and what was found."""


def log_evaluations(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, key: dg.AssetKey, verdicts: Iterable[Verdict]
) -> None:
    """Must come after the partitions' materialization: Dagster counts a verdict only if it is on the latest one."""
    targets = _latest(context.instance, key, set(context.partition_keys))
    for partition, result in verdicts:
        evaluation = dg.AssetCheckEvaluation(
            asset_key=key,
            check_name=result.check_name or "",
            passed=result.passed,
            metadata=result.metadata,
            severity=result.severity,
            description=result.description,
            partition=partition,
            target_materialization_data=targets.get(partition),
        )
        context.op_execution_context.log_event(evaluation)  # pyright: ignore[reportArgumentType]  which it takes


def _latest(
    instance: dg.DagsterInstance, key: dg.AssetKey, partitions: Collection[str]
) -> Mapping[str, CheckedMaterialization]:
    storage, kind = instance.event_log_storage, dg.DagsterEventType.ASSET_MATERIALIZATION
    ids = storage.get_latest_storage_id_by_partition(key, kind, set(partitions))
    wanted = dg.AssetRecordsFilter(asset_key=key, storage_ids=list(ids.values()))
    found: Any = instance.fetch_materializations(wanted, limit=len(ids)).records if ids else []
    return {
        record.partition_key: CheckedMaterialization(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
        for record in found
        if record.partition_key is not None
    }
