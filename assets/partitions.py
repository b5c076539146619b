"""Hours and days of the batch layer. A key is the name that the lake's folders use too."""

from datetime import UTC, datetime

import dagster as dg

from streamgauge.dagster.hours import DAY_FORMAT, HOUR_FORMAT, hour_of
from streamgauge.dagster.keys import AssetPath
from streamgauge.settings import batch_start

_START = datetime.combine(batch_start(), datetime.min.time(), UTC)

HOURLY = dg.HourlyPartitionsDefinition(start_date=_START, timezone="UTC", fmt=HOUR_FORMAT, end_offset=1)
"""Of ingest time in the lake, of event time after it. The hour still open is a partition too: it can be taken."""

DAILY = dg.DailyPartitionsDefinition(start_date=_START, timezone="UTC", fmt=DAY_FORMAT, end_offset=1)

HOURS_A_RUN = 168
DAYS_A_RUN = 31

HOURLY_RUNS = dg.BackfillPolicy.multi_run(HOURS_A_RUN)
DAILY_RUNS = dg.BackfillPolicy.multi_run(DAYS_A_RUN)


def day_of_hours(hourly: AssetPath) -> dg.AssetDep:
    """What a day is made of. Today's later hours are no partitions yet, and a backfill would fail for that."""
    mapping = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    return dg.AssetDep(dg.AssetKey(hourly), partition_mapping=mapping)


def hours_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> list[datetime]:
    """The hours that this run is to make, in order: one, or all of its range."""
    return [hour_of(key) for key in context.partition_keys]
