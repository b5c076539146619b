"""Contracts that read a topic of somebody else's: what they may say, and what is made of the records."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from streamgauge.access.kafka import acls
from streamgauge.access.load import load_access
from streamgauge.apply.actual import Actual, ActualDatabase, ActualTopic
from streamgauge.apply.desired import TIMESTAMP_TYPE, desired
from streamgauge.apply.plan import make_plan
from streamgauge.contract.load import load_contract
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.project.make import make_project
from streamgauge.records.avro import avro_schema
from streamgauge.records.payloads import Payloads
from streamgauge.records.record_decoder import RecordDecoder
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.settings import ACCESS_FILE
from streaming.worker.partition import Progress
from streaming.worker.pipeline import Pipeline
from streaming.worker.records import Positions, Records
from tests.integration.own_stream import Document, block, prop
from tests.unit.test_decode import encode

JSON = {"topic": "shop.orders", "format": "json"}
DEFAULT = {"property": "default", "value": "paid"}
PSEUDONYMS = Pseudonyms("a secret", "orders")


def source(document: Document, **value: Any) -> None:
    """In the place of the topic that the contract's example makes."""
    properties: list[dict[str, Any]] = document["customProperties"]
    document["customProperties"] = [p for p in properties if p["property"] != "topic"]
    document["customProperties"].append({"property": "source", "value": {**JSON, **value}})
    del document["schema"][0]["physicalName"]


def example(folder: Path) -> Document:
    make_project(folder)
    return yaml.safe_load((folder / "contracts" / "orders.yaml").read_text())


def loaded(folder: Path, document: Document) -> Contract:
    file = folder / "contracts" / "orders.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return load_contract(file)


@pytest.fixture
def document(tmp_path: Path) -> Document:
    built = example(tmp_path)
    source(built)
    return built


def test_the_topic_is_nobody_s_to_change_here(document: Document, tmp_path: Path) -> None:
    contract = loaded(tmp_path, document)
    access = load_access(ACCESS_FILE)
    wanted = desired([contract], access)
    assert [t.name for t in wanted.topics] == ["app-orders-dead-letters"]
    assert not wanted.subjects
    assert {a.operation for a in acls(access, [contract]) if a.name == "shop.orders"} == {"read", "describe"}
    with pytest.raises(UserError, match="which others write"):
        contract.check_written_here()
    nothing = Actual({}, {}, None, ActualDatabase(logins=frozenset(wanted.roles)))
    (refused,) = make_plan(wanted, nothing).refusals
    assert (refused.target, "no such topic" in refused.reason) == ("topic shop.orders", True)
    there = replace(nothing, read_topics={"shop.orders": ActualTopic(4, {TIMESTAMP_TYPE: "CreateTime"}, True)})
    plan = make_plan(wanted, there)
    assert not plan.refusals
    assert plan.notes[0].text == "4 partitions, CreateTime, as they are"
    assert "shop.orders" not in str((*plan.kafka, *plan.registry))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"id": "position"}, "what is sent twice counts twice"),
        ({"key": "event_id"}, "both layers count an event that is sent twice once"),
        ({"id": ["customer"], "key": "customer"}, "both layers count"),
        ({"key": "customer"}, "once by the batch layer"),
        ({"id": ["customer", "state"], "key": "customer"}, "once by the batch layer"),
        ({}, "once by the batch layer"),
    ],
)
def test_what_is_promised_of_ids(value: dict[str, Any], message: str, tmp_path: Path) -> None:
    built = example(tmp_path)
    source(built, **value)
    (topic,) = desired([loaded(tmp_path, built)], load_access(ACCESS_FILE)).read_topics
    assert sum(message in p for p in topic.promises) == 1


def both(document: Document) -> None:
    document["customProperties"].append({"property": "topic", "value": {"partitions": 1, "partitionKey": "event_id"}})


def avro_with_a_path(d: Document) -> None:
    block(d, "source")["format"] = "avro"
    prop(d, "state")["physicalName"] = "order.state"


Edit = Callable[[Document], object]
MISTAKES: dict[str, Edit] = {}
"""What is said, by what is wrong."""


def mistake(message: str, edit: Edit) -> None:
    MISTAKES[message] = edit


mistake('format: "xml" must be one of', lambda d: block(d, "source").update(format="xml"))
mistake('source.topic: "a b" can\'t name a topic', lambda d: block(d, "source").update(topic="a b"))
mistake('"nobody" is no property', lambda d: block(d, "source").update(key="nobody"))
mistake('"nothing" is no property; write position', lambda d: block(d, "source").update(id=["nothing"]))
mistake('"event_id" is the event id itself', lambda d: block(d, "source").update(id=["event_id"]))
mistake("names no property", lambda d: block(d, "source").update(id=[]))
mistake("leave it out beside a source", both)
mistake('"a..b" is no path', lambda d: prop(d, "state").update(physicalName="a..b"))
mistake("state would be a value and an object", lambda d: prop(d, "country").update(physicalName="state.country"))
mistake("is not read from JSON", lambda d: prop(d, "amount").update(physicalType="map<string,string>"))
mistake("a default is Avro's", lambda d: prop(d, "state").update(customProperties=[DEFAULT]))
mistake('"iso" must be one of rfc3339', lambda d: prop(d, "happened_at")["logicalTypeOptions"].update(format="iso"))
mistake("is for a time in the JSON", lambda d: prop(d, "state").update(logicalTypeOptions={"format": "rfc3339"}))
mistake("is for the path into the JSON", avro_with_a_path)


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_in_a_source_is_reported(message: str, document: Document, tmp_path: Path) -> None:
    MISTAKES[message](document)
    with pytest.raises(UserError) as raised:
        loaded(tmp_path, document)
    assert message in raised.value.what


def order(n: int, **other: Any) -> dict[str, Any]:
    at = f"2026-03-01T12:00:{n:02d}Z"
    return {"event_id": f"e{n}", "happened_at": at, "customer": "c", "state": "paid", "country": "AT"} | other


def ids(contract: Contract, *records: dict[str, Any], first: int = 0) -> list[str | None]:
    payloads = Payloads.of([json.dumps(r).encode() for r in records])
    offsets = np.arange(first, first + len(records))
    decoded = RecordDecoder(contract, lambda _: None).decode(payloads, np.full(len(records), 2), offsets)
    assert list(decoded.frame.columns) == ["__row", *contract.field]
    return decoded.frame[contract.event_id].to_list()


def test_ids_of_positions_are_the_same_however_records_are_read(document: Document, tmp_path: Path) -> None:
    block(document, "source")["id"] = "position"
    contract = loaded(tmp_path, document)
    assert ids(contract, order(1), order(1), first=40) == ["2-40", "2-41"]
    assert ids(contract, order(1), first=41) == ["2-41"]


def test_ids_of_fields_differ_where_the_fields_do(document: Document, tmp_path: Path) -> None:
    block(document, "source")["id"] = ["customer", "state"]
    contract = loaded(tmp_path, document)
    pairs = [("a|", "b"), ("a", "|b"), ("a\\", "|b"), ("a\\|", "b"), ("a", "b"), ("a", "b")]
    found = ids(contract, *(order(1, customer=c, state=s) for c, s in pairs), order(1, customer=None))
    assert len(set(found[:5])) == 5 and found[4] == found[5] == "a|b" and found[6] is None


def test_avro_of_others_gets_ids_too(document: Document, tmp_path: Path) -> None:
    block(document, "source").update(format="avro", id=["customer", "happened_at"])
    contract = loaded(tmp_path, document)
    schema = avro_schema(replace(contract, fields=contract.read_fields))
    record = {"happened_at": 1_700_000_000_000, "customer": "ann", "state": "paid", "country": "AT", "amount": None}
    payloads = Payloads.of([encode(schema, 1, **record)])
    decoded = RecordDecoder(contract, {1: schema}.get).decode(payloads, np.zeros(1, np.int64), np.zeros(1, np.int64))
    assert decoded.frame["event_id"].to_list() == ["ann|1700000000000"]


def records(values: list[bytes], created_ms: list[int], read_ms: int) -> Records:
    """Of one partition, from its beginning."""
    n = len(values)
    return Records(
        Positions(np.zeros(n, np.int64), np.arange(n), np.array(created_ms, np.int64), {}, read_ms),
        Payloads.of([None] * n),
        Payloads.of(values),
        lambda row: pytest.fail(f"{row} is no dead letter"),
        lambda _: [],
        lambda rows: np.zeros(len(rows), np.bool_),
    )


def test_a_producer_s_clock_that_is_ahead_makes_nobody_late(document: Document, tmp_path: Path) -> None:
    contract = loaded(tmp_path, document)
    contract = replace(contract, time=contract.time.model_copy(update={"futureToleranceSeconds": 7200}))
    pipeline = Pipeline(contract, lambda _: None, PSEUDONYMS)
    pipeline.take_over(Progress(0, 0, 1, None))
    now = 1_772_366_400_000  # 2026-03-01T12:00:00Z
    times = ["2026-03-01T12:55:00Z", "2026-03-01T12:00:01Z"]
    values = [json.dumps(order(i, happened_at=at)).encode() for i, at in enumerate(times)]
    built = pl.Series(times).str.to_datetime(time_unit="ms").to_physical().to_numpy()
    (delta,) = pipeline.aggregate([pipeline.check(records(values, built.tolist(), now + 1000))]).partitions
    assert (delta.counted, delta.late, delta.after.watermark) == (2, 0, now + 1000)


def test_debezium_s_envelope_is_read_by_paths(document: Document, tmp_path: Path) -> None:
    block(document, "source")["id"] = "position"
    prop(document, "happened_at").update(physicalName="ts_ms")
    prop(document, "happened_at")["logicalTypeOptions"]["format"] = "epoch-ms"
    for name, path in (("state", "op"), ("country", "after.country"), ("customer", "before.country")):
        prop(document, name).update(physicalName=path, required=name == "state", classification="public")
        prop(document, name)["quality"] = []
        prop(document, name)["logicalTypeOptions"] = {"maxLength": 8}
    block(document, "derived")["where_to"] = "coalesce(country, customer)"
    rollup = block(document, "rollup")
    rollup["dimensions"] = [{"name": "op", "source": "state"}, {"name": "country", "source": "where_to"}]
    pipeline = Pipeline(loaded(tmp_path, document), lambda _: None, PSEUDONYMS)
    pipeline.take_over(Progress(0, 0, 1, None))
    at, de, fr = 1_772_366_400_000, {"country": "DE"}, {"country": "FR"}
    changes = [("r", None, de), ("c", None, de), ("u", de, fr), ("d", fr, None)]
    values = [
        json.dumps({"op": op, "ts_ms": at, "before": b, "after": a, "source": {}}).encode() for op, b, a in changes
    ]
    minutes = pipeline.aggregate([pipeline.check(records(values, [at] * len(values), at))]).minutes
    found = minutes.select("op", "country", "count").sort("op").rows()
    assert found == [("c", "DE", 1), ("d", "FR", 1), ("r", "DE", 1), ("u", "FR", 1)]
