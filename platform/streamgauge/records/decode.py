"""From framed Avro records to one polars frame, whole batches at a time, whatever versions of the schema wrote them.

What becomes of a record never depends on its neighbours: each is read on its own, or gets the reason why it can't be.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import polars as pl

from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.model import FieldSpec
from streamgauge.contract.text_bounds import Bounds, TextBounds, together
from streamgauge.records import avro_reader as avro
from streamgauge.records.avro import parse
from streamgauge.records.payloads import Payloads
from streamgauge.types import Int64s

ROW = "__row"

_READABLE: dict[str, tuple[str, ...]] = {
    "string": ("string",),
    "int": ("int", "long"),
    "long": ("int", "long"),
    "double": ("int", "long", "float", "double"),
    "boolean": ("boolean",),
    "timestamp-millis": ("int", "long"),
    "map<string,string>": ("map<string,string>",),
}
"""What may have been written for a field; polars would make text of numbers, and whole numbers of others."""
_OTHER_TIMES = frozenset(
    (
        *("date", "time-millis", "time-micros", "timestamp-micros", "timestamp-nanos"),
        *("local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos"),
    )
)
"""Numbers of another unit or zone: read as milliseconds of UTC they would be silently wrong."""


class UnusableSchema(Exception):
    """No record can be read by this schema."""


SchemaOf = Callable[[int], Any]
"""The writer's schema by its id, as parsed JSON; None where the registry has none. Raises UnusableSchema where it has
one that isn't Avro, and RegistryUnavailable where it can't tell now.
"""


@dataclass(frozen=True)
class Rejected:
    """A record that becomes a dead letter. `detail` never holds a value of the record."""

    row: int
    reason: str
    detail: str


Picked = Mapping[str, Sequence[str]]
"""By field, the keys of its map that are wanted."""


@dataclass
class Decoded:
    """`frame` has the contract's fields and the row number `__row`, ascending. `bounds` are of its text columns."""

    frame: pl.DataFrame
    rejected: list[Rejected] = field(default_factory=list[Rejected])
    bounds: Bounds = field(default_factory=dict[str, TextBounds])


class Decoder:
    """Decodes records with a contract's fields, whatever versions of its schema wrote them.

    Where maps are `picked` from, the frame has those values as texts, and for the map itself whether there is one.
    """

    def __init__(self, fields: Sequence[FieldSpec], schema_of: SchemaOf, picked: Picked | None = None) -> None:
        self._fields = fields
        self._picked = picked or {}
        self._schema_of = schema_of
        self._writers: dict[int, _Writer] = {}

    def decode(self, payloads: Payloads) -> Decoded:
        ids = avro.schema_ids(payloads)
        rejected: list[Rejected] = []
        frames: list[pl.DataFrame] = []
        bounds: list[Bounds] = []
        for schema_id, rows in _by_id(ids):
            writer = self._writer(schema_id)
            if isinstance(writer, _Refusal):
                rejected += [Rejected(row, writer.reason, writer.detail) for row in rows.tolist()]
                continue
            for some in _pieces(rows, payloads.sizes[rows]):
                read, bad = writer.read(payloads, some)
                frames.append(read.frame)
                bounds.append(read.bounds)
                rejected += bad
        if not frames:
            return Decoded(self._empty(), rejected)
        frame = frames[0] if len(frames) == 1 else pl.concat(frames).sort(ROW)
        return Decoded(frame, rejected, together(bounds))

    def _empty(self) -> pl.DataFrame:
        types = {f.name: pl.Boolean if f.name in self._picked else POLARS_TYPES[f.type] for f in self._fields}
        texts = {avro.picked_name(name, key): pl.String for name, keys in self._picked.items() for key in keys}
        return pl.DataFrame(schema={ROW: pl.UInt32, **types, **texts})

    def _writer(self, schema_id: int) -> "_Writer | _Refusal":
        if schema_id in _UNREADABLE:
            return _UNREADABLE[schema_id]
        if schema_id not in self._writers:
            try:
                schema = self._schema_of(schema_id)
                if schema is None:
                    return _Refusal("unknown_schema", f"the registry has no schema {schema_id}")
                self._writers[schema_id] = _Writer(schema, self._fields, self._picked)
            except UnusableSchema as e:
                return _Refusal("undecodable", f"schema {schema_id} can't be read as this contract's: {e}")
        return self._writers[schema_id]


@dataclass(frozen=True)
class _Refusal:
    reason: str
    detail: str


_UNREADABLE = {
    avro.NO_VALUE: _Refusal("empty", "the record has no value"),
    avro.NOT_FRAMED: _Refusal("undecodable", "not framed Avro: a zero byte and a four-byte schema id come first"),
}

_WRONG = {
    avro.ENDS_EARLY: "the record ends too early",
    avro.NOT_UTF8: "a string is not UTF-8",
    avro.NO_FIT: "a value doesn't fit its type",
    avro.MALFORMED: "not a record of its schema",
}


def _by_id(ids: Int64s) -> list[tuple[int, Int64s]]:
    """Nearly always one schema has written them all."""
    if len(ids) and (ids == ids[0]).all():
        return [(int(ids[0]), np.arange(len(ids)))]
    return [(schema_id, np.flatnonzero(ids == schema_id)) for schema_id in np.unique(ids).tolist()]


def _pieces(rows: Int64s, sizes: Int64s) -> Sequence[Int64s]:
    """As many rows at a time as the reader takes."""
    ends = np.cumsum(sizes)
    if ends[-1] <= avro.MOST_BYTES:
        return [rows]
    # no record is half as large as what the reader takes
    return np.split(rows, np.flatnonzero(np.diff(ends // (avro.MOST_BYTES // 2))) + 1)


class _Writer:
    """Reads what one version of the schema wrote, as the contract's fields."""

    def __init__(self, schema: Any, fields: Sequence[FieldSpec], picked: Picked) -> None:
        """Raises UnusableSchema."""
        parsed = _parsed(schema)
        written = {f["name"]: f["type"] for f in parsed.get("fields", ())}
        missing = [f.name for f in fields if f.name not in written and f.required and f.default is None]
        if missing:
            raise UnusableSchema(f"it lacks the required {', '.join(missing)}")
        wrong = [
            f"{f.name} ({kind})"
            for f in fields
            if f.name in written and (kind := _kind(written[f.name])) not in _READABLE[f.type]
        ]
        if wrong:
            raise UnusableSchema(f"another type is written for {', '.join(wrong)}")
        wanted = {f.name: f.type for f in fields if f.name in written}
        self._reader = avro.AvroReader(parsed, wanted, {n: keys for n, keys in picked.items() if n in written})
        self._select: list[pl.Expr] = []
        for f in fields:
            names = [f.name, *(avro.picked_name(f.name, key) for key in picked.get(f.name, ()))]
            self._select += [pl.col(n) for n in names] if f.name in written else _defaults(f, picked)

    def read(self, payloads: Payloads, rows: Int64s) -> tuple[avro.Read, list[Rejected]]:
        read = self._reader.read(payloads, rows)
        bad = np.flatnonzero(read.verdicts)
        rejected = [
            Rejected(row, "undecodable", _WRONG.get(verdict, f"{verdict} bytes behind the record"))
            for row, verdict in zip(rows[bad].tolist(), read.verdicts[bad].tolist(), strict=True)
        ]
        return replace(read, frame=read.frame.select(pl.Series(ROW, read.kept), *self._select)), rejected


def _defaults(f: FieldSpec, picked: Picked) -> list[pl.Expr]:
    """What the field's columns hold where the writer's schema has no such field."""
    if f.name not in picked:
        value = f.default
        if isinstance(value, dict):
            value = [{"key": k, "value": v} for k, v in cast(dict[str, str], value).items()]
        return [pl.lit(value, POLARS_TYPES[f.type]).alias(f.name)]
    entries: dict[str, str] = f.default or {}
    there = pl.lit(None if f.default is None else True, pl.Boolean).alias(f.name)
    texts = [pl.lit(entries.get(k), pl.String).alias(avro.picked_name(f.name, k)) for k in picked[f.name]]
    return [there, *texts]


def _parsed(schema: Any) -> Any:
    if not isinstance(schema, dict) or cast(dict[str, Any], schema).get("type") not in ("record", "error"):
        raise UnusableSchema("it is no record")
    try:
        return parse(cast(dict[str, Any], schema))
    except Exception as e:
        # whatever fastavro stumbles over in somebody's schema, and it raises many types, no record can be read by it
        raise UnusableSchema(f"it is no valid Avro schema: {type(e).__name__}: {e}") from e


def _kind(written: Any) -> str:
    """The name of a valid Avro type, without null. A logical type belongs to it where it changes what a value means."""
    if isinstance(written, list):
        branches = cast(list[Any], written)
        kinds = [_kind(branch) for branch in branches if branch != "null"]
        return kinds[0] if len(kinds) == 1 else f"union of {len(branches)}"
    if not isinstance(written, dict):
        return str(written)
    built = cast(dict[str, Any], written)
    if built["type"] == "map":
        values = built["values"]
        # a value's branch has no place in a column of texts
        return "map with unions" if isinstance(values, list) else f"map<string,{_kind(values)}>"
    logical = built.get("logicalType")
    return str(logical) if logical in _OTHER_TIMES else _kind(built["type"])
