"""The column-wise encoder against fastavro."""

import string
from dataclasses import replace
from io import BytesIO
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamgauge.contract.load import load_contracts
from streamgauge.contract.model import Contract, FieldSpec
from streamgauge.producer.encode import Encoder
from streamgauge.producer.frame import frame_of
from streamgauge.records.avro import avro_schema, frame, parse, write_record
from streamgauge.settings import CHECKOUT

CONTRACTS = load_contracts(CHECKOUT / "platform" / "contracts")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.just("x" * 5000)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "timestamp-millis": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(),
    "boolean": st.booleans(),
    "map<string,string>": st.dictionaries(st.sampled_from(string.ascii_letters) | TEXTS, TEXTS, max_size=70),
}


def events(contract: Contract) -> st.SearchStrategy[list[dict[str, Any]]]:
    def values(f: FieldSpec) -> st.SearchStrategy[Any]:
        return VALUES[f.type] if f.required else st.none() | VALUES[f.type]

    return st.lists(st.fixed_dictionaries({f.name: values(f) for f in contract.fields}), max_size=8)


EVENTS = {c.stream: events(c) for c in CONTRACTS}
PARSED = {c.stream: parse(avro_schema(c)) for c in CONTRACTS}


@given(data=st.data())
@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.stream)
def test_the_same_bytes_as_fastavro(contract: Contract, data: st.DataObject) -> None:
    given_events = data.draw(EVENTS[contract.stream])
    built, mistyped = frame_of(contract, given_events)
    assert not mistyped
    expected: list[bytes] = []
    for event in given_events:
        stream = BytesIO()
        write_record(stream, PARSED[contract.stream], event)
        expected.append(frame(4711) + stream.getvalue())
    assert Encoder(contract, 4711).encode(built) == expected


def test_a_required_field_is_never_encoded_as_null() -> None:
    contract = CONTRACTS[0]
    built, _ = frame_of(contract, [{"event_id": "a"}])
    with pytest.raises(ValueError, match="timestamp is required"):
        Encoder(contract, 1).encode(built)


def test_booleans() -> None:
    flag = FieldSpec("flag", "boolean", required=False, description="", classification="public")
    values = Encoder(replace(CONTRACTS[0], fields=(flag,)), 0).encode(pl.DataFrame({"flag": [True, None, False]}))
    assert [v[5:] for v in values] == [b"\x02\x01", b"\x00", b"\x02\x00"]
