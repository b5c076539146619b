"""The sensor `anomalies`: it needs no worker, only what the workers wrote."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from sensors.anomalies.watch import Advanced, advance
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.stores.postgres import Connection, has_relation
from streamgauge.telemetry.catalog.log_fields import SENSOR
from streamgauge.telemetry.logs import bound_to
from streamgauge.telemetry.threads import place_of

log = logging.getLogger(__name__)

NAME = "anomalies"
INTERVAL_SECONDS = 30
_SECONDS_A_STREAM = 10.0
"""Of a tick: a stream with weeks to learn must not keep the others waiting, nor the daemon, which stops it at 60 s."""


def definitions(contracts: Sequence[Contract], connect: Callable[[], Connection]) -> dg.Definitions:
    """`connect` gives connections that commit each statement by itself."""

    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]
        name=NAME,
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Judges each complete minute of every series, and notes what chance does not explain.",
    )
    @bound_to(**{SENSOR.name: NAME})
    def anomalies(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        with connect() as connection:
            if not has_relation(connection, "anomaly_progress"):
                return dg.SkipReason("nothing was applied yet: run `streamgauge apply`")
            judged = began = ended = 0
            for contract in contracts:
                if contract.anomalies.off:
                    continue
                found = list(_advanced(connection, contract))
                judged += sum(a.judged for a in found)
                news = sum(a.began for a in found), sum(a.ended for a in found)
                if any(news):
                    context.instance.report_runless_asset_event(_observation(connection, contract, *news))
                began, ended = began + news[0], ended + news[1]
        return dg.SkipReason(f"{judged} minutes judged, {began} anomalies began, {ended} ended")

    return dg.Definitions(sensors=[anomalies])


def _advanced(connection: Connection, contract: Contract) -> Iterator[Advanced]:
    """An error in one stream leaves the others to be judged."""
    ends = time.monotonic() + _SECONDS_A_STREAM
    more = True
    while more and time.monotonic() < ends:
        try:
            found = advance(connection, contract)
        except Exception as e:
            # What an error says may quote an event.
            log.error("anomalies: %s was not judged: %s%s", contract.stream, type(e).__name__, place_of(e))
            if connection.broken:
                raise
            return
        more = found.more
        yield found


def _observation(connection: Connection, contract: Contract, began: int, ended: int) -> dg.AssetObservation:
    row = connection.execute(
        "select count(*) from anomalies where stream = %s and ended is null", (contract.stream,)
    ).fetchone()
    return dg.AssetObservation(
        asset_key=dg.AssetKey(asset_keys.minutes(contract)),
        metadata={
            "anomalies_began": began,
            "anomalies_ended": ended,
            "anomalies_under_way": row[0] if row else 0,
            "looked_at": dg.MetadataValue.timestamp(datetime.now(UTC)),
        },
    )
