"""Failed runs and failed ERROR checks: what has failed and was not made good since.

Both are read from Dagster's log from where the last tick ended. A run that Dagster will retry has not failed yet; a
second failure of an asset that is reported already is the same thing; what succeeds for the same asset and partition
afterwards, whoever asked for it, makes it good. Nothing else ends it but a person who accepts it: `streamgauge alerts
accept`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from sensors.alerting.incidents import Acceptance, Alert
from streamgauge.dagster.hours import DAY_FORMAT, HourRange, hour_of
from streamgauge.dagster.names import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG, WILL_RETRY_TAG

SETTLED = timedelta(seconds=10)
"""Dagster decides on a retry just after the run has failed."""
FIRST_LOOK = timedelta(hours=24)
_OVERLAP = timedelta(minutes=2)
_PAGE = 500
_ALL = ""
"""The partition of what has none."""


@dataclass(frozen=True)
class Finished:
    """A run, or a check's evaluation. `subject` is an asset, or an asset and its check, or a job without assets."""

    subjects: tuple[str, ...]
    partitions: tuple[str, ...]
    ended: datetime
    failure: str | None
    """In words, without anything that an exception quoted; None if it succeeded."""


@dataclass(frozen=True)
class Failing:
    at: datetime
    why: str


@dataclass(frozen=True)
class Memory:
    """`failing` by subject and partition. `seen` is how far Dagster's log has been read."""

    seen: float
    failing: Mapping[str, Mapping[str, Failing]] = field(default_factory=dict[str, dict[str, Failing]])


Failures = Mapping[str, Mapping[str, Failing]]
"""By subject and partition."""


def take_in(failing: Failures, finished: Iterable[Finished]) -> Failures:
    """What fails after all that finished, in the order in which it did. Age ends nothing."""
    after = {subject: dict(of) for subject, of in failing.items()}
    for f in sorted(finished, key=lambda f: f.ended):
        for subject in f.subjects:
            of = after.setdefault(subject, {})
            for partition in f.partitions or (_ALL,):
                known = of.get(partition)
                if f.failure is None and (known is None or known.at <= f.ended):
                    of.pop(partition, None)
                elif f.failure is not None and known is None:
                    of[partition] = Failing(f.ended, f.failure)
    return {s: of for s, of in after.items() if of}


def without_accepted(memory: Memory, acceptances: Iterable[Acceptance]) -> Memory:
    """Without what failed before a person accepted it."""
    accepted = {a.asset: a.at for a in acceptances}
    failing: dict[str, dict[str, Failing]] = {}
    for subject, of in memory.failing.items():
        until = accepted.get(subject.partition(":")[0])
        left = {p: f for p, f in of.items() if until is None or f.at > until}
        if left:
            failing[subject] = left
    return replace(memory, failing=failing)


def partitions_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that a run is for."""
    key = tags.get(PARTITION_TAG)
    first, last = tags.get(RANGE_START_TAG, key), tags.get(RANGE_END_TAG, key)
    if first is None or last is None:
        return ()
    if first == last:
        return (first,)
    try:
        return tuple(HourRange(hour_of(first), hour_of(last)).keys)
    except ValueError:
        day, end = (datetime.strptime(k, DAY_FORMAT) for k in (first, last))
        return tuple((day + timedelta(days=i)).strftime(DAY_FORMAT) for i in range((end - day).days + 1))


def read_runs(instance: dg.DagsterInstance, memory: Memory, now: datetime) -> Memory:
    settled = now - SETTLED
    since = datetime.fromtimestamp(memory.seen, UTC) - _OVERLAP
    wanted = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE],
        updated_after=since,
    )
    records = [r for r in instance.get_run_records(wanted) if r.end_time and since.timestamp() < r.end_time]
    finished = [f for r in records if _ended(r) <= settled and (f := _run(instance, r))]
    return Memory(settled.timestamp(), take_in(memory.failing, finished))


def read_checks(instance: dg.DagsterInstance, memory: Memory, ignored: frozenset[str], now: datetime) -> Memory:
    """`seen` is the log's id here. `ignored` checks are evaluated by somebody else.

    An id is given when an event is written, and the event is seen when its transaction commits: one with a lower id may
    come later. So the latest are read again, which changes nothing where they are known.
    """
    seen, failing = int(memory.seen), memory.failing
    settled, first = seen, None if seen else (now - FIRST_LOOK).timestamp()
    while True:
        found = instance.event_log_storage.get_event_records(
            dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=seen, after_timestamp=first),
            limit=_PAGE,
            ascending=True,
        )
        failing = take_in(failing, _checks(found, ignored))
        seen = max((r.storage_id for r in found), default=seen)
        old = (r.storage_id for r in found if r.timestamp < (now - _OVERLAP).timestamp())
        settled = max(old, default=settled)
        if len(found) < _PAGE:
            return Memory(settled, failing)


def check_alerts(failing: Failures, owners: Mapping[str, tuple[str, str]]) -> Iterator[Alert]:
    """`owners` gives each asset's stream and owner. They go before the runs': a check that blocks fails its run too."""
    for subject, of in failing.items():
        asset, _, check = subject.partition(":")
        yield _alert_of(f"check/{asset}/{check}", "StreamgaugeCheckFailed", asset, owners, of, "check-failed",
                       f"{asset}: the check {check} failed")  # fmt: skip


def run_alerts(failing: Failures, owners: Mapping[str, tuple[str, str]]) -> Iterator[Alert]:
    for asset, of in failing.items():
        yield _alert_of(f"run/{asset}", "StreamgaugeRunFailed", asset, owners, of, "run-failed",
                       f"{asset}: its run failed")  # fmt: skip


def _alert_of(
    cause: str,
    name: str,
    asset: str,
    owners: Mapping[str, tuple[str, str]],
    failing: Mapping[str, Failing],
    runbook: str,
    summary: str,
) -> Alert:
    first = min(failing.values(), key=lambda f: f.at)
    keys = sorted(k for k in failing if k != _ALL)
    span = keys[:1] if len(keys) == 1 else [f"{len(keys)} partitions, {keys[0]} to {keys[-1]}"] if keys else []
    stream, owner = owners.get(asset, ("", "platform"))
    return Alert(
        cause=cause,
        name=name,
        severity="warning",
        stream=stream,
        asset=asset,
        owner=owner,
        summary=summary,
        description=". ".join([first.why, *span]) + ".",
        runbook=runbook,
        since=first.at,
    )


def _ended(record: dg.RunRecord) -> datetime:
    return datetime.fromtimestamp(record.end_time or 0, UTC)


def _run(instance: dg.DagsterInstance, record: dg.RunRecord) -> Finished | None:
    run = record.dagster_run
    failed = run.status is dg.DagsterRunStatus.FAILURE
    if failed and run.tags.get(WILL_RETRY_TAG) == "true":
        return None
    steps = _planned(instance, run.run_id)
    subjects = tuple(dict.fromkeys(asset for assets in steps.values() for asset in assets)) or (run.job_name,)
    if not failed:
        return Finished(subjects, partitions_of(run.tags), _ended(record), None)
    broken = _broken(instance, run.run_id)
    why = f"Run {run.run_id[:8]} failed"
    for step, error in broken.items():
        subjects = tuple(steps.get(step, ())) or subjects
        why += f" in {step} with {error}"
    # the first asset stands for all that the run did not get to
    return Finished(subjects[:1], partitions_of(run.tags), _ended(record), why)


def _planned(instance: dg.DagsterInstance, run_id: str) -> dict[str, list[str]]:
    """By step, the assets that a run was to make."""
    planned: dict[str, list[str]] = {}
    for event in _events(instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED):
        if event.asset_key is not None:
            planned.setdefault(event.step_key or "", []).append("/".join(event.asset_key.path))
    return planned


def _broken(instance: dg.DagsterInstance, run_id: str) -> dict[str, str]:
    """The step that failed first, and the kind of its error: what the error says may quote an event."""
    for event in _events(instance, run_id, dg.DagsterEventType.STEP_FAILURE):
        error: Any = event.step_failure_data.error
        while error is not None and error.cls_name == "DagsterExecutionStepExecutionError" and error.cause is not None:
            error = error.cause
        return {event.step_key or "": (error.cls_name if error is not None else None) or "an error"}
    return {}


def _events(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> Iterator[dg.DagsterEvent]:
    for record in instance.get_records_for_run(run_id, of_type=kind, limit=_PAGE).records:
        if record.event_log_entry.dagster_event is not None:
            yield record.event_log_entry.dagster_event


def _checks(records: Sequence[dg.EventLogRecord], ignored: frozenset[str]) -> Iterator[Finished]:
    for record in records:
        entry = record.event_log_entry
        evaluation = entry.asset_check_evaluation
        if evaluation is None or evaluation.check_name in ignored:
            continue
        asset = "/".join(evaluation.asset_key.path)
        failed = not evaluation.passed and evaluation.severity is dg.AssetCheckSeverity.ERROR
        yield Finished(
            subjects=(f"{asset}:{evaluation.check_name}",),
            partitions=(evaluation.partition,) if evaluation.partition else (),
            ended=datetime.fromtimestamp(entry.timestamp, UTC),
            failure=f"Failed in run {entry.run_id[:8]}" if failed else None,
        )
