"""The job `housekeeping`, once a night. One step that fails leaves the others running."""

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from assets.housekeeping import event_log
from assets.housekeeping.chunks import delete_arrivals, delete_delays, delete_readers, drop_chunks
from assets.housekeeping.generations import drop_generations
from assets.housekeeping.lake import tend
from assets.housekeeping.policy import HISTORY_KEPT, hypertables, lake_tables
from assets.housekeeping.superseded import delete_superseded
from assets.resources import BatchResource
from lineage.emit import delete_events
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
def lake_files(context: dg.OpExecutionContext, batch: BatchResource) -> None:
    now, failed = datetime.now(UTC), list[str]()
    for kept in lake_tables(batch.settings.lake, batch.contracts, now):
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


@dg.op(description="Postgres: chunks of minute rollups past their retention, old delays, who asked the API long ago.")
def minute_chunks(context: dg.OpExecutionContext, batch: BatchResource) -> None:
    now = datetime.now(UTC)
    with batch.connect() as connection:
        for table, chunks in drop_chunks(connection, hypertables(batch.contracts, now)).items():
            context.log.info(f"{table}: {chunks} chunks dropped")
        context.log.info(f"stream_delays: {delete_delays(connection, now)} rows deleted")
        context.log.info(f"stream_arrivals: {delete_arrivals(connection, now)} rows deleted")
        context.log.info(f"stream_readers: {delete_readers(connection, now - HISTORY_KEPT)} rows deleted")


@dg.op(description="Rollups that a later generation took the place of, after the grace time.")
def old_generations(context: dg.OpExecutionContext, batch: BatchResource) -> None:
    with batch.connect(autocommit=True) as connection:
        for generation in drop_generations(connection, batch.settings.lake):
            context.log.info(f"{generation.stream}: generation {generation.number} is dropped")


@dg.op(description="Postgres: results of checks and comparisons that were made again since, after a month.")
def superseded_results(context: dg.OpExecutionContext, batch: BatchResource) -> None:
    with batch.connect() as connection:
        for table, rows in delete_superseded(connection, datetime.now(UTC) - HISTORY_KEPT).items():
            context.log.info(f"{table}: {rows} rows deleted")


@dg.op(description="Dagster: events, check results and runs of more than a month ago, but for each partition's latest.")
def dagster_events(context: dg.OpExecutionContext) -> None:
    done = event_log.prune(context.instance, datetime.now(UTC) - HISTORY_KEPT)
    context.log.info(f"{done.events} events, {done.checks} check results and {done.runs} runs deleted")


@dg.op(description="Files of OpenLineage events that were last written to more than a month ago.")
def lineage_events(context: dg.OpExecutionContext, batch: BatchResource) -> None:
    files = delete_events(batch.settings, datetime.now(UTC) - HISTORY_KEPT)
    context.log.info(f"{files} files deleted")


@dg.job(  # pyright: ignore[reportUnknownMemberType]
    description="Retention, compaction and vacuum by the contracts' policies.", executor_def=dg.in_process_executor
)
def housekeeping() -> None:
    lake_files()
    minute_chunks()
    old_generations()
    superseded_results()
    dagster_events()
    lineage_events()
