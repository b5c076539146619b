"""Plain JSON as a contract's fields, against Python's own JSON, record by record."""

import json
import random
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.contract.model import FieldSpec
from streamgauge.records.decode import ROW, Decoded
from streamgauge.records.json_reader import JsonReader
from streamgauge.records.payloads import Payloads
from tests.examples import examples


def spec(name: str, kind: Any, path: str = "", time_format: Any = "rfc3339") -> FieldSpec:
    return FieldSpec(name, kind, False, "", "internal", path=path or name, time_format=time_format)


FIELDS = [
    spec("order", "string", "order.id"),
    spec("at", "timestamp-millis"),
    spec("amount", "double", "total.amount"),
    spec("count", "long"),
    spec("small", "int"),
    spec("sku", "string", "lines[0].sku"),
    spec("second", "long", "lines[1].quantity"),
    spec("gift", "boolean"),
]
AT = datetime(2026, 3, 1, 12, 0, 0, 250_000, UTC)
GOOD: dict[str, Any] = {
    "order": {"id": "o-1", "other": [1, {"x": None}]},
    "at": "2026-03-01T13:00:00.250+01:00",
    "total": {"amount": "12.50"},
    "count": 7,
    "small": "-3",
    "lines": [{"sku": "a", "quantity": 1}, {"sku": "b", "quantity": 2}],
    "gift": True,
    "unknown": {"deep": [[[[]]]]},
}
READ = {"order": "o-1", "at": AT, "amount": 12.5, "count": 7, "small": -3, "sku": "a", "second": 2, "gift": True}


def decode(*values: bytes | None, fields: list[FieldSpec] = FIELDS) -> Decoded:
    return JsonReader(fields).decode(Payloads.of(values))


def one(change: dict[str, Any]) -> bytes:
    return json.dumps({**GOOD, **change}).encode()


def test_values_are_read_by_their_paths() -> None:
    (row,) = decode(one({})).frame.rows(named=True)
    assert row == {ROW: 0, **READ}


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ({"order": {"id": 12345678901234567890}}, {"order": "12345678901234567890"}),
        ({"order": {}}, {"order": None}),
        ({"order": None}, {"order": None}),
        ({"total": {"amount": 3}}, {"amount": 3.0}),
        ({"total": {"amount": 0.1}}, {"amount": 0.1}),
        ({"count": "9223372036854775807"}, {"count": 2**63 - 1}),
        ({"count": 7.0}, {"count": 7}),
        ({"lines": []}, {"sku": None, "second": None}),
        ({"lines": [{"sku": 5}]}, {"sku": "5", "second": None}),
        ({"gift": "false"}, {"gift": False}),
        ({"at": "2026-03-01 12:00:00.2509Z"}, {"at": AT}),
    ],
)
def test_what_may_be_written_for_a_type(change: dict[str, Any], read: dict[str, Any]) -> None:
    (row,) = decode(one(change)).frame.rows(named=True)
    assert row == {ROW: 0, **READ, **read}


BAD: dict[str, tuple[bytes | None, str, str]] = {
    "no value": (None, "empty", "the record has no value"),
    "nothing": (b"", "undecodable", "not one JSON object"),
    "a list": (b"[1]", "undecodable", "not one JSON object"),
    "a number": (b"5", "undecodable", "not one JSON object"),
    "null": (b"null", "undecodable", "not one JSON object"),
    "cut off": (one({})[:-9], "undecodable", "not one JSON object"),
    "two": (one({}) + b"," + one({}), "undecodable", "not one JSON object"),
    "behind it": (one({}) + b"x", "undecodable", "not one JSON object"),
    "closes too much": (b'{"count":1}}', "undecodable", "not one JSON object"),
    "an open string": (b'{"count":"1}', "undecodable", "not one JSON object"),
    "ends in an escape": (b'{"count":"1\\', "undecodable", "not one JSON object"),
    "a comma too much": (b'{"count":1,}', "undecodable", "not valid JSON"),
    "wrong brackets": (b'{"count":[1}}', "undecodable", "not valid JSON"),
    "crossed brackets": (b'{"x":[{]}}', "undecodable", "not valid JSON"),
    "NaN": (b'{"count":NaN}', "undecodable", "not valid JSON"),
    "beyond floats": (b'{"count":1e999}', "undecodable", "not valid JSON"),
    "too deep": (b'{"x":' + b"[" * 5000 + b"]" * 5000 + b"}", "undecodable", "not valid JSON"),
    "Latin-1": ('{"order":{"id":"Jos\xe9"}}'.encode("latin-1"), "undecodable", "not UTF-8"),
    "an object for a value": (one({"count": {"secret": 1}}), "undecodable", "count: count leads to no value"),
    "a value for an object": (one({"total": "secret"}), "undecodable", "amount: total.amount leads to no value"),
    "a value for a list": (
        one({"lines": "secret"}),
        "undecodable",
        "sku: lines[0].sku leads to no value, second: lines[1].quantity leads to no value",
    ),
    "a text for a number": (one({"total": {"amount": "secret"}}), "undecodable", "amount: not a finite number"),
    "an infinite number": (one({"total": {"amount": "inf"}}), "undecodable", "amount: not a finite number"),
    "a fraction": (one({"count": 7.5}), "undecodable", "count: not a whole number of 64 bits"),
    "too large": (one({"count": 2**63}), "undecodable", "count: not a whole number of 64 bits"),
    "too large for an int": (one({"small": 2**31}), "undecodable", "small: not a whole number of 32 bits"),
    "a number for true": (one({"gift": 1}), "undecodable", "gift: not true or false"),
    "no time": (one({"at": "yesterday"}), "undecodable", "at: not a time as rfc3339 has it"),
    "no zone": (one({"at": "2026-03-01T12:00:00"}), "undecodable", "at: not a time as rfc3339 has it"),
    "two of them": (one({"at": "x", "count": "x"}), "undecodable", "at: not a time as rfc3339 has it"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_record_gets_its_reason_and_no_neighbour_does(kind: str) -> None:
    value, reason, detail = BAD[kind]
    decoded = decode(one({}), value, one({"count": 8}))
    assert [(r.row, r.reason, r.detail) for r in decoded.rejected] == [(1, reason, detail)]
    assert decoded.frame.rows(named=True) == [{ROW: 0, **READ}, {ROW: 2, **READ, "count": 8}]


def test_records_that_would_be_two_only_together() -> None:
    decoded = decode(b'{"count":1},{"count":2', b'"x":1}', one({}))
    assert [r.row for r in decoded.rejected] == [0, 1]
    assert decoded.frame[ROW].to_list() == [2]


@pytest.mark.parametrize(
    ("written", "value", "ms"),
    [
        ("epoch-s", 1_700_000_000, 1_700_000_000_000),
        ("epoch-s", "1700000000.123", 1_700_000_000_123),
        ("epoch-ms", 1_700_000_000_123, 1_700_000_000_123),
        ("epoch-ms", "-1", -1),
        ("epoch-us", 1_700_000_000_123_999, 1_700_000_000_123),
        ("rfc3339", "1969-12-31T23:59:59.9999Z", -1),
    ],
)
def test_times_in_each_format(written: str, value: Any, ms: int) -> None:
    decoded = decode(json.dumps({"at": value}).encode(), fields=[spec("at", "timestamp-millis", "", written)])
    assert decoded.frame["at"].to_physical().to_list() == [ms]


@examples(60)
@given(st.lists(st.sampled_from([None, *BAD]), max_size=40), st.randoms(use_true_random=False))
def test_whatever_stands_beside_whatever(kinds: list[str | None], rng: random.Random) -> None:
    values = [one({"count": i}) if kind is None else BAD[kind][0] for i, kind in enumerate(kinds)]
    decoded = decode(*values)
    assert decoded.frame["count"].to_list() == [i for i, kind in enumerate(kinds) if kind is None]
    assert [(r.row, r.detail) for r in decoded.rejected] == [(i, BAD[k][2]) for i, k in enumerate(kinds) if k]
    some = np.sort(np.array(rng.sample(range(len(values)), len(values) // 2), np.int64))
    part = JsonReader(FIELDS).decode(Payloads.of(values).take(some))
    assert len(part.frame) == sum(kinds[i] is None for i in some.tolist())
