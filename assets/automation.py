"""When Dagster makes an asset by itself.

The ready-made conditions ask for a partition once and then consider it handled: after a failure, or an outage of more
than one partition, nobody asks again. These ask until it is there.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from streamgauge.dagster.hours import HOUR, HourRange, hour_key, hour_start, is_closed

LOOK_BACK = timedelta(hours=72)
"""How long the daemon may be away (a weekend) and its lake hours are still made up without a backfill."""

CLOSED = "closed"
REPEAT = "*/10 * * * *"
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
        closed = _closed_hours(context.evaluation_time)
        made = set(_made_whole(context.asset_graph_view.instance, context.key, closed))
        wanted = {hour_key(h) for h in closed.hours} - made
        return dg.AutomationResult(context, context.candidate_subset.compute_intersection_with_partition_keys(wanted))


def automation_sensor() -> dg.AutomationConditionSensorDefinition:
    """Evaluates these conditions, in the code server since Dagster doesn't know all of them. Several hours at once
    become one backfill, which makes range runs of them; without, each hour would be a run of its own.
    """
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.all(),
        use_user_code_server=True,
        emit_backfills=True,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
    )


def lake_condition() -> Condition:
    """Every closed hour, once it is closed. A failed one again every ten minutes."""
    return _until_done(_ClosedHourDue())


def daily_condition() -> Condition:
    """A day whose hours were made again since it was last asked for, once none of them is being made.

    An hour made between the asking and the next tick may have missed the run, so it asks once more: a run too many
    is cheaper than a day that stays behind its hours.
    """
    updated = dg.AutomationCondition.any_deps_updated()
    newer = updated.since(dg.AutomationCondition.newly_requested() & ~updated)
    made: Condition = ~dg.AutomationCondition.missing()
    has_hours: Condition = dg.AutomationCondition.any_deps_match(made)  # pyright: ignore[reportUnknownMemberType]
    never = dg.AutomationCondition.missing() & has_hours
    failed = dg.AutomationCondition.execution_failed()
    settled = ~dg.AutomationCondition.any_deps_in_progress()
    return _until_done((newer | never | failed) & settled)


def _until_done(due: Condition) -> Condition:
    """`due` for as long as it is, except while a run is at it, or just after one failed."""
    not_failed = ~dg.AutomationCondition.execution_failed() | dg.AutomationCondition.cron_tick_passed(REPEAT)
    return due & ~dg.AutomationCondition.in_progress() & not_failed


def _closed_hours(now: datetime) -> HourRange:
    last = hour_start(now) - HOUR
    last = last if is_closed(last, now) else last - HOUR
    return HourRange(last - LOOK_BACK + HOUR, last)


def _made_whole(instance: dg.DagsterInstance, asset: dg.AssetKey, hours: HourRange) -> Iterator[str]:
    wanted = dg.AssetRecordsFilter(
        asset_key=asset, asset_partitions=hours.keys, after_timestamp=hours.first.timestamp()
    )
    cursor = None
    while True:
        found = instance.fetch_materializations(wanted, limit=_PAGE, cursor=cursor)
        for record in found.records:
            made = record.asset_materialization
            if made and made.partition and made.metadata.get(CLOSED) == dg.MetadataValue.bool(True):
                yield made.partition
        if not found.has_more:
            return
        cursor = found.cursor
