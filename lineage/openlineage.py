"""Runs as OpenLineage events: https://openlineage.io/docs/spec/object-model

Every event of a run names its inputs and outputs, with their columns, also that of a run that failed: an edge is
where data may flow, and it doesn't go away because it once didn't.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    InputDatasetFacet,
    OutputDatasetFacet,
    RunFacet,
    column_lineage_dataset,
    data_quality_assertions_dataset,
    error_message_run,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    parent_run,
    schema_dataset,
    set_producer,
)

from lineage.datasets import Dataset, Key

NAMESPACE = "streamgauge"
PRODUCER = "urn:streamgauge"
_IDS = uuid.uuid5(uuid.NAMESPACE_URL, PRODUCER)
set_producer(PRODUCER)


@dataclass(frozen=True)
class Stores:
    """The namespace of each store, by https://openlineage.io/docs/spec/naming"""

    kafka: str
    postgres: str
    redis: str
    lake: str
    database: str
    lake_root: str

    def name(self, dataset: Dataset) -> tuple[str, str]:
        if dataset.store == "postgres":
            return self.postgres, f"{self.database}.{dataset.place}"
        if dataset.store == "lake":
            return self.lake, f"{self.lake_root}/{dataset.place}"
        return (self.kafka if dataset.store == "kafka" else self.redis), dataset.place


@dataclass(frozen=True)
class Assertion:
    """What a check said of a dataset."""

    dataset: Key
    name: str
    passed: bool
    severity: str
    column: str | None = None


@dataclass(frozen=True)
class Step:
    """One dataset's part in a run: which hours, and what came of it. `parent` is a Dagster run and its job."""

    run_id: str
    state: RunState
    at: datetime
    nominal: tuple[datetime, datetime] | None = None
    rows: int | None = None
    error: str | None = None
    parent: tuple[str, str] | None = None


def step_event(dataset: Dataset, known: Mapping[Key, Dataset], stores: Stores, step: Step) -> RunEvent:
    """The event of the run that makes `dataset`."""
    statistics: dict[str, OutputDatasetFacet] = {}
    if step.rows is not None:
        statistics["outputStatistics"] = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=step.rows
        )
    namespace, name = stores.name(dataset)
    output = OutputDataset(
        namespace,
        name,
        facets={**_schema(dataset), **_columns(dataset, known, stores)},
        outputFacets=statistics,
    )
    return _event(
        "/".join(dataset.key), step, [_input(known[k], stores) for k in dataset.inputs if k in known], [output]
    )


def checks_event(dataset: Dataset, stores: Stores, step: Step, assertions: Iterable[Assertion]) -> RunEvent:
    """The event of the checks of `dataset`: they read it, and write nothing."""
    facet = data_quality_assertions_dataset.DataQualityAssertionsDatasetFacet(
        assertions=[
            data_quality_assertions_dataset.Assertion(
                assertion=a.name, success=a.passed, column=a.column, severity=a.severity
            )
            for a in assertions
        ]
    )
    return _event(
        f"{'/'.join(dataset.key)}/checks", step, [_input(dataset, stores, {"dataQualityAssertions": facet})], []
    )


def job_event(job: str, step: Step) -> RunEvent:
    """The event of a whole Dagster run, the parent of its steps."""
    return _event(job, step, [], [])


def child_run_id(run_id: str, name: str) -> str:
    """The same for the same run and step, so that an event sent twice is one."""
    return str(uuid.uuid5(_IDS, f"{run_id}/{name}"))


def _event(job: str, step: Step, inputs: list[InputDataset], outputs: list[OutputDataset]) -> RunEvent:
    facets: dict[str, RunFacet] = {}
    if step.nominal is not None:
        start, end = step.nominal
        facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(_iso(start), _iso(end))
    if step.error is not None:
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(step.error, "Python")
    if step.parent is not None:
        run_id, parent = step.parent
        facets["parent"] = parent_run.ParentRunFacet(parent_run.Run(run_id), parent_run.Job(NAMESPACE, parent))
    kind = job_type_job.JobTypeJobFacet(
        processingType="STREAMING" if job.startswith("speed/") else "BATCH", integration="STREAMGAUGE", jobType="JOB"
    )
    return RunEvent(
        eventTime=_iso(step.at),
        producer=PRODUCER,
        eventType=step.state,
        run=Run(step.run_id, facets=facets),
        job=Job(NAMESPACE, job, facets={"jobType": kind}),
        inputs=inputs,
        outputs=outputs,
    )


def _input(dataset: Dataset, stores: Stores, facets: dict[str, InputDatasetFacet] | None = None) -> InputDataset:
    return InputDataset(*stores.name(dataset), facets=_schema(dataset), inputFacets=facets or {})


def _schema(dataset: Dataset) -> dict[str, DatasetFacet]:
    fields = [schema_dataset.SchemaDatasetFacetFields(f.name, f.type, f.description or None) for f in dataset.fields]
    return {"schema": schema_dataset.SchemaDatasetFacet(fields)}


def _columns(dataset: Dataset, known: Mapping[Key, Dataset], stores: Stores) -> dict[str, DatasetFacet]:
    fields: dict[str, Any] = {}
    for column, origins in dataset.origins.items():
        inputs = [
            column_lineage_dataset.InputField(*stores.name(known[o.dataset]), o.column)
            for o in origins
            if o.dataset in known
        ]
        fields[column] = column_lineage_dataset.Fields(inputs)
    return {"columnLineage": column_lineage_dataset.ColumnLineageDatasetFacet(fields)} if fields else {}


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
