"""From framed Avro records to one polars frame, whole batches at a time.

The records of one writer schema are joined into a single Avro container block, which polars reads at once. Behind
each record stands a field of its own: a random marker, and the framing bytes of the record that follows. A record
that is too short or too long can't hide, because it moves them. A block with a bad record is halved until the record
stands alone; fastavro then gives the reason. polars has the first word on a lone record too: where the two differ,
what becomes of a record must not depend on its neighbours. (They differ over a branch that a union hasn't: to
polars any number but null's is the other branch.)
"""

import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import polars as pl

from streamgauge.avro import HEADER_BYTES, parse, read_record, schema_id_of
from streamgauge.contracts import Contract, FieldSpec

ROW = "__row"
_MARKER = "__marker"
_MARKER_BYTES = 8
_SMALL = 16
"""A block of at most this many records is taken apart at once when it can't be read whole."""

POLARS_TYPES: dict[str, Any] = {
    "string": pl.String,
    "int": pl.Int32,
    "long": pl.Int64,
    "double": pl.Float64,
    "boolean": pl.Boolean,
    "timestamp-millis": pl.Datetime("ms", "UTC"),
    "map<string,string>": pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
}

_READABLE: dict[str, tuple[str, ...]] = {
    "string": ("string",),
    "int": ("int", "long"),
    "long": ("int", "long"),
    "double": ("int", "long", "float", "double"),
    "boolean": ("boolean",),
    "timestamp-millis": ("int", "long"),
    "map<string,string>": ("map",),
}
"""What may have been written for a field; polars would make text of numbers, and whole numbers of others."""

SchemaOf = Callable[[int], dict[str, Any] | None]
"""The writer's schema by its id; None where the registry has none. Raises RegistryUnavailable when it can't tell."""


@dataclass(frozen=True)
class Rejected:
    """A record that becomes a dead letter. `detail` never holds a value of the record."""

    row: int
    reason: str
    detail: str


@dataclass
class Decoded:
    """`frame` has the contract's fields and the row number `__row`, ascending."""

    frame: pl.DataFrame
    rejected: list[Rejected] = field(default_factory=list[Rejected])


class Decoder:
    """Decodes a contract's records, whatever versions of its schema wrote them."""

    def __init__(self, contract: Contract, schema_of: SchemaOf) -> None:
        self._fields = contract.fields
        self._schema_of = schema_of
        self._writers: dict[int, _Writer] = {}

    def decode(self, values: list[bytes | None]) -> Decoded:
        whole = self._read_whole(values)
        if whole is not None:
            return Decoded(whole)
        rejected: list[Rejected] = []
        frames: list[pl.DataFrame] = []
        for header, rows in _by_header(values):
            writer = self._writer(header)
            if isinstance(writer, Rejected):
                rejected += [Rejected(r, writer.reason, writer.detail) for r in rows]
                continue
            block = cast(list[bytes], [values[r] for r in rows])
            for piece in writer.read(block, rows):
                if isinstance(piece, Rejected):
                    rejected.append(piece)
                else:
                    frames.append(piece)
        if not frames:
            return Decoded(self._empty(), rejected)
        frame = frames[0] if len(frames) == 1 else pl.concat(frames).sort(ROW)
        return Decoded(frame, rejected)

    def _read_whole(self, values: list[bytes | None]) -> pl.DataFrame | None:
        """All at once, as if one schema had written them all, which is nearly always so: the block's checks tell."""
        writer = self._writer(values[0][:HEADER_BYTES]) if values and values[0] else None
        if not isinstance(writer, _Writer) or None in values:
            return None
        frame = writer.read_block(cast(list[bytes], values))
        return None if frame is None else frame.with_row_index(ROW)

    def _empty(self) -> pl.DataFrame:
        return pl.DataFrame(schema={ROW: pl.UInt32, **{f.name: POLARS_TYPES[f.type] for f in self._fields}})

    def _writer(self, header: bytes | None) -> "_Writer | Rejected":
        if not header:
            return Rejected(-1, "empty", "the record has no value")
        schema_id = schema_id_of(header)
        if schema_id is None:
            return Rejected(-1, "undecodable", "not framed Avro: a zero byte and a four-byte schema id come first")
        if schema_id not in self._writers:
            schema = self._schema_of(schema_id)
            if schema is None:
                return Rejected(-1, "unknown_schema", f"the registry has no schema {schema_id}")
            try:
                self._writers[schema_id] = _Writer(schema, header, self._fields)
            except (ValueError, TypeError) as e:
                return Rejected(-1, "undecodable", f"schema {schema_id} can't be read as this contract's: {e}")
        return self._writers[schema_id]


def _by_header(values: list[bytes | None]) -> list[tuple[bytes | None, Sequence[int]]]:
    """Rows by their first five bytes."""
    headers = pl.DataFrame({"header": pl.Series(values, dtype=pl.Binary).bin.slice(0, HEADER_BYTES)})
    groups = headers.with_row_index(ROW).group_by("header", maintain_order=True).agg(ROW)
    return [(header, rows.to_list()) for header, rows in zip(groups["header"], groups[ROW], strict=True)]


class _Writer:
    """Reads blocks that one version of the schema wrote, as the contract's fields."""

    def __init__(self, schema: dict[str, Any], header: bytes, fields: Sequence[FieldSpec]) -> None:
        if schema.get("type") != "record":
            raise ValueError("it is no record")
        self._header = header
        self._fields = fields
        # as datetimes the times would end in the year 9999
        plain = _without_logical_types(schema)
        self._parsed = parse(plain)
        written = {f["name"] for f in schema["fields"]}
        missing = [f.name for f in fields if f.name not in written and f.required and f.default is None]
        if missing:
            raise ValueError(f"it lacks the required {', '.join(missing)}")
        kinds = {f["name"]: _kind(f["type"]) for f in schema["fields"]}
        wrong = [f.name for f in fields if f.name in kinds and kinds[f.name] not in _READABLE[f.type]]
        if wrong:
            raise ValueError(f"another type is written for {', '.join(wrong)}")
        block_schema = {
            "type": "record",
            "name": "block",
            "fields": [
                *({"name": f["name"], "type": _in_block(f["type"], f["name"])} for f in plain["fields"]),
                {"name": _MARKER, "type": {"type": "fixed", "name": "marker", "size": _MARKER_BYTES + HEADER_BYTES}},
            ],
        }
        self._container_head = _container_head(json.dumps(block_schema).encode())
        self._select = [
            (pl.col(f.name) if f.name in written else pl.lit(f.default)).cast(POLARS_TYPES[f.type]).alias(f.name)
            for f in fields
        ]

    def read(self, values: list[bytes], rows: Sequence[int]) -> list["pl.DataFrame | Rejected"]:
        whole = self.read_block(values)
        if whole is not None:
            return [whole.with_columns(pl.Series(ROW, rows, dtype=pl.UInt32))]
        if len(values) == 1:
            return [self._read_one(values[0], rows[0])]
        if len(values) <= _SMALL:
            return [piece for v, r in zip(values, rows, strict=True) for piece in self.read([v], [r])]
        middle = len(values) // 2
        return self.read(values[:middle], rows[:middle]) + self.read(values[middle:], rows[middle:])

    def read_block(self, values: list[bytes]) -> pl.DataFrame | None:
        """None where the block can't be read, or where a marker is not in its place.

        All records must begin with this writer's framing bytes, or the block is refused for that.
        """
        marker = os.urandom(_MARKER_BYTES)
        between = marker + self._header
        body = memoryview(marker.join([*values, self._header]))[HEADER_BYTES:]
        *head, sync = self._container_head
        block = b"".join((*head, sync, _zigzag(len(values)), _zigzag(len(body)), body, sync))
        try:
            # every column: those that the contract hasn't would be stepped over unread
            frame = pl.read_avro(io.BytesIO(block))
            intact = values[0].startswith(self._header) and frame.height == len(values)
            intact = intact and frame.select((pl.col(_MARKER) == pl.lit(between)).all()).item()
            return frame.select(self._select) if intact else None
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
            return None

    def _read_one(self, value: bytes, row: int) -> "pl.DataFrame | Rejected":
        stream = io.BytesIO(value)
        stream.seek(HEADER_BYTES)
        try:
            record = read_record(stream, self._parsed)
        except UnicodeDecodeError:
            return Rejected(row, "undecodable", "a string is not UTF-8")
        except (EOFError, StopIteration, IndexError):
            return Rejected(row, "undecodable", "the record ends too early")
        except Exception as e:
            # fastavro's own readers raise many types; their texts may quote the record, so only the type is kept
            return Rejected(row, "undecodable", f"not a record of its schema ({type(e).__name__})")
        trailing = len(value) - stream.tell()
        if trailing:
            return Rejected(row, "undecodable", f"{trailing} bytes behind the record")
        return self._frame_of(record, row)

    def _frame_of(self, record: dict[str, Any], row: int) -> "pl.DataFrame | Rejected":
        columns: dict[str, list[Any]] = {}
        for f in self._fields:
            value = record.get(f.name, f.default)
            if f.is_map and isinstance(value, dict):
                value = [{"key": k, "value": v} for k, v in cast(dict[str, str], value).items()]
            columns[f.name] = [value]
        try:
            schema = {f.name: POLARS_TYPES[f.type] for f in self._fields}
            frame = pl.DataFrame(columns, schema=schema, strict=True)
        except (pl.exceptions.PolarsError, TypeError, OverflowError, ValueError):
            return Rejected(row, "undecodable", "a value doesn't fit the contract's type")
        return frame.with_columns(pl.Series(ROW, [row], dtype=pl.UInt32))


def _kind(written: Any) -> str:
    """The name of an Avro type, without null and logical type."""
    if isinstance(written, list):
        kinds = [_kind(branch) for branch in cast(list[Any], written)]
        return next((k for k in kinds if k != "null"), "null") if len(kinds) <= 2 else "union"
    return _kind(cast(dict[str, Any], written)["type"]) if isinstance(written, dict) else str(written)


def _without_logical_types(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_logical_types(n) for n in cast(list[Any], node)]
    if isinstance(node, dict):
        return {k: _without_logical_types(v) for k, v in cast(dict[str, Any], node).items() if k != "logicalType"}
    return node


def _in_block(kind: Any, name: str) -> Any:
    """The type as polars can read it, byte for byte the same: a map is an array of key and value, and an int is a
    long, which polars doesn't cut off to 32 bits.
    """
    if isinstance(kind, list):
        return [_in_block(branch, name) for branch in cast(list[Any], kind)]
    if kind == "int":
        return "long"
    if not isinstance(kind, dict):
        return kind
    made = cast(dict[str, Any], kind)
    if made["type"] == "map":
        entry: dict[str, Any] = {
            "type": "record",
            "name": f"{name}_entry",
            "fields": [{"name": "key", "type": "string"}, {"name": "value", "type": made["values"]}],
        }
        return {"type": "array", "items": entry}
    return _in_block(made["type"], name) if len(made) == 1 else made


def _container_head(schema: bytes) -> tuple[bytes, ...]:
    """https://avro.apache.org/docs/1.12.0/specification/#object-container-files"""
    sync = os.urandom(16)
    meta = [(b"avro.schema", schema), (b"avro.codec", b"null")]
    entries = (_zigzag(len(part)) + part for pair in meta for part in pair)
    return (b"Obj\x01" + _zigzag(len(meta)), *entries, _zigzag(0), sync)


def _zigzag(n: int) -> bytes:
    n <<= 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)
