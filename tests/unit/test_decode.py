"""A record is read alike whatever records were read along with it."""

from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest

from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.records.avro import avro_schema, frame, parse, write_record
from streamgauge.records.decode import ROW, Decoder
from streamgauge.records.payloads import Payloads
from streamgauge.settings import CHECKOUT

CONTRACT = find_contract(load_contracts(CHECKOUT / "platform" / "contracts"), "system_events")
SCHEMA = avro_schema(CONTRACT)
NEWER = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "extra", "type": "string"}]}
# Avro writes an int as it writes a long, so this is how a value past an int's range gets into the log
WIDE = {**SCHEMA, "fields": [{**f, "type": "long"} if f["type"] == "int" else f for f in SCHEMA["fields"]]}
OWN, NEW = 7, 8
EVENT: dict[str, Any] = {
    "event_id": "a",
    "timestamp": 1_700_000_000_000,
    "service": "nova",
    "component": "api",
    "level": "INFO",
    "template": "E1",
    "http_method": "GET",
    "http_status": 200,
    "response_bytes": 1,
    "response_seconds": 0.5,
    "schema_version": 1,
    "extra": "snowman",
}


def encode(schema: dict[str, Any], schema_id: int, **change: Any) -> bytes:
    stream = BytesIO()
    write_record(stream, parse(schema), {**EVENT, **change})
    return frame(schema_id) + stream.getvalue()


GOOD = {OWN: encode(SCHEMA, OWN), NEW: encode(NEWER, NEW)}
ODD = {
    "the end of time": encode(SCHEMA, OWN, timestamp=2**63 - 1),
    "the beginning of time": encode(SCHEMA, OWN, timestamp=-(2**63)),
    "past an int's range": encode(WIDE, OWN, schema_version=2**31),
    "no UTF-8 in a field that the contract hasn't": GOOD[NEW].replace(b"snowman", b"sn\xff\xfeman"),
    "no such branch of a union": GOOD[OWN].replace(b"\x02\x06GET", b"\x0a\x06GET"),
}


def read(values: list[bytes], row: int) -> Any:
    """The row's values, times as numbers, or the reason against it."""
    decoded = Decoder(CONTRACT.fields, {OWN: SCHEMA, NEW: NEWER}.get).decode(Payloads.of(values))
    times = decoded.frame[CONTRACT.event_time].to_physical()
    for i, found in enumerate(decoded.frame[ROW].to_list()):
        if found == row:
            return decoded.frame.drop(ROW, CONTRACT.event_time).row(i), times[i]
    return next(r.reason for r in decoded.rejected if r.row == row)


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD.keys())
def test_the_same_alone_among_good_ones_and_beside_a_bad_one(odd: bytes) -> None:
    good = GOOD[odd[4]]
    alone = read([odd], 0)
    assert read([good] * 50 + [odd] + [good] * 50, 50) == alone
    assert read([good, odd, good[:-1]], 1) == alone
    assert read([good[:-1], odd], 1) == alone


@pytest.mark.parametrize(("name", "reason"), [("past an int's range", "undecodable")])
def test_what_does_not_fit_is_never_bent_to_fit(name: str, reason: str) -> None:
    assert read([ODD[name]], 0) == reason


def test_times_are_read_to_the_ends_of_their_type() -> None:
    bad = GOOD[OWN][:-1]
    assert read([ODD["the end of time"], bad], 0)[1] == 2**63 - 1
    assert read([ODD["the beginning of time"], bad], 0)[1] == -(2**63)


def test_a_field_that_the_contract_has_not_is_checked_too() -> None:
    assert read([ODD["no UTF-8 in a field that the contract hasn't"]] * 20, 0) == "undecodable"


def test_an_optional_map() -> None:
    template = replace(CONTRACT.field["template"], type="map<string,string>", required=False, max_length=None)
    contract = replace(CONTRACT, fields=tuple(template if f.name == "template" else f for f in CONTRACT.fields))
    maps = [None, {}, {"a": "b", "c": "d"}]

    schema = avro_schema(contract)
    decoded = Decoder(contract.fields, {OWN: schema}.get).decode(
        Payloads.of([encode(schema, OWN, template=m) for m in maps])
    )
    assert decoded.rejected == []
    found = decoded.frame["template"].to_list()
    assert [None if m is None else {e["key"]: e["value"] for e in m} for m in found] == maps


@pytest.mark.parametrize("default", [None, {}, {"a": "b", "c": "d"}])
def test_a_map_that_the_writer_had_not_yet(default: dict[str, str] | None) -> None:
    tags = replace(CONTRACT.field["template"], name="tags", type="map<string,string>", required=False, default=default)
    contract = replace(CONTRACT, fields=(*CONTRACT.fields, tags))
    payloads = Payloads.of([GOOD[OWN]] * 3)

    whole = Decoder(contract.fields, {OWN: SCHEMA}.get).decode(payloads).frame["tags"]
    assert whole.dtype == POLARS_TYPES["map<string,string>"]
    entries = None if default is None else [{"key": k, "value": v} for k, v in default.items()]
    assert whole.to_list() == [entries] * 3

    picked = Decoder(contract.fields, {OWN: SCHEMA}.get, {"tags": ["a", "b"]}).decode(payloads).frame
    found = picked.select("tags", "tags.a", "tags.b").rows()
    assert found == [(None if default is None else True, (default or {}).get("a"), None)] * 3


RECURSIVE = {"name": "extra", "type": ["null", {"type": "array", "items": "streamgauge.SystemEvents"}]}


def written_for(name: str, written: Any) -> dict[str, Any]:
    return {**SCHEMA, "fields": [{**f, "type": written} if f["name"] == name else f for f in SCHEMA["fields"]]}


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ("string", "it is no record"),
        (["null", SCHEMA], "it is no record"),
        ([], "it is no record"),
        (7, "it is no record"),
        ({}, "it is no record"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "it is no record"),
        ({"type": "record", "name": "R"}, "it lacks the required"),
        ({**SCHEMA, "fields": 7}, "no valid Avro schema"),
        (
            {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "extra", "type": "nowhere.Defined"}]},
            "no valid Avro schema",
        ),
        ({**SCHEMA, "fields": [*SCHEMA["fields"], {"type": "string"}]}, "no valid Avro schema"),
        ({**SCHEMA, "fields": SCHEMA["fields"][1:]}, "it lacks the required"),
        (written_for("service", ["string", "long"]), "service (union of 2)"),
        (written_for("service", ["null", "string", "long"]), "service (union of 3)"),
        (written_for("service", "long"), "service (long)"),
        (written_for("http_status", ["null", "string"]), "http_status (string)"),
        (written_for("timestamp", {"type": "long", "logicalType": "timestamp-micros"}), "timestamp (timestamp-micros)"),
        (written_for("timestamp", {"type": "int", "logicalType": "date"}), "timestamp (date)"),
    ],
)
def test_a_schema_that_no_record_can_be_read_by_makes_a_dead_letter(schema: Any, text: str) -> None:
    decoded = Decoder(CONTRACT.fields, {OWN: schema, NEW: NEWER}.get).decode(
        Payloads.of([GOOD[OWN], GOOD[NEW], GOOD[OWN]])
    )
    assert [(r.row, r.reason) for r in decoded.rejected] == [(0, "undecodable"), (2, "undecodable")]
    assert text in decoded.rejected[0].detail
    assert decoded.frame[ROW].to_list() == [1]


def test_a_map_whose_values_are_unions_is_refused_by_name() -> None:
    template = replace(CONTRACT.field["template"], type="map<string,string>", max_length=None)
    contract = replace(CONTRACT, fields=tuple(template if f.name == "template" else f for f in CONTRACT.fields))
    schema = written_for("template", {"type": "map", "values": ["null", "string"]})
    value = encode(schema, OWN, template={"a": None, "b": "x"})
    decoded = Decoder(contract.fields, {OWN: schema}.get).decode(Payloads.of([value]))
    assert "template (map with unions)" in decoded.rejected[0].detail


def test_unions_with_null_and_types_that_refer_to_themselves_are_read() -> None:
    schema = written_for("service", ["string", "null"])
    schema = {**schema, "fields": [*schema["fields"], RECURSIVE]}
    decoded = Decoder(CONTRACT.fields, {OWN: schema}.get).decode(Payloads.of([encode(schema, OWN, extra=None)]))
    assert not decoded.rejected
    assert decoded.frame["service"].to_list() == ["nova"]
