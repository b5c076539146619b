"""A first contract that is guessed from records."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from streamgauge.adopt.draft import draft, stream_name
from streamgauge.adopt.guess import shape_of
from streamgauge.adopt.sample import Sampled, Topic
from streamgauge.contract.load import load_contract
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError

START = datetime(2026, 3, 1, tzinfo=UTC)


def topic(records: list[dict[str, Any]], keys: list[str | None] | None = None, **other: Any) -> Topic:
    sampled = [Sampled(k, r) for k, r in zip(keys or [None] * len(records), records, strict=True)]
    return Topic(
        "shop.orders", 3, "CreateTime", 7 * 86_400_000, other.get("format", "json"), other.get("schema"), sampled, 1
    )


def orders(n: int = 200) -> list[dict[str, Any]]:
    rng = random.Random(7)
    return [
        {
            "order": {"id": f"order-{i}", "state": rng.choice(["placed", "paid"])},
            "placedAt": (START + timedelta(minutes=i)).isoformat(),
            "customer": {"email": f"secret{i}@example.com", "country": rng.choice(["AT", "DE"])},
            "total": {"amount": "12.50" if i % 2 else 7.25, "currency": "EUR"},
            "sent_ts": 1_700_000_000 + i,
            "count": i % 50,
            "gift": i % 2 == 0,
            "lines": [{"sku": "secret-sku"}],
            "note": "secret note" if i % 3 else None,
        }
        for i in range(n)
    ]


def contract_of(built: Topic, folder: Path) -> tuple[Contract, str]:
    text = draft("shop_orders", built, shape_of(built))
    file = folder / "shop_orders.yaml"
    file.write_text(text)
    return load_contract(file), text


def test_a_shop_s_orders(tmp_path: Path) -> None:
    found = orders()
    odd: list[dict[str, Any]] = [{"order": {"state": {"is": 1}}}, {"total": {"amount": "a lot"}}]
    contract, text = contract_of(topic([*found, *odd], [f"order-{i}" for i in range(200)] + [None] * 2), tmp_path)
    paths = {f.path: (f.name, f.type) for f in contract.fields}
    assert paths["order.id"] == ("order_id", "string")
    assert paths["total.amount"] == ("total_amount", "double")
    assert paths["gift"] == ("gift", "boolean")
    assert paths["count"] == ("field_count", "long")
    assert (contract.event_id, contract.event_time) == ("order_id", "placed_at")
    assert contract.field["sent_ts"].time_format == "epoch-s"
    assert contract.source is not None and contract.source.key == "order_id"
    assert contract.personal == {"customer_email"}
    assert {d.name for d in contract.rollup.dimensions} == {"order_state", "customer_country", "gift"}
    assert {m.name for m in contract.rollup.measures} == {"total_amount", "field_count"}
    assert 'as [0]: "lines"' in text and "secret" not in text and "a lot" not in text


def test_what_names_no_record_gets_ids_by_position(tmp_path: Path) -> None:
    readings = [{"at": 1_700_000_000_000 + i, "device": f"d{i % 5}", "event_id": 1, "value": i / 7} for i in range(100)]
    contract, _ = contract_of(topic(readings), tmp_path)
    assert contract.source is not None and contract.source.id == "position"
    assert contract.event_id == "event_id" and contract.field["field_event_id"].path == "event_id"


def test_numbers_as_ids_are_texts(tmp_path: Path) -> None:
    contract, _ = contract_of(topic([{"id": i, "at": "2026-03-01T00:00:00Z"} for i in range(100)]), tmp_path)
    assert contract.event_id == "field_id" or contract.field[contract.event_id].path == "id"
    assert contract.field[contract.event_id].type == "string"


def test_avro_keeps_its_names(tmp_path: Path) -> None:
    schema = {
        "type": "record",
        "name": "Reading",
        "fields": [
            {"name": "readingId", "type": "string"},
            {"name": "takenAt", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "value", "type": ["null", "double"]},
            {"name": "tags", "type": {"type": "array", "items": "string"}},
            {"name": "status", "type": "string"},
        ],
    }
    records: list[dict[str, Any]] = [
        {"readingId": f"r{i}", "takenAt": START + timedelta(seconds=i), "value": i / 3, "tags": [], "status": "ok"}
        for i in range(60)
    ]
    contract, text = contract_of(topic(records, format="avro", schema=schema), tmp_path)
    assert [f.name for f in contract.fields] == ["takenAt", "readingId", "value"]
    assert '# left out: "tags"' in text and '# left out: "status"' in text


def test_records_without_a_time_are_refused() -> None:
    built = topic([{"id": f"i{i}"} for i in range(50)])
    with pytest.raises(UserError, match="seems to be a time"):
        draft("shop_orders", built, shape_of(built))


@pytest.mark.parametrize(
    "key", ["a.b", "a[0]", "", "ä ö", "partition", "1st", "#x: {y}", 'quo"te', "__row", "line\nfeed"]
)
def test_whatever_a_field_is_called(key: str, tmp_path: Path) -> None:
    records = [{"id": f"i{i}", "at": "2026-03-01T00:00:00Z", key: i % 3, "in": {key: "x"}} for i in range(100)]
    contract, _ = contract_of(topic(json.loads(json.dumps(records))), tmp_path)
    assert contract.event_time == "at"


@pytest.mark.parametrize(
    ("name", "stream"), [("shop.Orders-v2", "shop_orders_v2"), ("2nd", "stream_2nd"), ("__", "stream_")]
)
def test_streams_are_named_by_their_topics(name: str, stream: str) -> None:
    assert stream_name(name) == stream
