"""Hours of event time that the lake brought rows for, and nothing else, are made again, until they are final.

The demand stands in Postgres (`event_hours`), so it outlives the daemon, failed runs and kills: an hour is pending
until its facts, rollups and reconciliation have all caught up with the lake. After that it is compared again when what
it waited for has come; the lake's open hour is taken when only that is missing; and a final hour is compared once a
week.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
from psycopg import sql

from quality.reconciliation.finality import Settled, reasons
from quality.reconciliation.read import read_settled
from sensors.demand import PastRun, to_run
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.attempts import MEMORY
from streamgauge.dagster.hours import HOUR, HourRange, contiguous, hour_key, hour_of, hour_start
from streamgauge.dagster.names import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from streamgauge.errors import UserError
from streamgauge.state.starts import Starts, first_day
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry.catalog.log_fields import SENSOR
from streamgauge.telemetry.logs import bound_to

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 30
HOURS_A_RUN = 168
_RUNS_AT_ONCE = 4
"""Of one stream, queued ones included: the rest of the demand waits in Postgres, where it can still be joined."""

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]

Jobs = Sequence[Any]
"""As `define_asset_job` returns them: Dagster exports no name for that."""

_RECHECK_AFTER = timedelta(days=6)
"""A final hour is compared again when its latest comparison is as old: what was changed by hand is found within a week.
"""
_RECHECK_EVERY = timedelta(minutes=10)
"""Between two such runs of a stream: they are never in a hurry, and others wait for the same daemon."""
_KEPT_MARGIN = timedelta(days=2)
"""Hours whose rows are about to be dropped are left alone: half of them would look like a difference."""

_OWED_BEFORE = """select min(hour) from event_hours
where stream = %s and least(built, rolled, reconciled) < touched and hour >= %s and hour < %s"""

# Hours without events are made too, so that a partition which is not there is one that is missing: those before the
# lake's newest whole hour. Not while anything else is to be done.
_EMPTY = """select hour, hour + interval '1 hour' from generate_series(%(first)s::timestamptz, (
    select max(hour) from lake_hours where stream = %(stream)s and closed), interval '1 hour') as hour
where not exists (select from event_hours e where e.stream = %(stream)s and e.hour = hour.hour)"""

# An hour never compared is pending too: its facts may have been built by themselves, where there was no record.
_PENDING = """select hour, touched_at from event_hours e
where stream = %(stream)s and hour between %(first)s and %(now)s and (least(built, rolled, reconciled) < touched
or compared_at is null and not exists (select from hour_revisions r where r.stream = e.stream and r.hour = e.hour))"""

# Compared, and not as it should be: not final yet, or with differences that nobody accepted.
_OPEN = """select hour, passed, waits_for, compared_at, touched_at from event_hours e
where stream = %(stream)s and compared_at is not null and least(built, rolled, reconciled) >= touched
and (passed and not exists (select from hour_revisions r where r.stream = e.stream and r.hour = e.hour)
or not passed and not exists (select from accepted_differences a
    where a.stream = e.stream and a.hour = e.hour and a.differences = e.differences))"""

_LAKE_MOVED = "select max(written_at) from lake_hours where stream = %s"

# An hour that is over, with numbers that are only provisional.
_PROVISIONAL = """select exists (select from {} where minute >= %(hour)s and minute < %(hour)s + interval '1 hour')
and not exists (select from hour_revisions where stream = %(stream)s and hour = %(hour)s)"""

_TO_RECHECK = """select hour, coalesce(compared_at, to_timestamp(0)) from event_hours e
where stream = %(stream)s and hour >= %(first)s and (compared_at is null or compared_at < %(before)s)
and exists (select from hour_revisions r where r.stream = e.stream and r.hour = e.hour)
order by hour desc limit %(limit)s"""


def definitions(
    contracts: Sequence[Contract],
    jobs: Jobs,
    connect: Callable[[], Connection],
    starts: Mapping[str, Starts],
    reload: Callable[[], None],
) -> dg.Definitions:
    """`starts` are those of the loaded partitions. `reload` loads the definitions anew, and raises UserError."""

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]
        name="late_data",
        jobs=jobs,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs facts, rollups and reconciliation for the hours of event time whose lake moved on, until "
        "they are final, and takes the lake's open hour where only that is missing.",
    )
    @bound_to(**{SENSOR.name: "late_data"})
    def late_data(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        runs = list(_recent_runs(context.instance, now))
        with connect() as connection:
            requests = [r for c in contracts for r in _requests(c, connection, runs, now, starts[c.stream].event)]
            earlier = [c.stream for c in contracts if _begins_earlier(c, connection, starts[c.stream].event)]
        why = _reload(earlier, reload) if earlier else "nothing is due"
        return dg.SensorResult(run_requests=requests, skip_reason=None if requests else why)

    return dg.Definitions(jobs=jobs, sensors=[late_data])


def _requests(
    contract: Contract, connection: Connection, runs: Sequence[dg.RunRecord], now: datetime, first: datetime
) -> Iterator[dg.RunRequest]:
    """`first`: the stream's first partition."""
    lake, take = asset_keys.lake(contract), asset_keys.lake_job(contract)
    if any(not r.dagster_run.is_finished and (_materializes(r, lake) or r.dagster_run.job_name == take) for r in runs):
        # it still brings rows: what is built before it ends would be built twice
        return
    yield from _Demand(contract, connection, runs, now, first).requests()


class _Demand:
    """Of one stream, at one tick."""

    def __init__(
        self,
        contract: Contract,
        connection: Connection,
        runs: Sequence[dg.RunRecord],
        now: datetime,
        first: datetime,
    ) -> None:
        self._contract = contract
        self._connection = connection
        self._now = now
        self._first = first
        self._lateness = timedelta(milliseconds=contract.lateness_ms)
        self._build, self._compare = asset_keys.event_hours_job(contract), asset_keys.reconcile_job(contract)
        self._take = asset_keys.lake_job(contract)
        lake = asset_keys.lake(contract)
        paths = (asset_keys.facts(contract), asset_keys.rollups_hourly(contract), asset_keys.reconciliation(contract))
        mine = [
            r for r in runs if r.dagster_run.job_name in (self._build, self._compare) or _materializes_any(r, paths)
        ]
        loads = [r for r in runs if r.dagster_run.job_name == self._take or _materializes(r, lake)]
        self._past = [p for r in mine if (p := _past(r))]
        self._loaded = [p for r in loads if (p := _past(r))]
        self._compared = [p for r in mine if r.dagster_run.job_name == self._compare and (p := _past(r))]

    def requests(self) -> Iterator[dg.RunRequest]:
        free = _RUNS_AT_ONCE - sum(p.ended is None for p in self._past)
        settled = read_settled(self._connection, self._contract)
        open_hour = to_run(self._open_hour(settled), self._loaded, self._now, 1)
        yield from (_request(self._take, self._contract, hours) for hours in open_hour)
        asked = len(open_hour)
        for job, demand in ((self._build, self._pending()), (self._compare, self._due(settled))):
            ranges = to_run(demand, self._past, self._now, HOURS_A_RUN)[: max(free, 0)]
            free -= len(ranges)
            asked += len(ranges)
            yield from (_request(job, self._contract, hours) for hours in ranges)
        if not asked and free == _RUNS_AT_ONCE:
            empty = self._empty()
            yield from (_request(self._build, self._contract, hours) for hours in empty)
            if not empty:
                yield from (_request(self._compare, self._contract, hours) for hours in self._recheck())

    def _open_hour(self, settled: Settled) -> dict[datetime, datetime]:
        """The lake's hour that is not over yet, where it alone keeps the last full hour of event time from being final:
        else that hour would wait for the end of this one.
        """
        if settled.worker is None:
            return {}
        last = hour_start(settled.worker - self._lateness) - HOUR
        _, lake = reasons(last, self._lateness)
        if last < self._first or settled.waits_for(last, self._lateness) != lake:
            return {}
        query = sql.SQL(_PROVISIONAL).format(sql.Identifier(self._contract.minutes_table))
        row = self._connection.execute(query, {"stream": self._contract.stream, "hour": last}).fetchone()
        return {hour_start(self._now): last + HOUR + self._lateness} if row and row[0] else {}

    def _pending(self) -> dict[datetime, datetime]:
        of = {"stream": self._contract.stream, "first": self._first, "now": self._now}
        return dict(self._connection.execute(_PENDING, of).fetchall())

    def _due(self, settled: Settled) -> dict[datetime, datetime]:
        """Hours to be compared again: what they waited for has come, or is something else by now."""
        (moved,) = self._connection.execute(_LAKE_MOVED, (self._contract.stream,)).fetchone() or (None,)
        due: dict[datetime, datetime] = {}
        for hour, passed, waits_for, compared_at, touched_at in self._connection.execute(
            _OPEN, {"stream": self._contract.stream}
        ):
            waits = settled.waits_for(hour, self._lateness)
            known = waits_for in (None, *reasons(hour, self._lateness))
            # what only the lake can bring is looked for when it has moved
            come = waits is None and (known or (moved is not None and moved > compared_at))
            other = waits is not None and waits != waits_for
            if not passed:
                # to see it explained, or repaired: at longer and longer intervals
                due[hour] = touched_at
            elif come or other:
                due[hour] = compared_at
        return due

    def _empty(self) -> list[HourRange]:
        """Hours without events, the newest first, as one run, so that it delays nothing for long."""
        of = {"stream": self._contract.stream, "first": self._first}
        empty = dict(self._connection.execute(_EMPTY, of).fetchall())
        return to_run(empty, self._past, self._now, HOURS_A_RUN)[-1:]

    def _recheck(self) -> list[HourRange]:
        """Final hours, the newest first, as one run."""
        if any(p.began > self._now - _RECHECK_EVERY for p in self._compared):
            return []
        kept = [t for t in (self._contract.facts_retention_ms, self._contract.minutes_retention_ms) if t is not None]
        oldest = self._now - timedelta(milliseconds=min(kept)) + _KEPT_MARGIN if kept else self._first
        of = {
            "stream": self._contract.stream,
            "first": max(oldest, self._first),
            "before": self._now - _RECHECK_AFTER,
            "limit": HOURS_A_RUN,
        }
        due = dict(self._connection.execute(_TO_RECHECK, of).fetchall())
        return contiguous(due, HOURS_A_RUN)[-1:]


def _begins_earlier(contract: Contract, connection: Connection, first: datetime) -> bool:
    """Whether there are events of hours that were no partitions when the definitions were loaded."""
    row = connection.execute(_OWED_BEFORE, (contract.stream, first_day(), first)).fetchone()
    return row is not None and row[0] is not None


def _reload(streams: Sequence[str], reload: Callable[[], None]) -> str:
    why = f"{', '.join(streams)}: there are events of hours before the first partition"
    try:
        reload()
    except UserError as e:
        log.warning("%s, and %s: %s", why, e.what, e.hint)
        return f"{why}; {e.hint}"
    return f"{why}: the definitions are loaded anew"


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


def _materializes(record: dg.RunRecord, path: asset_keys.AssetPath) -> bool:
    """Of runs that were asked for assets rather than for a job: from the pages, a backfill, or a condition."""
    return dg.AssetKey(path) in (record.dagster_run.asset_selection or ())


def _materializes_any(record: dg.RunRecord, paths: Iterable[asset_keys.AssetPath]) -> bool:
    return any(_materializes(record, path) for path in paths)


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
