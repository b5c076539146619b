"""The same events as framed Avro and as JSON, read as worker and lake read them; one process, one thread."""

import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from importlib.resources import as_file, files
from statistics import median
from typing import Any

import numpy as np

from bench.report import Row
from streamgauge.contract.load import load_contract
from streamgauge.contract.model import Contract, SourceSpec
from streamgauge.errors import UserError
from streamgauge.records.avro import avro_schema, frame, parse, write_record
from streamgauge.records.log_spans import BATCH_RECORDS
from streamgauge.records.payloads import Payloads
from streamgauge.records.record_decoder import RecordDecoder

_ROUNDS = 5
_ID = 1
_PATHS = {"event_id": "order.id", "state": "order.state", "customer": "customer.id", "country": "customer.country"}


@dataclass(frozen=True)
class Formats:
    """Events a second of each round, and the bytes of a record."""

    avro: Sequence[float]
    json: Sequence[float]
    avro_bytes: float
    json_bytes: float


def measure(events: int) -> Formats:
    """Raises UserError where the two formats don't give the same events."""
    with as_file(files("streamgauge.project").joinpath("files", "contracts", "orders.yaml")) as example:
        contract_of = load_contract(example)
    nested = replace(
        contract_of,
        source=SourceSpec(topic="orders", format="json"),
        own_topic=None,
        fields=tuple(replace(f, path=_PATHS.get(f.name, f.name)) for f in contract_of.fields),
    )
    orders = [_order(i) for i in range(events)]
    schema = avro_schema(contract_of)
    parsed = parse(avro_schema(contract_of))
    avro, as_json = [_avro(parsed, o) for o in orders], [_json(o) for o in orders]
    found: dict[str, list[float]] = {"avro": [], "json": []}
    for _ in range(_ROUNDS):
        # in turns, so that both meet the same load
        for name, contract, values in (("avro", contract_of, avro), ("json", nested, as_json)):
            found[name].append(_rate(contract, schema, values))
    one = [_decoded(c, schema, v[:1000]) for c, v in ((contract_of, avro), (nested, as_json))]
    if not one[0].equals(one[1]):
        raise UserError("Avro and JSON gave different events", "")
    return Formats(found["avro"], found["json"], sum(map(len, avro)) / events, sum(map(len, as_json)) / events)


def rows(formats: Formats) -> list[Row]:
    avro, as_json = median(formats.avro), median(formats.json)
    return [
        Row(f"decoding Avro, {formats.avro_bytes:.0f} bytes a record", f"{avro:,.0f}/s"),
        Row(f"  the same events as JSON, {formats.json_bytes:.0f} bytes", f"{as_json:,.0f}/s"),
        Row("  JSON / Avro", f"{as_json / avro:.2f}"),
    ]


def _order(number: int) -> dict[str, Any]:
    return {
        "event_id": f"order-{number}",
        "happened_at": datetime(2026, 3, 1, tzinfo=UTC) + timedelta(milliseconds=number),
        "customer": f"customer-{number % 5000}",
        "state": ("placed", "paid", "sent", "returned")[number % 4],
        "country": ("AT", "DE", "FR")[number % 3],
        "amount": number % 1000 / 4,
    }


def _avro(parsed: Any, order: dict[str, Any]) -> bytes:
    body = io.BytesIO()
    body.write(frame(_ID))
    write_record(body, parsed, order)
    return body.getvalue()


def _json(order: dict[str, Any]) -> bytes:
    return json.dumps(
        {
            "order": {"id": order["event_id"], "state": order["state"]},
            "customer": {"id": order["customer"], "country": order["country"]},
            "happened_at": order["happened_at"].isoformat(timespec="milliseconds"),
            "amount": str(order["amount"]),
        }
    ).encode()


def _rate(contract: Contract, schema: Any, values: Sequence[bytes]) -> float:
    batches = [Payloads.of(values[i : i + BATCH_RECORDS]) for i in range(0, len(values), BATCH_RECORDS)]
    decoder = RecordDecoder(contract, lambda _: schema)
    began = time.perf_counter()
    read = 0
    for batch in batches:
        zeros = np.zeros(len(batch), np.int64)
        read += decoder.decode(batch, zeros, zeros).frame.height
    seconds = time.perf_counter() - began
    if read != len(values):
        raise UserError(f"{len(values) - read} of {len(values)} records could not be read", "")
    return read / seconds


def _decoded(contract: Contract, schema: Any, values: Sequence[bytes]) -> Any:
    zeros = np.zeros(len(values), np.int64)
    return RecordDecoder(contract, lambda _: schema).decode(Payloads.of(values), zeros, zeros).frame
