"""Begins to fill the generations of rollups that `apply` asked for, and begins again what failed or was killed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.attempts import MEMORY, wait
from streamgauge.state.generations import Filling, read_filling
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry.catalog.log_fields import SENSOR
from streamgauge.telemetry.logs import bound_to

NAME = "generations"
INTERVAL_SECONDS = 30
GENERATION_TAG = "generation"


def definitions(
    contracts: Sequence[Contract], jobs: Sequence[dg.JobDefinition], connect: Callable[[], Connection]
) -> dg.Definitions:
    """`jobs` fill a stream's generation, each named as `streamgauge.dagster.keys` says."""

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]
        name=NAME,
        jobs=jobs,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fills the generations of rollups that changed contracts ask for.",
    )
    @bound_to(**{SENSOR.name: NAME})
    def generations(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        with connect() as connection:
            waiting = read_filling(connection)
        requests = list(_requests(context.instance, contracts, waiting))
        if requests:
            return dg.SensorResult(run_requests=requests)
        return dg.SkipReason("; ".join(f"{s}: {f}" for s, f in waiting.items()) or "no generation is to be filled")

    return dg.Definitions(jobs=jobs, sensors=[generations])


_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def _requests(
    instance: dg.DagsterInstance, contracts: Sequence[Contract], waiting: Mapping[str, Filling]
) -> Iterator[dg.RunRequest]:
    now = datetime.now(UTC)
    unfinished = [s for s in dg.DagsterRunStatus if s not in _FINISHED]
    for contract in contracts:
        filling = waiting.get(contract.stream)
        if filling is None:
            continue
        job, tags = asset_keys.fill_job(contract), {GENERATION_TAG: str(filling.generation)}
        if instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=unfinished)):
            continue
        ended = dg.RunsFilter(job_name=job, tags=tags, statuses=_FINISHED, created_after=now - MEMORY)
        ends = [r.update_timestamp.timestamp() for r in instance.get_run_records(ended)]
        if not ends or now.timestamp() >= max(ends) + wait(len(ends)).total_seconds():
            yield dg.RunRequest(job_name=job, tags={"stream": contract.stream, **tags})
