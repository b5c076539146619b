"""Hours and days of the batch layer. A key is the name that the lake's folders use too."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import dagster as dg

from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import DAY_FORMAT, HOUR_FORMAT, hour_of
from streamgauge.dagster.keys import AssetPath
from streamgauge.state.starts import Starts, first_day

HOURS_A_RUN = 168
DAYS_A_RUN = 31

HOURLY_RUNS = dg.BackfillPolicy.multi_run(HOURS_A_RUN)
DAILY_RUNS = dg.BackfillPolicy.multi_run(DAYS_A_RUN)


@dataclass(frozen=True)
class Partitions:
    """Of one stream. The hour and the day still open are partitions too: they can be made, and are made again."""

    ingest_hours: dg.TimeWindowPartitionsDefinition
    """Of the lake."""
    event_hours: dg.TimeWindowPartitionsDefinition
    """Of all that comes after it."""
    event_days: dg.TimeWindowPartitionsDefinition


PartitionsOf = Callable[[Contract], Partitions]


def partitions_since(starts: Starts) -> Partitions:
    return Partitions(_hours(starts.ingest), _hours(starts.event), _days(starts.event))


def partitions_of(starts: Mapping[str, Starts]) -> PartitionsOf:
    """By the streams' starts."""
    return lambda contract: partitions_since(starts[contract.stream])


def _hours(start: datetime) -> dg.TimeWindowPartitionsDefinition:
    return dg.HourlyPartitionsDefinition(start_date=start, timezone="UTC", fmt=HOUR_FORMAT, end_offset=1)


def _days(start: datetime) -> dg.TimeWindowPartitionsDefinition:
    day = start.replace(hour=0)
    return dg.DailyPartitionsDefinition(start_date=day, timezone="UTC", fmt=DAY_FORMAT, end_offset=1)


ALL = partitions_since(Starts(first_day(), first_day()))
"""Every hour that the batch layer may have."""


def upstream(path: AssetPath) -> dg.AssetDep:
    """What an hour or a day is made of. Some of it may be no partition: today's later hours, or those before the
    stream's first, and a backfill would fail for that.
    """
    mapping = dg.TimeWindowPartitionMapping(allow_nonexistent_upstream_partitions=True)
    return dg.AssetDep(dg.AssetKey(path), partition_mapping=mapping)


def hours_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> list[datetime]:
    """The hours that this run is to make, in order: one, or all of its range."""
    return [hour_of(key) for key in context.partition_keys]
