"""The one place where Dagster's parts meet: every asset, check, job and sensor of every contract."""

from functools import partial
from importlib import import_module
from importlib.util import find_spec

import dagster as dg

from assets import external, jobs
from assets.resources import Ground
from lineage.sensor import make_openlineage_sensor
from sensors import late_data, observer
from sensors.alerting import sensor as alerts
from streamgauge.contracts import load_contracts
from streamgauge.settings import contracts_dir

PARTS = (
    "assets.lake",
    "assets.facts",
    "assets.dims",
    "assets.rollups",
    "assets.reconciliation",
    "assets.rebuild.job",
    "assets.quality",
    "assets.housekeeping",
)
"""Each has `definitions(contracts)`."""


@dg.definitions
def defs() -> dg.Definitions:
    contracts = load_contracts(contracts_dir())
    ground = Ground()
    connect = partial(ground.connect, autocommit=True)
    modules = [import_module(name) for name in PARTS if find_spec(name)]
    parts = [m.definitions(contracts) for m in modules if hasattr(m, "definitions")]
    hourly = [make(c) for c in contracts for make in (jobs.event_hours_job, jobs.reconcile_job)]
    ready = {m.__name__ for m in modules if hasattr(m, "definitions")}
    if {"assets.facts", "assets.rollups", "assets.reconciliation"} <= ready:
        parts.append(late_data.definitions(contracts, hourly, connect))
    return dg.Definitions.merge(
        external.definitions(contracts),
        observer.definitions(contracts, connect),
        alerts.definitions(contracts, connect, lambda: ground.settings),
        *parts,
        dg.Definitions(
            resources={"ground": ground},
            executor=dg.in_process_executor,
            sensors=[
                make_openlineage_sensor(),
                dg.AutomationConditionSensorDefinition(
                    "automation",
                    target=dg.AssetSelection.all(),
                    use_user_code_server=True,
                    emit_backfills=False,
                    default_status=dg.DefaultSensorStatus.RUNNING,
                    minimum_interval_seconds=30,
                ),
            ],
        ),
    )
