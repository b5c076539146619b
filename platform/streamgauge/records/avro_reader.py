"""Framed Avro records to polars columns, by the compiled reader."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow  # pyright: ignore[reportMissingTypeStubs]
from numpy.typing import NDArray

from streamgauge.contract.text_bounds import Bounds, TextBounds
from streamgauge.native.library import constant, fields_of, native
from streamgauge.records.payloads import Payloads
from streamgauge.types import Int64s

_arrow: Any = pyarrow
"""It comes without types."""

_TYPES = "null boolean int long float double string bytes fixed enum array map union record picked"
_KINDS = {kind: constant(f"avro.{'NUL' if kind == 'null' else kind.upper()}") for kind in _TYPES.split()}

_FULL = constant("avro.FULL")
NO_VALUE, NOT_FRAMED = (constant(f"avro.{name}") for name in ("NO_VALUE", "NOT_FRAMED"))
ENDS_EARLY, NOT_UTF8, NO_FIT, MALFORMED = (
    constant(f"avro.{name}") for name in ("ENDS_EARLY", "NOT_UTF8", "NO_FIT", "MALFORMED")
)

MOST_BYTES = 2**30
"""What may be read at once: within a column, positions have 31 bits."""

_VIEW_BYTES = 16
_ROOM_TO_SPARE = 1.25

_TEXT: Any = _arrow.string_view()
_ENTRY: Any = _arrow.struct([("key", _TEXT), ("value", _TEXT)])
_WIDTHS = {"long": 8, "timestamp-millis": 8, "double": 8, "int": 4, "string": _VIEW_BYTES}
_PICKED = "picked"
"""A map's own column, where only some of its values are wanted: true where there is one."""
_COLUMN_KINDS = {"timestamp-millis": "long", "map<string,string>": "map"}
_ARROW_TYPES: dict[str, Any] = {
    "string": _TEXT,
    "int": _arrow.int32(),
    "long": _arrow.int64(),
    "double": _arrow.float64(),
    "boolean": _arrow.bool_(),
    "timestamp-millis": _arrow.timestamp("ms", "UTC"),
    "map<string,string>": _arrow.large_list(_ENTRY),
    _PICKED: _arrow.bool_(),
}


class _Pick(ctypes.Structure):
    _fields_ = fields_of("Pick")


class _Column(ctypes.Structure):
    _fields_ = fields_of("Column")


def schema_ids(payloads: Payloads) -> Int64s:
    """The id in each record's frame; NO_VALUE or NOT_FRAMED where there is none."""
    ids = np.empty(len(payloads), np.int64)
    native.streamgauge_schema_ids(payloads.addresses.ctypes.data, payloads.sizes.ctypes.data, len(ids), ids.ctypes.data)
    return ids


@dataclass(frozen=True)
class Read:
    """`frame` has the good records, which are the rows `kept`. `verdicts` has a number for each record: 0 if it is
    good, how many bytes stand behind it, or what is wrong with it. `bounds` are of the text columns.
    """

    frame: pl.DataFrame
    bounds: Bounds
    kept: NDArray[np.uint32]
    verdicts: NDArray[np.int32]


def picked_name(field: str, key: str) -> str:
    """The column that the value of a map's key is read into: named as contracts name it."""
    return f"{field}.{key}"


class AvroReader:
    """Of one writer's schema, parsed by fastavro. `wanted` names fields of it with the contract's types.

    Of a map in `picked` only those keys' values are read, each into a text column. Its own column then says
    no more than whether there is a map.
    """

    def __init__(self, parsed: Any, wanted: Mapping[str, str], picked: Mapping[str, Sequence[str]]) -> None:
        flat = _Flat()
        flat.add(parsed)
        self._types = np.array(flat.types, np.int32)
        self._children = np.array([*flat.children, 0], np.int32)
        self._columns = [_Target(name, _PICKED if name in picked else kind) for name, kind in wanted.items()]
        names = list(wanted)
        for name, keys in picked.items():
            self._columns[names.index(name)].pick(keys, len(self._columns))
            self._columns += [_Target(picked_name(name, key), "string") for key in keys]
        written = [f["name"] for f in parsed["fields"]]
        self._targets = np.array([names.index(n) if n in wanted else -1 for n in written] or [0], np.int32)

    def read(self, payloads: Payloads, rows: Int64s) -> Read:
        """The records `rows`, which must all be framed, and MOST_BYTES together at most. May run in several threads."""
        count = len(rows)
        kept, verdicts = np.empty(max(count, 1), np.uint32), np.empty(count, np.int32)
        while True:
            fillings = [_Filling(target, count) for target in self._columns]
            columns = (_Column * len(fillings))(*(f.column for f in fillings))
            good = native.streamgauge_decode(
                payloads.addresses.ctypes.data,
                payloads.sizes.ctypes.data,
                rows.ctypes.data,
                count,
                self._types.ctypes.data,
                self._children.ctypes.data,
                self._targets.ctypes.data,
                ctypes.addressof(columns),
                len(columns),
                kept.ctypes.data,
                verdicts.ctypes.data,
            )
            if good != _FULL:
                break
            for target in self._columns:
                target.grow()
        built = [f.end(column, good) for f, column in zip(fillings, columns, strict=True)]
        bounds = {
            target.name: TextBounds(column.shortest, column.longest, bool(column.nul))
            for target, column in zip(self._columns, columns, strict=True)
            if target.kind == "string"
        }
        return Read(pl.DataFrame(built), bounds, kept[:good], verdicts)


class _Flat:
    """A schema as two lists: its types as kind, size and first child; and the children's numbers."""

    def __init__(self) -> None:
        self.types: list[tuple[int, int, int]] = []
        self.children: list[int] = []
        self._named: dict[str, int] = {}

    def add(self, node: Any) -> int:
        if isinstance(node, str) and node in self._named:
            return self._named[node]
        number = len(self.types)
        self.types.append((0, 0, 0))
        size = None
        if isinstance(node, list):
            kind, within = "union", cast(list[Any], node)
        elif isinstance(node, dict):
            built = cast(dict[str, Any], node)
            kind = built["type"]
            if kind not in _KINDS:
                # a type around a type
                self.types.pop()
                return self.add(kind)
            if "name" in built:
                self._named[built["name"]] = number
            within = [built[k] for k in ("items", "values") if k in built]
            within += [f["type"] for f in built.get("fields", ())]
            size = built.get("size", len(built["symbols"]) if kind == "enum" else None)
        else:
            kind, within = str(node), []
        children = [self.add(child) for child in within]
        self.types[number] = (_KINDS[kind], len(within) if size is None else size, len(self.children))
        self.children += children
        return number


class _Target:
    """A column that is wanted. How much memory a record takes in it is learnt from those before."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.picks = (_Pick * 0)()
        self.bytes_each, self.entries_each = 32.0, 2.0

    def pick(self, keys: Sequence[str], first: int) -> None:
        encoded = [key.encode() for key in keys]
        self.picks = (_Pick * len(keys))(*(_Pick(key, len(key), first + i) for i, key in enumerate(encoded)))

    def grow(self) -> None:
        self.bytes_each *= 2
        self.entries_each *= 2

    def learn(self, column: _Column, rows: int) -> None:
        self.bytes_each = max(column.data_size / rows, self.bytes_each * 0.9)
        self.entries_each = max(column.entries / rows, self.entries_each * 0.9)


class _Filling:
    """The memory of one column while so many rows are read into it."""

    def __init__(self, target: _Target, rows: int) -> None:
        self._target = target
        kind, spare = target.kind, rows * _ROOM_TO_SPARE
        self._validity = np.zeros(rows // 8 + 1, np.uint8)
        text, is_map = kind == "string", kind.startswith("map")
        if is_map:
            self._values = np.zeros((rows + 1) * 8, np.uint8)
        elif kind == _PICKED:
            self._values = self._validity
        elif kind == "boolean":
            self._values = np.zeros(rows // 8 + 1, np.uint8)
        else:
            self._values = np.empty(rows * _WIDTHS[kind], np.uint8)
        room = min(int(spare * target.bytes_each) + 64, MOST_BYTES) if text or is_map else 0
        entries = int(spare * target.entries_each) + 8 if is_map else 0
        self._data = np.empty(room, np.uint8)
        self._keys, self._texts = (np.empty(entries * _VIEW_BYTES, np.uint8) for _ in range(2))
        self.column = _Column(
            kind=_KINDS[_COLUMN_KINDS.get(kind, kind)],
            validity=self._validity.ctypes.data,
            values=self._values.ctypes.data,
            data=self._data.ctypes.data,
            data_capacity=room,
            keys=self._keys.ctypes.data,
            texts=self._texts.ctypes.data,
            entries_capacity=entries,
            picks=ctypes.addressof(target.picks),
            picks_size=len(target.picks),
            shortest=MOST_BYTES,
        )

    def end(self, column: _Column, rows: int) -> pl.Series:
        kind = self._target.kind
        if rows:
            self._target.learn(column, rows)
        validity = _buffer(self._validity) if column.nulls else None
        data = [_buffer(self._data[: column.data_size])] if column.data_size else []
        if kind.startswith("map"):
            within = [
                _arrow.Array.from_buffers(_TEXT, column.entries, [None, _buffer(views), *data])
                for views in (self._keys, self._texts)
            ]
            entries = _arrow.Array.from_buffers(_ENTRY, column.entries, [None], children=within)
            buffers, children = [validity, _buffer(self._values)], [entries]
        else:
            buffers, children = [validity, _buffer(self._values), *data], None
        built = _arrow.Array.from_buffers(_ARROW_TYPES[kind], rows, buffers, children=children)
        return pl.Series(self._target.name, built)


def _buffer(memory: NDArray[np.uint8]) -> Any:
    return _arrow.py_buffer(memory)
