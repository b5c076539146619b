"""The one place where Dagster's parts meet: every asset, check, job and sensor of every contract."""

from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

import dagster as dg

from assets import dims, external, facts, housekeeping, jobs, lake, quality, reconciliation, rollups
from assets.automation import automation_sensor
from assets.code import with_links
from assets.generations.job import fill_job
from assets.partitions import partitions_of
from assets.rebuild import job as rebuild
from assets.reload import reload_definitions
from assets.resources import BatchResource
from lineage.sensor import make_openlineage_sensor
from sensors import audit, contract_changes, generations, late_data, observer
from sensors.alerting import sensor as alerts
from sensors.anomalies import sensor as anomalies
from streamgauge.contract.in_use import ContractsInUse
from streamgauge.errors import UserError
from streamgauge.settings import LogSettings, contracts_dir
from streamgauge.state.starts import where_data_begins
from streamgauge.telemetry.log_export import export_logs
from streamgauge.telemetry.logs import configure_logs_once


@dg.definitions
def defs() -> dg.Definitions:
    batch = BatchResource()
    if configure_logs_once(LogSettings()):
        # without settings they are loaded too, to be looked at
        with suppress(UserError):
            export_logs("streamgauge-dagster", batch.settings.logs_url)
    connect = partial(batch.connect, autocommit=True)
    in_use = ContractsInUse(contracts_dir(), connect)
    in_use.refresh()
    contracts = tuple(in_use.values())
    always = dg.Definitions.merge(
        contract_changes.definitions(in_use, reload_definitions),
        alerts.definitions(contracts, connect, lambda: batch.settings),
        audit.definitions(connect, lambda: batch.settings),
        dg.Definitions(resources={"batch": batch}, executor=dg.in_process_executor),
    )
    if not contracts:
        # before the first `apply`: what it brings is loaded then
        return always
    starts = where_data_begins("batch", contracts, datetime.now(UTC))
    partitioned, whole = (lake, facts, rollups, reconciliation, quality), (external, dims, rebuild, housekeeping)
    hourly = [job(c) for c in contracts for job in (jobs.lake_job, jobs.event_hours_job, jobs.reconcile_job)]
    return dg.Definitions.merge(
        always,
        *(with_links(part.definitions(contracts, partitions_of(starts))) for part in partitioned),
        *(with_links(part.definitions(contracts)) for part in whole),
        late_data.definitions(contracts, hourly, connect, starts, reload_definitions),
        generations.definitions(contracts, [fill_job(c) for c in contracts], connect),
        observer.definitions(contracts, connect),
        anomalies.definitions(contracts, connect),
        dg.Definitions(sensors=[make_openlineage_sensor(contracts), automation_sensor()]),
    )
