"""The job that fills a stream's next generation of rollups. The sensor `generations` begins it."""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from assets.generations.fill import fill
from assets.resources import BatchResource
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import hour_key


def fill_job(contract: Contract) -> dg.JobDefinition:
    key = dg.AssetKey(asset_keys.minutes(contract))

    @dg.op(name=f"{contract.stream}_fill")
    def fill_generation(context: dg.OpExecutionContext, batch: BatchResource) -> None:
        def done(what: str, hours: Sequence[datetime]) -> None:
            context.log.info(f"{what} of {hour_key(hours[0])} to {hour_key(hours[-1])} are made")

        filled = fill(batch, contract.stream, context.run.run_id, done)
        if filled is None:
            context.log.info("no generation waits to be filled")
            return
        context.log_event(
            dg.AssetObservation(
                key,
                metadata={
                    "generation of rollups": filled.contract.generation,
                    "in the place of": filled.before,
                    "hours": len(filled.hours),
                    "hours that could not be made again": len(filled.lost),
                },
            )
        )

    @dg.job(  # pyright: ignore[reportUnknownMemberType]
        name=asset_keys.fill_job(contract),
        description="Fills the generation of rollups that a changed contract asks for, beside the present one, and has "
        "it read in its place. It may be stopped, and begun again.",
        executor_def=dg.in_process_executor,
        tags={"stream": contract.stream},
    )
    def job() -> None:
        fill_generation()

    return job
