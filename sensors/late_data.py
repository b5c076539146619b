"""Hours of event time that the lake brought rows for, and nothing else, are made again.

The demand stands in Postgres (`event_hours`), so it outlives the daemon, failed runs and kills: an hour is owed until
its facts, rollups and reconciliation have all caught up with the lake.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from sensors.demand import MEMORY, PastRun, to_run
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HourRange, hour_key, hour_of
from streamgauge.dagster.names import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from streamgauge.settings import batch_start
from streamgauge.stores.postgres import Connection

INTERVAL_SECONDS = 30
HOURS_A_RUN = 168
_RUNS_AT_ONCE = 4
"""Of one stream, queued ones included: the rest of the demand waits in Postgres, where it can still be joined."""

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

Jobs = Sequence[Any]
"""As `define_asset_job` returns them: Dagster exports no name for that."""

_OWED = """select hour, touched_at from event_hours
where stream = %s and least(built, rolled, reconciled) < touched and hour between %s and %s"""

# An hour that agreed, but could not be final yet: the watermark or the lake was not far enough past its end.
_UNSETTLED = """with latest as (
    select distinct on (hour) hour, at, passed from reconciliations where stream = %(stream)s order by hour, at desc
), lake as (select max(written_at) as moved from lake_hours where stream = %(stream)s)
select hour, moved from latest, lake
where passed and moved > at and not exists (
    select from final_hours f where f.stream = %(stream)s and f.hour = latest.hour
) and not exists (
    select from event_hours e where e.stream = %(stream)s and e.hour = latest.hour
    and least(e.built, e.rolled, e.reconciled) < e.touched
)"""


def definitions(contracts: Sequence[Contract], jobs: Jobs, connect: Callable[[], Connection]) -> dg.Definitions:
    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]
        name="late_data",
        jobs=jobs,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs facts, rollups and reconciliation for the hours of event time whose lake moved on.",
    )
    def late_data(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        runs = list(_recent_runs(context.instance, now))
        with connect() as connection:
            requests = [r for c in contracts for r in _requests(c, connection, runs, now)]
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else "nothing is owed")

    return dg.Definitions(jobs=jobs, sensors=[late_data])


def _requests(
    contract: Contract, connection: Connection, runs: Sequence[dg.RunRecord], now: datetime
) -> Iterator[dg.RunRequest]:
    if any(not r.dagster_run.is_finished and _makes(r, asset_keys.lake(contract)) for r in runs):
        # it still brings rows: what is built before it ends would be built twice
        return
    made, checked = asset_keys.event_hours_job(contract), asset_keys.reconcile_job(contract)
    paths = (asset_keys.facts(contract), asset_keys.rollups_hourly(contract), asset_keys.reconciliation(contract))
    mine = [r for r in runs if r.dagster_run.job_name in (made, checked) or any(_makes(r, p) for p in paths)]
    past = [p for r in mine if (p := _past(r))]
    free = _RUNS_AT_ONCE - sum(p.ended is None for p in past)
    first = datetime.combine(batch_start(), datetime.min.time(), UTC)
    owed = dict(connection.execute(_OWED, (contract.stream, first, now)).fetchall())
    unsettled = dict(connection.execute(_UNSETTLED, {"stream": contract.stream}).fetchall())
    for job, demand in ((made, owed), (checked, unsettled)):
        ranges = to_run(demand, past, now, HOURS_A_RUN)[: max(free, 0)]
        free -= len(ranges)
        for hours in ranges:
            yield _request(job, contract, hours)


def _request(job: str, contract: Contract, hours: HourRange) -> dg.RunRequest:
    tags = {"stream": contract.stream}
    if hours.first == hours.last:
        return dg.RunRequest(job_name=job, tags=tags, partition_key=hour_key(hours.first))
    ends = {
        RANGE_START_TAG: hour_key(hours.first),
        RANGE_END_TAG: hour_key(hours.last),
    }
    return dg.RunRequest(job_name=job, tags={**tags, **ends})


def _recent_runs(instance: dg.DagsterInstance, now: datetime) -> Iterator[dg.RunRecord]:
    unfinished = [s for s in dg.DagsterRunStatus if s not in _FINISHED]
    yield from instance.get_run_records(dg.RunsFilter(statuses=unfinished))
    yield from instance.get_run_records(dg.RunsFilter(statuses=_FINISHED, created_after=now - MEMORY))


def _makes(record: dg.RunRecord, path: asset_keys.AssetPath) -> bool:
    """Of runs that were asked for assets rather than for a job: from the pages, a backfill, or a condition."""
    return dg.AssetKey(path) in (record.dagster_run.asset_selection or ())


def _past(record: dg.RunRecord) -> PastRun | None:
    hours = _hours(record.dagster_run.tags)
    if hours is None:
        return None
    began = _moment(record.start_time) or record.create_timestamp
    if not record.dagster_run.is_finished:
        return PastRun(hours, began, None)
    return PastRun(hours, began, _moment(record.end_time) or record.update_timestamp)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _hours(tags: Mapping[str, str]) -> HourRange | None:
    key = tags.get(PARTITION_TAG)
    first, last = tags.get(RANGE_START_TAG, key), tags.get(RANGE_END_TAG, key)
    return None if first is None or last is None else HourRange(hour_of(first), hour_of(last))
