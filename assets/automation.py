"""When Dagster makes an asset by itself.

The ready-made conditions ask for a partition once and then consider it handled: after a failure, or an outage of more
than one partition, nobody asks again. These ask until it is there.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from streamgauge.dagster.attempts import MEMORY, wait
from streamgauge.dagster.hours import HOUR, HourRange, hour_start, is_closed
from streamgauge.dagster.names import MAX_RETRIES_TAG, PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG
from streamgauge.state.starts import LOOK_BACK

CLOSED = "closed"
_PAGE = 500

Condition = dg.AutomationCondition[Any]


class _ClosedHourDue(dg.AutomationCondition[dg.AssetKey]):
    """An hour that is over and was never made whole: the open hour may be taken at any time, and then holds only what
    had come by then. A materialization says by its metadata `closed` which it was.
    """

    @property
    def description(self) -> str:
        return f"closed hours of the last {LOOK_BACK // HOUR} not made whole"

    @property
    def name(self) -> str:
        return "closed_hour_due"

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        closed = _closed_hours(context.evaluation_time, context.partitions_def)
        built = _completed(context.asset_graph_view.instance, context.key, closed) if closed.hours else ()
        wanted = set(closed.keys).difference(built)
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection_with_partition_keys(wanted))


class _Rested(dg.AutomationCondition[dg.AssetKey]):
    """A partition whose latest runs did not fail, or failed long enough ago: one minute after the first, then two,
    four … up to an hour. Without it, one that can't succeed would be run on every tick.
    """

    @property
    def description(self) -> str:
        return "no run failed, or the wait after it is over"

    @property
    def name(self) -> str:
        return "rested"

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        now, candidates = context.evaluation_time, context.candidate_subset
        failures = list(_failures(context.asset_graph_view.instance, context.key, now))
        if not failures:
            return dg.AutomationResult(context, candidates)
        keys = sorted(candidates.expensively_compute_partition_keys())
        rested = {k for k in keys if _may_run([at for first, last, at in failures if first <= k <= last], now)}
        return dg.AutomationResult(context, candidates.compute_intersection_with_partition_keys(rested))


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """Evaluates these conditions, in the code server since Dagster doesn't know all of them. Several hours at once
    become one backfill, which makes range runs of them; without, each hour would be a run of its own.
    """
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        use_user_code_server=True,
        emit_backfills=True,
        # one retry for an accident; what fails again waits here
        run_tags={MAX_RETRIES_TAG: "1"},
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
    )


def lake_condition() -> Condition:
    """Every closed hour, once it is closed."""
    return _until_done(_ClosedHourDue())


def daily_condition() -> Condition:
    """A day whose hours were made again since it was last asked for, once none of them is being made.

    An hour made between the asking and the next tick may have missed the run, so it asks once more: a run too many
    is cheaper than a day that stays behind its hours.
    """
    updated = dg.AutomationCondition.any_deps_updated()
    newer = updated.since(dg.AutomationCondition.newly_requested() & ~updated)
    built: Condition = ~dg.AutomationCondition.missing()
    has_hours: Condition = dg.AutomationCondition.any_deps_match(built)  # pyright: ignore[reportUnknownMemberType]
    never = dg.AutomationCondition.missing() & has_hours
    failed = dg.AutomationCondition.execution_failed()
    settled = ~dg.AutomationCondition.any_deps_in_progress()
    return _until_done((newer | never | failed) & settled)


def _until_done(due: Condition) -> Condition:
    """`due` for as long as it is, except while a run is at it, or not long enough after one failed."""
    return due & ~dg.AutomationCondition.in_progress() & _Rested()


def _failures(instance: dg.DagsterInstance, asset: dg.AssetKey, now: datetime) -> Iterator[tuple[str, str, datetime]]:
    """First and last partition of the runs of an asset that failed lately, and when each ended."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], created_after=now - MEMORY)
    for record in instance.get_run_records(failed):
        run = record.dagster_run
        one = run.tags.get(PARTITION_TAG)
        first, last = run.tags.get(RANGE_START_TAG, one), run.tags.get(RANGE_END_TAG, one)
        if asset in (run.asset_selection or ()) and first is not None and last is not None:
            ended = record.update_timestamp.timestamp() if record.end_time is None else record.end_time
            yield first, last, datetime.fromtimestamp(ended, UTC)


def _may_run(failures: Sequence[datetime], now: datetime) -> bool:
    return not failures or now >= max(failures) + wait(len(failures))


def _closed_hours(now: datetime, partitions: dg.PartitionsDefinition[Any] | None) -> HourRange:
    """Without any where the stream begins later."""
    last = hour_start(now) - HOUR
    last = last if is_closed(last, now) else last - HOUR
    first = last - LOOK_BACK + HOUR
    if isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        first = max(first, partitions.start)
    return HourRange(first, last)


def _completed(instance: dg.DagsterInstance, asset: dg.AssetKey, hours: HourRange) -> Iterator[str]:
    wanted = dg.AssetRecordsFilter(
        asset_key=asset, asset_partitions=hours.keys, after_timestamp=hours.first.timestamp()
    )
    cursor = None
    while True:
        found = instance.fetch_materializations(wanted, limit=_PAGE, cursor=cursor)
        for record in found.records:
            built = record.asset_materialization
            if built and built.partition and built.metadata.get(CLOSED) == dg.MetadataValue.bool(True):
                yield built.partition
        if not found.has_more:
            return
        cursor = found.cursor
