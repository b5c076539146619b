"""Definitions are loaded anew when `apply` has made other contracts so, or a file with a mistake was put right."""

import logging
from collections.abc import Callable

import dagster as dg

from streamgauge.contract.in_use import ContractsInUse
from streamgauge.errors import UserError
from streamgauge.telemetry.catalog.log_fields import SENSOR
from streamgauge.telemetry.logs import bound_to

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 10
"""Most of what an operator waits for until a new stream is on Dagster's pages."""


def definitions(in_use: ContractsInUse, reload: Callable[[], None]) -> dg.Definitions:
    """`in_use` as it was when the definitions were loaded. `reload` loads them anew, and raises UserError."""
    loaded = dict(in_use)

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]
        name="contracts",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Loads the definitions anew when other contracts were applied.",
    )
    @bound_to(**{SENSOR.name: "contracts"})
    def contracts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        del context
        in_use.refresh()
        if dict(in_use) == loaded:
            return dg.SkipReason("the contracts are those that are loaded")
        try:
            reload()
        except UserError as e:
            log.warning("%s; %s", e.what, e.hint)
            return dg.SkipReason(f"the contracts changed, and {e.what}")
        return dg.SkipReason("the contracts changed: the definitions are loaded anew")

    return dg.Definitions(sensors=[contracts])
