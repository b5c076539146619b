"""The stream that is simulated: its contract, and the records that may come."""

from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from typing import Any, Literal, TypeAlias

from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract, DeadLetterSpec, Measure, RollupSpec, Source, TimeSpec, Top
from streamgauge.records.avro import avro_schema, counts_schema, frame, parse, write_record
from streamgauge.settings import CHECKOUT

SCHEMA_ID, COUNTS_ID, NO_ID = 7, 8, 99
LATENESS_S, TOLERANCE_S, HORIZON_S, IDLE_S = 60, 300, 240, 8
LETTERS_SECONDS = 100_000
"""Longer than any run: the limit on dead letters is one on each session."""

Broken: TypeAlias = Literal["empty", "undecodable", "unknown_schema", "contract"]
BROKEN: tuple[Broken, ...] = Broken.__args__


@dataclass(frozen=True)
class Reading:
    """An event. `ms` is its time."""

    id: str
    ms: int
    metric: str
    value: float
    unit: str


Content: TypeAlias = Reading | Broken


def contract(letters: int) -> Contract:
    """With so many dead letters allowed."""
    return replace(_contract(), dead_letters=DeadLetterSpec(limit=letters, perSeconds=LETTERS_SECONDS))


@cache
def _contract() -> Contract:
    base = find_contract(load_contracts(CHECKOUT / "platform" / "contracts"), "metric_events")
    assert base.own_topic is not None
    return replace(
        base,
        own_topic=base.own_topic.model_copy(update={"countsTopic": "app-metric-event-counts"}),
        time=TimeSpec(
            allowedLatenessSeconds=LATENESS_S,
            futureToleranceSeconds=TOLERANCE_S,
            duplicateHorizonSeconds=HORIZON_S,
            idleAfterSeconds=IDLE_S,
        ),
        rollup=RollupSpec(
            dimensions=(Source(name="metric", source="metric"),),
            distinct=(Source(name="units", source="unit"),),
            measures=(Measure(name="value", source="value", last=True),),
            top=(Top(name="units", source="unit", exactKeys=10),),
        ),
    )


@cache
def schemas() -> dict[int, dict[str, Any]]:
    return {SCHEMA_ID: avro_schema(_contract()), COUNTS_ID: counts_schema(_contract())}


@cache
def _parsed() -> Any:
    return parse(avro_schema(_contract()))


@cache
def encoded(content: Content) -> bytes | None:
    if isinstance(content, Reading):
        fields = {"event_id": content.id, "timestamp": content.ms, "metric": content.metric, "value": content.value}
        body = BytesIO()
        write_record(body, _parsed(), {**fields, "unit": content.unit, "tags": {}, "schema_version": 1})
        return frame(SCHEMA_ID) + body.getvalue()
    good = encoded(Reading("id", 1_700_000_000_000, "cpu", 1.0, "s"))
    bad = encoded(Reading("id", 1_700_000_000_000, "cpu", float("nan"), "s"))
    assert good is not None
    return {"empty": None, "undecodable": good[:-1], "unknown_schema": frame(NO_ID) + good[5:], "contract": bad}[
        content
    ]
