"""What Dagster knows of its runs, as `lineage.runs` wants it: planned assets, rows, checks and the kind of error."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    RunRecord,
    RunsFilter,
)
from openlineage.client.event_v2 import RunState

from lineage.datasets import Key
from lineage.openlineage import Assertion
from lineage.runs import RunFacts
from streamgauge.dagster.names import PARTITION_ROW_COUNT, PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG, ROW_COUNT

STATES = {
    DagsterRunStatus.STARTED: RunState.START,
    DagsterRunStatus.SUCCESS: RunState.COMPLETE,
    DagsterRunStatus.FAILURE: RunState.FAIL,
    DagsterRunStatus.CANCELED: RunState.ABORT,
}
AT_ONCE = 100
"""Runs whose events are read in one tick: a tick must end before Dagster gives it up."""
OVERLAP = timedelta(minutes=2)
"""A change of a run becomes visible when its transaction commits, which may be after a later change did."""
_WRAPPERS = {
    "DagsterExecutionStepExecutionError",
    "DagsterExecutionLoadInputError",
    "DagsterExecutionHandleOutputError",
}
"""Dagster's own, around the error of the code that it ran."""


@dataclass(frozen=True)
class Reported:
    """How far the runs are reported: up to which change, and the state that was reported of each run that changed
    shortly before, or has not ended.
    """

    since: float
    states: Mapping[str, str] = field(default_factory=dict[str, str])


def changes(instance: DagsterInstance, reported: Reported) -> tuple[list[RunFacts], Reported]:
    """What became of runs since, in order; at most `AT_ONCE` changes. A run that began and ended since has both."""
    after = datetime.fromtimestamp(reported.since, UTC) - OVERLAP
    records = instance.get_run_records(
        RunsFilter(statuses=list(STATES), updated_after=after), order_by="update_timestamp", ascending=True
    )
    new = [r for r in records if reported.states.get(r.dagster_run.run_id) != r.dagster_run.status.value]
    found: list[RunFacts] = []
    states = dict(reported.states)
    for record in new[:AT_ONCE]:
        run = record.dagster_run
        if run.status is not DagsterRunStatus.STARTED and run.run_id not in states and record.start_time is not None:
            found.append(_facts(instance, record, RunState.START))
        found.append(_facts(instance, record, STATES[run.status]))
        states[run.run_id] = run.status.value
    since = max([reported.since, *(_updated(r) for r in new[:AT_ONCE])])
    recent = {r.dagster_run.run_id for r in records if _updated(r) > since - OVERLAP.total_seconds()}
    kept = {i: s for i, s in states.items() if i in recent or s == DagsterRunStatus.STARTED.value}
    return found, Reported(since, kept)


def _facts(instance: DagsterInstance, record: RunRecord, state: RunState) -> RunFacts:
    run = record.dagster_run
    events = list(_events(instance, run.run_id, ended=state is not RunState.START))
    rows: dict[Key, int] = {}
    planned: set[Key] = {tuple(k.path) for k in run.asset_selection or ()}
    assertions: list[Assertion] = []
    errors: list[str] = []
    for event in events:
        if event.event_type is DagsterEventType.ASSET_MATERIALIZATION_PLANNED:
            planned.add(tuple(event.asset_materialization_planned_data.asset_key.path))
        elif event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
            built = event.step_materialization_data.materialization
            key = tuple(built.asset_key.path)
            rows[key] = rows.get(key, 0) + _rows(built.metadata)
        elif event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            assertions.append(_assertion(event.asset_check_evaluation_data))
        elif event.event_type is DagsterEventType.STEP_FAILURE:
            errors.append(f"{event.step_key}: {_kind(event.step_failure_data.error)}")
    error = None
    if state in (RunState.FAIL, RunState.ABORT):
        why = errors[0] if errors else f"the run is {run.status.value.lower()}"
        error = f"{why}; Dagster's page of the run says more"
    return RunFacts(
        run.run_id,
        run.job_name.strip("_").lower(),
        state,
        _at(record, state),
        tuple(sorted(planned | rows.keys())),
        _partitions(run.tags),
        rows,
        tuple(assertions),
        error,
    )


def _events(instance: DagsterInstance, run_id: str, *, ended: bool) -> Iterator[Any]:
    wanted = {DagsterEventType.ASSET_MATERIALIZATION_PLANNED}
    if ended:
        wanted |= {
            DagsterEventType.ASSET_MATERIALIZATION,
            DagsterEventType.ASSET_CHECK_EVALUATION,
            DagsterEventType.STEP_FAILURE,
        }
    for entry in instance.all_logs(run_id, of_type=wanted):
        yield entry.get_dagster_event()


def _at(record: RunRecord, state: RunState) -> datetime:
    moment = record.start_time if state is RunState.START else record.end_time
    return record.update_timestamp.replace(tzinfo=UTC) if moment is None else datetime.fromtimestamp(moment, UTC)


def _updated(record: RunRecord) -> float:
    return record.update_timestamp.replace(tzinfo=UTC).timestamp()


def _kind(error: Any) -> str:
    """Of the error that the code raised. Only its kind: the text of a library's error may quote what it choked on."""
    while error is not None and error.cls_name in _WRAPPERS and error.cause is not None:
        error = error.cause
    return (error.cls_name if error is not None else None) or "an error"


def _rows(metadata: Mapping[str, object]) -> int:
    for name in (PARTITION_ROW_COUNT, ROW_COUNT):
        value = getattr(metadata.get(name), "value", None)
        if isinstance(value, int):
            return value
    return 0


def _assertion(evaluation: AssetCheckEvaluation) -> Assertion:
    severity = "error" if evaluation.severity is AssetCheckSeverity.ERROR else "warn"
    return Assertion(tuple(evaluation.asset_key.path), evaluation.check_name, evaluation.passed, severity)


def _partitions(tags: Mapping[str, str]) -> tuple[str, str] | None:
    one = tags.get(PARTITION_TAG)
    if one is not None:
        return one, one
    first, last = tags.get(RANGE_START_TAG), tags.get(RANGE_END_TAG)
    return None if first is None or last is None else (first, last)
