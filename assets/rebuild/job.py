"""The rebuild from Dagster's pages: a job a stream, with the hours in its configuration."""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from assets.rebuild.rebuild import Rebuilt, rebuild
from assets.resources import BatchResource
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HourRange, hour_key, parse_hour


class Hours(dg.Config):
    first: str = Field(description="First hour of event time, such as 2026-11-05-07, UTC.")
    last: str = Field(description="Last hour.")


def definitions(contracts: Sequence[Contract]) -> dg.Definitions:
    return dg.Definitions(jobs=[_job(c) for c in contracts])


def _job(contract: Contract) -> dg.JobDefinition:
    key = dg.AssetKey(asset_keys.minutes(contract))

    @dg.op(name=f"{contract.stream}_rebuild")
    def rebuild_minutes(context: dg.OpExecutionContext, config: Hours, batch: BatchResource) -> None:
        def done(hour: Rebuilt) -> None:
            context.log_event(
                dg.AssetObservation(
                    key,
                    metadata={
                        "rebuilt hour": hour_key(hour.hour),
                        "rows": hour.rows,
                        "count": hour.count,
                        "late events counted": hour.late,
                        "duplicates": hour.duplicates,
                        "repaired rows": hour.repaired,
                    },
                )
            )

        rebuild(batch.settings, contract, HourRange(parse_hour(config.first), parse_hour(config.last)), done)

    @dg.job(  # pyright: ignore[reportUnknownMemberType]
        name=f"{contract.stream}_rebuild_minutes",
        description="Makes the minute rollups of closed hours again from the lake, with late events counted. The "
        "worker may run meanwhile.",
        executor_def=dg.in_process_executor,
        tags={"stream": contract.stream},
    )
    def rebuild_job() -> None:
        rebuild_minutes()

    return rebuild_job
