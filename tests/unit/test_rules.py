"""The contracts' rules, as the producer and the worker apply them."""

from io import BytesIO
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract
from streamgauge.contract.rules import violations
from streamgauge.producer.frame import breaches, frame_of, frame_schema
from streamgauge.records.avro import avro_schema, frame, parse, write_record
from streamgauge.records.decode import Decoder
from streamgauge.records.payloads import Payloads
from streamgauge.settings import CHECKOUT
from streaming.load.values import breakers
from tests.oracle import keeps

CONTRACTS = {c.stream: c for c in load_contracts(CHECKOUT / "platform" / "contracts")}

GOOD: dict[str, dict[str, Any]] = {
    "user_events": {
        "event_id": "a",
        "user_id": "ann",
        "event_type": "PushEvent",
        "timestamp": 1_700_000_000_000,
        "properties": {"size": "1"},
        "metadata": {},
    },
    "system_events": {
        "event_id": "a",
        "timestamp": 1_700_000_000_000,
        "service": "nova",
        "component": "nova.api",
        "level": "INFO",
        "template": "E25",
        "http_method": "GET",
        "http_status": 200,
        "response_bytes": 1893,
        "response_seconds": 0.25,
    },
    "metric_events": {"event_id": "a", "timestamp": 1_700_000_000_000, "metric": "cpu", "value": 0.5, "tags": {}},
}


def broken_rules(contract: Contract, event: dict[str, Any]) -> list[str]:
    frame, mistyped = frame_of(contract, [event])
    return [b.rule for b in (*mistyped, *breaches(contract, frame))]


@pytest.mark.parametrize("stream", GOOD)
def test_a_good_event_breaks_nothing(stream: str) -> None:
    assert broken_rules(CONTRACTS[stream], GOOD[stream]) == []


@pytest.mark.parametrize(
    ("stream", "field", "value", "rule"),
    [
        ("user_events", "event_id", "", "event_id: shorter than 1"),
        ("user_events", "event_id", None, "event_id: missing"),
        ("user_events", "event_id", "x" * 65, "event_id: longer than 64"),
        ("user_events", "event_type", "pushEvent", "event_type: doesn't match ^[A-Z][A-Za-z0-9]*$"),
        ("user_events", "event_type", "PushEvent\n", "event_type: doesn't match ^[A-Z][A-Za-z0-9]*$"),
        ("user_events", "timestamp", 946_684_799_999, "timestamp: below 9.46685e+11"),
        ("user_events", "timestamp", 0, "timestamp: below 9.46685e+11"),
        ("user_events", "timestamp", -1, "timestamp: below 9.46685e+11"),
        ("user_events", "timestamp", "now", "timestamp: not a timestamp-millis"),
        ("user_events", "timestamp", 1 << 63, "timestamp: not a timestamp-millis"),
        ("user_events", "properties", None, "properties: missing"),
        ("user_events", "properties", {"size": 1}, "properties: not a map<string,string>"),
        ("user_events", "schema_version", 0, "schema_version: below 1"),
        ("user_events", "schema_version", 1 << 31, "schema_version: not a int"),
        ("user_events", "schema_version", True, "schema_version: not a int"),
        ("user_events", "user_id", "\ud800", "user_id: not a string"),
        ("system_events", "level", "FATAL", "level: not an allowed value"),
        ("system_events", "http_status", 99, "http_status: below 100"),
        ("system_events", "http_status", 600, "http_status: above 599"),
        (
            "system_events",
            "http_status",
            None,
            "http_request: http_method, http_status, response_bytes, response_seconds not together",
        ),
        ("system_events", "response_seconds", -0.1, "response_seconds: below 0"),
        ("metric_events", "value", float("nan"), "value: not a finite number"),
        ("metric_events", "value", float("inf"), "value: not a finite number"),
        ("metric_events", "value", "1", "value: not a double"),
    ],
)
def test_a_broken_rule_is_named_without_the_value(stream: str, field: str, value: Any, rule: str) -> None:
    assert broken_rules(CONTRACTS[stream], {**GOOD[stream], field: value}) == [rule]


@pytest.mark.parametrize(
    ("stream", "field", "value"),
    [
        ("user_events", "event_id", "é" * 64),
        ("user_events", "event_id", "🙂" * 64),
        ("user_events", "timestamp", 946_684_800_000),
        ("system_events", "http_status", 100),
        ("system_events", "response_seconds", 0),
        ("metric_events", "value", -1e300),
    ],
)
def test_the_edges_are_inside(stream: str, field: str, value: Any) -> None:
    assert broken_rules(CONTRACTS[stream], {**GOOD[stream], field: value}) == []


def test_what_belongs_together_may_be_absent_together() -> None:
    request = dict.fromkeys(("http_method", "http_status", "response_bytes", "response_seconds"))
    assert broken_rules(CONTRACTS["system_events"], {**GOOD["system_events"], **request}) == []


@pytest.mark.parametrize("stream", GOOD)
def test_a_rule_is_never_null(stream: str) -> None:
    contract = CONTRACTS[stream]
    frame = pl.DataFrame({name: [None] for name in frame_schema(contract)}, schema=frame_schema(contract))
    flags = frame.select(r.expr.alias(r.name) for r in violations(contract)).row(0, named=True)
    assert {name for name, broken in flags.items() if broken} == {
        f"{f.name}: missing" for f in contract.fields if f.required
    }
    assert None not in flags.values()


@pytest.mark.parametrize("stream", GOOD)
def test_the_oracle_judges_the_same(stream: str) -> None:
    contract = find_contract(CONTRACTS.values(), stream)
    assert len(breakers(contract)) >= 8
    for breaker in breakers(contract):
        assert not keeps(contract.field[breaker.field], breaker.value), breaker
        assert broken_rules(contract, {**GOOD[stream], breaker.field: breaker.value}), breaker


ids = st.sampled_from(["a", "é" * 64, "x" * 64, "x" * 65, "🙂" * 64, "🙂" * 65, "", "n\0l"])
types = st.sampled_from(["PushEvent", "pushEvent", "", "Push\0", "É"])


@given(st.lists(st.tuples(ids, types), min_size=1, max_size=5), st.integers(1, 3))
def test_a_rule_that_is_spared_is_kept(texts: list[tuple[str, str]], writers: int) -> None:
    """And asking for a whole batch at once finds what asking row by row finds."""
    contract = CONTRACTS["user_events"]
    schema = avro_schema(contract)
    values: list[bytes] = []
    for row, (event_id, event_type) in enumerate(texts):
        stream = BytesIO()
        event = {**GOOD["user_events"], "event_id": event_id, "event_type": event_type, "schema_version": 1}
        write_record(stream, parse(schema), event)
        values.append(frame(1 + row % writers) + stream.getvalue())
    decoded = Decoder(contract.fields, lambda _: schema).decode(Payloads.of(values))
    spared = 0
    for rule in violations(contract):
        broken = decoded.frame.select(rule.expr.any()).item()
        assert decoded.frame.select(rule.anywhere).item() == broken, rule.name
        if rule.kept_by(decoded.bounds):
            spared += 1
            assert not broken, rule.name
    if all(event_id == "a" and event_type == "PushEvent" for event_id, event_type in texts):
        of_texts = [r for r in violations(contract) if any(w in r.name for w in ("NUL", "shorter", "longer"))]
        assert spared == len(of_texts)
