"""A Dagster sensor that reports the runs of both layers as OpenLineage events.

It reads what runs became, after the fact: a run never fails, or waits, for its lineage.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster import (
    DefaultSensorStatus,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
    sensor,  # pyright: ignore[reportUnknownVariableType]
)

from lineage.datasets import by_key
from lineage.emit import emit, stores
from lineage.history import Reported, changes
from lineage.runs import run_events
from lineage.speed import Observed, read_counts, speed_events
from streamgauge.contract.model import Contract
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect
from streamgauge.telemetry.catalog.log_fields import SENSOR
from streamgauge.telemetry.logs import bound_to


@dataclass(frozen=True)
class _Cursor:
    """How far runs are reported, and the hour and count of each stream that were reported last."""

    runs: Reported
    observed: dict[str, Observed]

    @classmethod
    def parse(cls, text: str | None) -> "_Cursor":
        if not text:
            return cls(Reported(datetime.now(UTC).timestamp()), {})
        raw = json.loads(text)
        runs = Reported(raw["since"], raw.get("states", {}))
        return cls(runs, {s: Observed(**o) for s, o in raw["observed"].items()})

    def dump(self) -> str:
        return json.dumps({**vars(self.runs), "observed": {s: vars(o) for s, o in self.observed.items()}})


def make_openlineage_sensor(contracts: Sequence[Contract]) -> SensorDefinition:
    @sensor(
        name="openlineage",
        minimum_interval_seconds=30,
        default_status=DefaultSensorStatus.RUNNING,
        description="Reports runs that began or ended, and the stream worker's hours, as OpenLineage events.",
    )
    @bound_to(**{SENSOR.name: "openlineage"})
    def openlineage(context: SensorEvaluationContext) -> SkipReason:
        settings = Settings.for_role("batch")
        known, where = by_key(contracts), stores(settings)
        cursor = _Cursor.parse(context.cursor)
        runs, reported = changes(context.instance, cursor.runs)
        events = [event for run in runs for event in run_events(run, known, where)]
        with connect(settings, autocommit=True, application="streamgauge openlineage") as connection:
            counts = read_counts(connection, contracts)
        of_worker, observed = speed_events(counts, cursor.observed, datetime.now(UTC), contracts, known, where)
        sent = emit(settings, [*events, *of_worker])
        context.update_cursor(_Cursor(reported, observed).dump())
        return SkipReason(f"{sent} events sent")

    return openlineage
