"""Tells Dagster how the speed layer does. It reads what the worker keeps in Postgres; the worker knows nothing of it.

A report costs Dagster 30 ms and a row for ever, so there is one a minute for an asset whose watermark moved, and one
for a check when its verdict changed or ten minutes went by.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from quality.speed import NOTHING, SpeedState, Totals, Verdict, check_speed, read_speed
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.keys import AssetPath
from streamgauge.dagster.names import ROW_COUNT
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry.catalog.log_fields import SENSOR
from streamgauge.telemetry.delays import percentile_ms
from streamgauge.telemetry.logs import bound_to

INTERVAL_SECONDS = 60
_REPEAT_SECONDS = 600
_WINDOW_SECONDS = 3600
"""Shares are of the records of the last one to two of these."""

Memory = dict[str, Any]
"""Of one stream between ticks: the watermark and verdicts last reported, and totals to count from."""

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


def definitions(contracts: Sequence[Contract], connect: Callable[[], Connection]) -> dg.Definitions:
    @dg.sensor(  # pyright: ignore[reportUnknownMemberType]
        name="speed_layer",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports topics, minute rollups and top lists: how far they are, and whether they are well.",
    )
    @bound_to(**{SENSOR.name: "speed_layer"})
    def observe(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        now = datetime.now(UTC)
        memory: dict[str, Memory] = json.loads(context.cursor or "{}")
        with connect() as connection:
            states = read_speed(connection, contracts, now)
        reported = 0
        for contract in contracts:
            if contract.stream in states:
                stream = memory.setdefault(contract.stream, {})
                for event in reports(contract, states[contract.stream], stream, now):
                    context.instance.report_runless_asset_event(event)
                    reported += 1
        return dg.SensorResult(skip_reason=f"{reported} events reported", cursor=json.dumps(memory))

    return dg.Definitions(sensors=[observe])


def reports(contract: Contract, state: SpeedState, memory: Memory, now: datetime) -> Iterator[Event]:
    """What there is to say, and `memory` as it is once that is said."""
    moment = now.timestamp()
    watermark = None if state.watermark is None else state.watermark.timestamp()
    if watermark is not None and watermark != memory.get("watermark"):
        memory["watermark"] = watermark
        yield from _materializations(contract, state, now)
    recent = _recent(state.totals, memory, moment)
    sent = memory.setdefault("checks", {})
    for verdict in check_speed(contract, state, recent, now):
        passed, at = sent.get(verdict.check, (None, 0))
        if passed != verdict.passed or moment - at >= _REPEAT_SECONDS:
            sent[verdict.check] = (verdict.passed, moment)
            yield _evaluation(contract, verdict)


def _recent(totals: Totals, memory: Memory, moment: float) -> Totals:
    """Two snapshots, an hour apart: the older one is counted from."""
    older = memory.setdefault("older", asdict(NOTHING))
    newer = memory.setdefault("newer", {"at": moment, "totals": older})
    if moment - newer["at"] >= _WINDOW_SECONDS:
        memory["older"], memory["newer"] = newer["totals"], {"at": moment, "totals": asdict(totals)}
    return totals.since(Totals(**memory["older"]))


def _materializations(contract: Contract, state: SpeedState, now: datetime) -> Iterator[dg.AssetMaterialization]:
    watermark = state.watermark
    assert watermark is not None
    progress = {
        "watermark": dg.MetadataValue.timestamp(watermark),
        "freshness_seconds": round((now - watermark).total_seconds(), 1),
    }
    delays = {
        f"delay_p{name}_ms": bound
        for name, share in (("50", 0.5), ("95", 0.95), ("99", 0.99))
        if (bound := percentile_ms(state.delays, share)) is not None
    }
    totals = state.totals
    topic = {ROW_COUNT: totals.records + state.lag, "records_behind": state.lag}
    minutes = {"records": totals.records, "late": totals.late, "duplicates": totals.duplicates}
    yield _materialization(asset_keys.kafka(contract), {**topic, **progress})
    yield _materialization(
        asset_keys.minutes(contract),
        {**minutes, "dead_letters": totals.dead_letters, "records_behind": state.lag, **delays, **progress},
    )
    yield _materialization(asset_keys.redis_top(contract), {**delays, **progress})


def _materialization(path: AssetPath, metadata: dict[str, Any]) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(asset_key=dg.AssetKey(path), metadata=metadata)


def _evaluation(contract: Contract, verdict: Verdict) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(asset_keys.minutes(contract)),
        check_name=verdict.check,
        passed=verdict.passed,
        severity=dg.AssetCheckSeverity[verdict.severity],
        description=verdict.why,
        metadata=dict(verdict.figures),
    )
