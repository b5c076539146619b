"""JSON records to polars columns, by each field's path.

What becomes of a record never depends on its neighbours. polars reads a whole column of texts at once and refuses it
for one of them: such a column is halved until the bad record stands alone. Values come as texts and are turned into
their types column by column, so that one of the wrong type is known by its row.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow  # pyright: ignore[reportMissingTypeStubs]

from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.model import FieldSpec
from streamgauge.contract.paths import Node, Steps, steps, tree
from streamgauge.native.library import constant, native
from streamgauge.records.decode import ROW, Decoded, Rejected
from streamgauge.records.payloads import Payloads
from streamgauge.types import Int64s

_arrow: Any = pyarrow
"""It comes without types."""

_OBJECT = constant("json.OBJECT")
_REFUSED = {
    constant("json.NO_VALUE"): ("empty", "the record has no value"),
    constant("json.NOT_UTF8"): ("undecodable", "not UTF-8"),
    constant("json.NOT_AN_OBJECT"): ("undecodable", "not one JSON object"),
}
_MOST_BYTES = 32 * 2**20
"""Read at once: the parser's tree takes several times as much memory."""
_KINDS = {
    "string": "a text",
    "int": "a whole number of 32 bits",
    "long": "a whole number of 64 bits",
    "double": "a finite number",
    "boolean": "true or false",
}
_NONE = pl.Struct({"": pl.String})
"""Of which no record has anything: what can't be read as this is no JSON."""


class JsonReader:
    """Of fields that each have a path."""

    def __init__(self, fields: Sequence[FieldSpec]) -> None:
        self._fields = fields
        self._paths = {f.name: _steps(f) for f in fields}
        self._type = _type_of(tree(self._paths.values()))

    def decode(self, payloads: Payloads) -> Decoded:
        rejected: list[Rejected] = []
        frames = [pl.DataFrame(schema={ROW: pl.UInt32, **{f.name: POLARS_TYPES[f.type] for f in self._fields}})]
        for rows in _pieces(payloads.sizes):
            texts, good, bad = _objects(payloads, rows)
            rejected += bad
            for start, read in self._read(texts, 0, good, rejected):
                frame = self._columns(read, good[start : start + len(read)], rejected)
                frames.append(frame)
        rejected.sort(key=lambda r: r.row)
        return Decoded(pl.concat(frames), rejected)

    def _read(
        self, texts: pl.Series, start: int, rows: Int64s, rejected: list[Rejected]
    ) -> Iterator[tuple[int, pl.Series]]:
        """The texts as values, in pieces, each with the place of its first; what can't be read goes to `rejected`."""
        if not len(texts):
            return
        if (read := _parsed(texts, self._type)) is not None:
            yield start, read
        elif len(texts) == 1:
            rejected.append(Rejected(int(rows[start]), "undecodable", self._fault(texts)))
        else:
            half = len(texts) // 2
            yield from self._read(texts[:half], start, rows, rejected)
            yield from self._read(texts[half:], start + half, rows, rejected)

    def _fault(self, text: pl.Series) -> str:
        if _parsed(text, _NONE) is None:
            return "not valid JSON"
        wrong = [f for f in self._fields if _parsed(text, _type_of(tree([self._paths[f.name]]))) is None]
        return ", ".join(f"{f.name}: {f.path} leads to no value" for f in wrong)

    def _columns(self, read: pl.Series, rows: Int64s, rejected: list[Rejected]) -> pl.DataFrame:
        found = read.alias(ROW).to_frame()
        texts = found.select(_at(self._paths[f.name]).alias(f.name) for f in self._fields)
        frame = texts.select(pl.Series(ROW, rows, pl.UInt32), *(_typed(f).alias(f.name) for f in self._fields))
        lost = [texts[f.name].null_count() != frame[f.name].null_count() for f in self._fields]
        for f in (f for f, some in zip(self._fields, lost, strict=True) if some):
            wrong = frame.filter(frame[f.name].is_null() & texts[f.name].is_not_null())[ROW].to_list()
            kind = f"a time as {f.time_format} has it" if f.type == "timestamp-millis" else _KINDS[f.type]
            rejected += [Rejected(row, "undecodable", f"{f.name}: not {kind}") for row in wrong]
        if any(lost):
            # a record with several wrong values is one dead letter
            first = {r.row: r for r in reversed(rejected)}
            rejected[:] = first.values()
            frame = frame.filter(~pl.col(ROW).is_in(list(first)))
        return frame


def _steps(f: FieldSpec) -> Steps:
    path = steps(f.path)
    if path is None:
        raise ValueError(f"{f.name} has no path")
    return path


def _type_of(node: Node) -> Any:
    if node.keys:
        return pl.Struct({key: _type_of(within) for key, within in node.keys.items()})
    if node.places:
        # all entries of a list are read as one type
        merged = Node(node.path)
        for within in node.places.values():
            _merge(merged, within)
        return pl.List(_type_of(merged))
    return pl.String


def _merge(into: Node, node: Node) -> None:
    into.wanted |= node.wanted
    for key, within in node.keys.items():
        _merge(into.keys.setdefault(key, Node(within.path)), within)
    for place, within in node.places.items():
        _merge(into.places.setdefault(place, Node(within.path)), within)


def _at(path: Steps) -> pl.Expr:
    value = pl.col(ROW)
    for step in path:
        value = value.list.get(step, null_on_oob=True) if isinstance(step, int) else value.struct.field(step)
    return value


def _typed(f: FieldSpec) -> pl.Expr:
    """Of the value's text; null where it is of no such type."""
    text = pl.col(f.name)
    match f.type:
        case "string":
            return text
        case "boolean":
            return text.replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean)
        case "double":
            number = text.cast(pl.Float64, strict=False)
            return pl.when(number.is_finite()).then(number)
        case "timestamp-millis" if f.time_format == "rfc3339":
            return text.str.to_datetime("%+", time_unit="ms", time_zone="UTC", strict=False)
        case "timestamp-millis":
            ms = _milliseconds(f, text.cast(pl.Float64, strict=False))
            return ms.cast(pl.Int64, strict=False).cast(POLARS_TYPES[f.type])
        case _:
            return text.cast(POLARS_TYPES[f.type], strict=False)


def _milliseconds(f: FieldSpec, epoch: pl.Expr) -> pl.Expr:
    match f.time_format:
        case "epoch-s":
            # a fraction of a second has no exact float: its nearest millisecond is meant
            return (epoch * 1000).round()
        case "epoch-us":
            return (epoch / 1000).floor()
        case _:
            return epoch.floor()


def _parsed(texts: pl.Series, kind: Any) -> pl.Series | None:
    """None where one of them can't be read. The error's own text quotes values, and is not passed on."""
    try:
        read = texts.str.json_decode(kind)
    except pl.exceptions.ComputeError:
        return None
    return read if len(read) == len(texts) else None


def _pieces(sizes: Int64s) -> Sequence[Int64s]:
    if not len(sizes):
        return []
    ends = np.cumsum(np.maximum(sizes, 0))
    return np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(ends // _MOST_BYTES)) + 1)


def _objects(payloads: Payloads, rows: Int64s) -> tuple[pl.Series, Int64s, list[Rejected]]:
    """The texts of those that are objects, their rows, and the others."""
    room = int(np.maximum(payloads.sizes[rows], 0).sum())
    data, ends = np.empty(max(room, 1), np.uint8), np.empty(len(rows) + 1, np.int64)
    verdicts = np.empty(len(rows), np.int32)
    addresses, sizes = np.ascontiguousarray(payloads.addresses), np.ascontiguousarray(payloads.sizes)
    good = native.streamgauge_json_objects(
        addresses.ctypes.data,
        sizes.ctypes.data,
        rows.ctypes.data,
        len(rows),
        data.ctypes.data,
        ends.ctypes.data,
        verdicts.ctypes.data,
    )
    buffers = [None, _arrow.py_buffer(ends[: good + 1]), _arrow.py_buffer(data)]
    texts = pl.Series(_arrow.Array.from_buffers(_arrow.large_string(), good, buffers))
    bad = np.flatnonzero(verdicts != _OBJECT)
    rejected = [
        Rejected(row, *_REFUSED[verdict])
        for row, verdict in zip(rows[bad].tolist(), verdicts[bad].tolist(), strict=True)
    ]
    return texts, rows[verdicts == _OBJECT], rejected
