"""A Dagster sensor that tells the OpenLineage events of the runs of both layers.

It reads what runs became, after the fact: a run never fails, or waits, for its lineage.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster import (
    AssetCheckEvaluation,
    AssetCheckSeverity,
    DagsterEventType,
    DagsterInstance,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunRecord,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,  # pyright: ignore[reportUnknownVariableType]
)
from openlineage.client.event_v2 import RunEvent, RunState

from lineage.datasets import Dataset, Key, by_key
from lineage.emit import emit, stores
from lineage.openlineage import Assertion, Stores
from lineage.runs import RunFacts, run_events
from lineage.speed import Observed, read_counts, speed_events
from streamgauge.contract.model import load_contracts
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect

_STATES = {
    DagsterRunStatus.STARTED: RunState.START,
    DagsterRunStatus.SUCCESS: RunState.COMPLETE,
    DagsterRunStatus.FAILURE: RunState.FAIL,
    DagsterRunStatus.CANCELED: RunState.ABORT,
}
_AT_ONCE = 100
_ROWS = ("dagster/partition_row_count", "dagster/row_count")


@dataclass(frozen=True)
class _Cursor:
    """Up to which change of a run all is told, and the hour and count of each stream that were told last."""

    since: float
    observed: dict[str, Observed]

    @classmethod
    def parse(cls, text: str | None) -> "_Cursor":
        if not text:
            return cls(datetime.now(UTC).timestamp(), {})
        raw = json.loads(text)
        return cls(raw["since"], {s: Observed(**o) for s, o in raw["observed"].items()})

    def dump(self) -> str:
        return json.dumps({"since": self.since, "observed": {s: vars(o) for s, o in self.observed.items()}})


def make_openlineage_sensor() -> SensorDefinition:
    @sensor(
        name="openlineage",
        minimum_interval_seconds=30,
        default_status=DefaultSensorStatus.RUNNING,
        description="Tells the OpenLineage events of finished and started runs, and of the stream worker's hours.",
    )
    def openlineage(context: SensorEvaluationContext) -> SkipReason:
        settings = Settings.for_role("batch")
        contracts = load_contracts(settings.contracts_dir)
        known, where = by_key(contracts), stores(settings)
        cursor = _Cursor.parse(context.cursor)
        events, since = _of_runs(context.instance, cursor.since, known, where)
        with connect(settings, autocommit=True, application="streamgauge openlineage") as connection:
            counts = read_counts(connection, contracts)
        told, observed = speed_events(counts, cursor.observed, datetime.now(UTC), contracts, known, where)
        sent = emit(settings, [*events, *told])
        context.update_cursor(_Cursor(since, observed).dump())
        return SkipReason(f"{sent} events told")

    return openlineage


def _of_runs(
    instance: DagsterInstance, since: float, known: Mapping[Key, Dataset], where: Stores
) -> tuple[list[RunEvent], float]:
    records = instance.get_run_records(
        RunsFilter(statuses=list(_STATES), updated_after=datetime.fromtimestamp(since, UTC)),
        limit=_AT_ONCE,
        order_by="update_timestamp",
        ascending=True,
    )
    events: list[RunEvent] = []
    for record in records:
        events += run_events(run_facts(instance, record), known, where)
        since = max(since, record.update_timestamp.replace(tzinfo=UTC).timestamp())
    return events, since


def run_facts(instance: DagsterInstance, record: RunRecord) -> RunFacts:
    run = record.dagster_run
    state = _STATES[run.status]
    rows: dict[Key, int] = {}
    assertions: list[Assertion] = []
    errors: list[str] = []
    if state is not RunState.START:
        wanted = {
            DagsterEventType.ASSET_MATERIALIZATION,
            DagsterEventType.ASSET_CHECK_EVALUATION,
            DagsterEventType.STEP_FAILURE,
        }
        for entry in instance.all_logs(run.run_id, of_type=wanted):
            event = entry.get_dagster_event()
            if event.event_type is DagsterEventType.ASSET_MATERIALIZATION:
                made = event.step_materialization_data.materialization
                key = tuple(made.asset_key.path)
                rows[key] = rows.get(key, 0) + _rows(made.metadata)
            elif event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
                assertions.append(_assertion(event.asset_check_evaluation_data))
            elif event.step_failure_data.error is not None:
                errors.append(_named(event.step_failure_data.error.cls_name))
    selection = {tuple(k.path) for k in run.asset_selection or ()} | rows.keys()
    moment = record.end_time or record.start_time
    at = record.update_timestamp.replace(tzinfo=UTC) if moment is None else datetime.fromtimestamp(moment, UTC)
    failed = state in (RunState.FAIL, RunState.ABORT)
    return RunFacts(
        run.run_id,
        run.job_name.strip("_").lower(),
        state,
        at,
        tuple(sorted(selection)),
        _partitions(run.tags),
        rows,
        tuple(assertions),
        (errors[0] if errors else f"the run is {run.status.value.lower()}") if failed else None,
    )


def _rows(metadata: Mapping[str, object]) -> int:
    for name in _ROWS:
        value = getattr(metadata.get(name), "value", None)
        if isinstance(value, int):
            return value
    return 0


def _assertion(evaluation: AssetCheckEvaluation) -> Assertion:
    severity = "error" if evaluation.severity is AssetCheckSeverity.ERROR else "warn"
    return Assertion(tuple(evaluation.asset_key.path), evaluation.check_name, evaluation.passed, severity)


def _named(error: str | None) -> str:
    """Only the kind: the text of a library's error may quote what it choked on."""
    return f"{error or 'an error'}; Dagster's page of the run says more"


def _partitions(tags: Mapping[str, str]) -> tuple[str, str] | None:
    one = tags.get("dagster/partition")
    if one is not None:
        return one, one
    first, last = (tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    return None if first is None or last is None else (first, last)
