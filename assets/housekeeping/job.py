"""The job `housekeeping`, once a night. One step that fails leaves the others running."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from assets.housekeeping import event_log
from assets.housekeeping.chunks import delete_arrivals, delete_delays, drop_chunks
from assets.housekeeping.lake import tend
from assets.housekeeping.policy import hypertables, lake_tables
from assets.resources import Ground
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError

NIGHTLY = "20 3 * * *"


def definitions(contracts: Sequence[Contract]) -> dg.Definitions:
    del contracts  # the resource reads them when it runs
    schedule = dg.ScheduleDefinition(
        job=housekeeping,
        cron_schedule=NIGHTLY,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions(jobs=[housekeeping], schedules=[schedule])


@dg.op(description="Lake: partitions past their retention, small files, files of dead versions and killed runs.")
def lake_files(context: dg.OpExecutionContext, ground: Ground) -> None:
    now, failed = datetime.now(UTC), list[str]()
    for kept in lake_tables(ground.settings.lake, ground.contracts, now):
        try:
            done = tend(kept, now)
        except UserError as e:
            failed.append(f"{e.what}; {e.hint}")
            continue
        if done is not None:
            context.log.info(
                f"{kept.table.url}: {done.partitions} partitions past their retention, {done.compacted} compacted,"
                f" {done.files} dead files deleted" + (", the rest when nobody writes" if done.conflict else "")
            )
    if failed:
        raise dg.Failure("\n".join(failed))


@dg.op(description="Postgres: chunks of minute rollups past their retention, and the worker's old delays.")
def minute_chunks(context: dg.OpExecutionContext, ground: Ground) -> None:
    now = datetime.now(UTC)
    with ground.connect() as connection:
        for table, chunks in drop_chunks(connection, hypertables(ground.contracts, now)).items():
            context.log.info(f"{table}: {chunks} chunks dropped")
        context.log.info(f"stream_delays: {delete_delays(connection, now)} rows deleted")
        context.log.info(f"stream_arrivals: {delete_arrivals(connection, now)} rows deleted")


@dg.op(description="Dagster: events and runs of more than a month ago, but for each partition's latest.")
def dagster_events(context: dg.OpExecutionContext) -> None:
    events, runs = event_log.prune(context.instance, datetime.now(UTC) - event_log.KEPT)
    context.log.info(f"{events} events and {runs} runs deleted")


@dg.job(  # pyright: ignore[reportUnknownMemberType]
    description="Retention, compaction and vacuum by the contracts' policies.", executor_def=dg.in_process_executor
)
def housekeeping() -> None:
    lake_files()
    minute_chunks()
    dagster_events()
