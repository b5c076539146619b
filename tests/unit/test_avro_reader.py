"""The compiled reader against a plain one: any record of any schema, whole or damaged."""

import math
import string
import uuid
from io import BytesIO
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from streamgauge.records.avro import parse, write_record
from streamgauge.records.avro_reader import AvroReader, schema_ids
from streamgauge.records.payloads import Payloads
from tests.avro_oracle import NotAvro, name_of, read
from tests.examples import examples

FRAME = b"\x00\x00\x00\x00\x07"
WANTED: dict[str, list[Any]] = {
    "string": ["string"],
    "int": ["int", "long"],
    "long": ["int", "long"],
    "double": ["int", "long", "float", "double"],
    "boolean": ["boolean"],
    "map<string,string>": [{"type": "map", "values": "string"}],
}
REASONS = {
    -1: "the record ends too early",
    -2: "a string is not UTF-8",
    -3: "a value doesn't fit its type",
    -4: "not a record of its schema",
}
KEYS = ["", "a", "b", "ab"]
Strategy = st.SearchStrategy[Any]


def name(built: uuid.UUID) -> str:
    return f"n{built.hex}"


def fixed(built: uuid.UUID, size: int) -> Any:
    return {"type": "fixed", "name": name(built), "size": size}


def enum(built: uuid.UUID) -> Any:
    return {"type": "enum", "name": name(built), "symbols": ["A", "B", "C"]}


def array(items: Any) -> Any:
    return {"type": "array", "items": items}


def mapped(values: Any) -> Any:
    return {"type": "map", "values": values}


def record(built: uuid.UUID, kinds: list[Any]) -> Any:
    return {
        "type": "record",
        "name": name(built),
        "fields": [{"name": f"f{i}", "type": k} for i, k in enumerate(kinds)],
    }


def nested(within: Strategy) -> Strategy:
    built = st.builds(record, st.uuids(), st.lists(within, max_size=3))
    return st.one_of(st.builds(array, within), st.builds(mapped, within), built)


primitives: Strategy = st.sampled_from(["boolean", "int", "long", "float", "double", "string", "bytes"])
leaves: Strategy = st.one_of(primitives, st.builds(fixed, st.uuids(), st.integers(0, 9)), st.builds(enum, st.uuids()))
others: Strategy = st.recursive(leaves, nested, max_leaves=4)


@st.composite
def schemas(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, str]]:
    """A writer's schema, and the contract's types of the fields that are wanted."""
    fields: list[dict[str, Any]] = []
    wanted: dict[str, str] = {}
    for letter in string.ascii_lowercase[: draw(st.integers(1, 6))]:
        kind: Any
        if draw(st.booleans()):
            wanted[letter] = draw(st.sampled_from(sorted(WANTED)))
            kind = draw(st.sampled_from(WANTED[wanted[letter]]))
        else:
            kind = draw(others)
        if draw(st.booleans()):
            kind = ["null", kind] if draw(st.booleans()) else [kind, "null"]
        fields.append({"name": letter, "type": kind})
    return {"type": "record", "name": "written", "fields": fields}, wanted


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    match name_of(kind):
        case "union":
            return st.one_of([values_of(k) for k in kind])
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "int":
            return st.integers(-(2**31), 2**31 - 1)
        case "long":
            return st.integers(-(2**63), 2**63 - 1)
        case "float":
            return st.floats(width=32)
        case "double":
            return st.floats()
        case "string":
            return st.text(max_size=30)
        case "bytes":
            return st.binary(max_size=20)
        case "fixed":
            return st.binary(min_size=kind["size"], max_size=kind["size"])
        case "enum":
            return st.sampled_from(kind["symbols"])
        case "array":
            return st.lists(values_of(kind["items"]), max_size=3)
        case "map":
            keys = st.one_of(st.sampled_from(KEYS), st.text(max_size=15))
            return st.dictionaries(keys, values_of(kind["values"]), max_size=3)
        case _:
            return st.fixed_dictionaries({f["name"]: values_of(f["type"]) for f in kind["fields"]})


def write(schema: Any, value: Any) -> bytes:
    stream = BytesIO()
    write_record(stream, parse(schema), value)
    return stream.getvalue()


def damaged(data: st.DataObject, whole: bytes) -> bytes:
    at = data.draw(st.integers(0, len(whole)))
    match data.draw(st.integers(0, 4)):
        case 0:
            return whole[:at]
        case 1:
            return whole[:at] + data.draw(st.binary(min_size=1, max_size=4)) + whole[at:]
        case 2:
            return whole[:at] + data.draw(st.binary(min_size=1, max_size=4)) + whole[at + 1 :]
        case 3:
            return whole[:at] + b"\xff" * 9 + data.draw(st.sampled_from([b"\x01", b"\x02", b"\xff"])) + whole[at:]
        case _:
            return whole


def expected(schema: Any, wanted: dict[str, str], record: bytes) -> dict[str, Any] | str:
    try:
        found = read(schema, record)
    except NotAvro as e:
        return str(e)
    return {name: found[name] for name in wanted}


def columns(wanted: dict[str, str], picked: dict[str, list[str]], record: dict[str, Any]) -> dict[str, Any]:
    """What the frame should hold of a record, from what the plain reader found."""
    built: dict[str, Any] = {}
    for name in wanted:
        if name in picked:
            entries: dict[str, str] = dict(record[name] or ())
            built |= {
                name: None if record[name] is None else True,
                **{f"{name}.{k}": entries.get(k) for k in picked[name]},
            }
        else:
            built[name] = record[name]
    return built


def plain(kind: str, value: Any) -> Any:
    """As the oracle gives it."""
    if kind.startswith("map") and value is not None:
        return [(e["key"], e["value"]) for e in value]
    return value


def same(kind: str, found: Any, wanted: Any) -> bool:
    if kind == "double" and wanted is not None:
        wanted = float(wanted)
        return found == wanted or (math.isnan(found) and math.isnan(wanted))
    return found == wanted


@examples(400)
@given(schemas(), st.data())
def test_reads_what_the_plain_reader_reads(written: tuple[dict[str, Any], dict[str, str]], data: st.DataObject) -> None:
    schema, wanted = written
    events = data.draw(st.lists(values_of(schema), min_size=1, max_size=6))
    records = [damaged(data, write(schema, e)) for e in events]
    payloads = Payloads.of([FRAME + r for r in records])
    assert schema_ids(payloads).tolist() == [7] * len(records)
    maps = [name for name, kind in wanted.items() if kind.startswith("map")]
    chosen = data.draw(st.lists(st.sampled_from(maps), unique=True)) if maps else []
    picked = {name: data.draw(st.lists(st.sampled_from(KEYS), unique=True)) for name in chosen}
    found = AvroReader(parse(schema), wanted, picked).read(payloads, np.arange(len(records)))
    rows = {row: found.frame.row(i, named=True) if wanted else {} for i, row in enumerate(found.kept.tolist())}
    for row, record in enumerate(records):
        right = expected(schema, wanted, record)
        verdict = int(found.verdicts[row])
        if isinstance(right, dict) and any(
            kind == "int" and right[n] is not None and not -(2**31) <= right[n] < 2**31 for n, kind in wanted.items()
        ):
            # Avro writes an int as it writes a long
            assert REASONS[verdict] == "a value doesn't fit its type"
        elif isinstance(right, dict):
            assert verdict == 0
            built = columns(wanted, picked, right)
            assert rows[row].keys() == built.keys()
            for column, value in built.items():
                kind = "string" if column.split(".")[0] in picked else wanted[column]
                assert same(kind, plain(kind, rows[row][column]), value)
        elif verdict > 0:
            assert right == f"{verdict} bytes behind the record"
        elif REASONS[verdict] != right:
            # the int is looked at before the rest of the record
            assert verdict == -3
            assert "int" in wanted.values()
        assert (row in rows) == (verdict == 0)


@examples(300)
@given(st.binary(max_size=12))
@example(b"\xed\xa0\x80")
@example(b"\xf4\x90\x80\x80")
@example(b"\xc0\x80")
@example("ÿ€😀".encode())
def test_takes_for_text_what_python_takes(text: bytes) -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "string"}]}
    record = FRAME + bytes([2 * len(text)]) + text
    found = AvroReader(parse(schema), {"a": "string"}, {}).read(Payloads.of([record]), np.array([0]))
    try:
        assert found.frame["a"].to_list() == [text.decode()]
    except UnicodeDecodeError:
        assert found.verdicts.tolist() == [-2]


def test_a_long_record_among_short_ones() -> None:
    """Columns get as much room as they need, however little the records before took."""
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": "string"}]}
    texts = ["x" * 13] * 1000 + ["y" * 1_000_000] + ["z" * 13] * 1000
    reader = AvroReader(parse(schema), {"a": "string"}, {})
    records = Payloads.of([FRAME + write(schema, {"a": t}) for t in texts])
    for _ in range(2):
        assert reader.read(records, np.arange(len(texts))).frame["a"].to_list() == texts


def test_a_count_that_would_never_end_is_a_lie() -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": {"type": "array", "items": "null"}}]}
    record = FRAME + b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"
    assert AvroReader(parse(schema), {}, {}).read(Payloads.of([record]), np.array([0])).verdicts.tolist() == [-1]


def test_a_type_that_holds_itself() -> None:
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": node}, {"name": "b", "type": "long"}]}
    deep: dict[str, Any] | None = None
    for _ in range(5):
        deep = {"next": deep}
    reader = AvroReader(parse(schema), {"b": "long"}, {})
    good = FRAME + write(schema, {"a": deep, "b": 5})
    endless = FRAME + b"\x02" * 1000
    found = reader.read(Payloads.of([good, endless]), np.arange(2))
    assert found.frame["b"].to_list() == [5]
    assert found.verdicts.tolist() == [0, -4]
