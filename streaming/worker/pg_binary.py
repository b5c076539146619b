"""Columns in Postgres's binary formats, each made at once: psycopg makes them value by value.

The formats are array_recv's (https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/utils/adt/arrayfuncs.c)
and COPY's (https://www.postgresql.org/docs/15/sql-copy.html).
"""

import ctypes
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import psycopg
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.pq import Format

from streamgauge.native.library import fields_of, native
from streamgauge.native.views import VIEW_BYTES, Texts, Views

_OIDS: Final = {"bigint": 20, "int": 23, "text": 25, "double precision": 701, "bytea": 17}
_TYPES: Final[dict[str, Any]] = {
    "bigint": pl.Int64,
    "int": pl.Int32,
    "double precision": pl.Float64,
    "text": pl.String,
    "bytea": pl.Binary,
    "timestamptz": pl.Int64,
}
_NUMBER_BYTES: dict[pl.DataType, int] = {pl.Int64(): 8, pl.Int32(): 4, pl.Float64(): 8}
_COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_EPOCH_MS = 946_684_800_000
"""Postgres counts time from the year 2000."""


class _Field(ctypes.Structure):
    """As pg_binary.c describes it."""

    _fields_ = fields_of("Field", Texts=Texts)


class _FieldViews(Views):
    """Texts, bytes or numbers. `struct` stands for as long as this object does."""

    def __init__(self, column: pl.Series) -> None:
        width = _NUMBER_BYTES.get(column.dtype, 0)
        super().__init__(column, width or VIEW_BYTES)
        self.struct = _Field(texts=self.texts, width=width)
        self.address = ctypes.addressof(self.struct)


@dataclass(frozen=True)
class PgArray:
    data: bytes


class _ArrayDumper(Dumper):
    # no oid: the statement's cast says which array it is
    format = Format.BINARY

    def dump(self, obj: PgArray) -> bytes:
        return obj.data


psycopg.adapters.register_dumper(PgArray, _ArrayDumper)


def pg_array(column: pl.Series, kind: str) -> PgArray:
    """A parameter for `%b::kind[]`."""
    field = _field(column, kind)
    head = struct.pack(">5i", 1, column.null_count() > 0, _OIDS[kind], len(column), 1)
    buffer = np.empty(native.streamgauge_pg_size(field.address, len(column)), np.uint8)
    native.streamgauge_pg_elements(field.address, len(column), buffer.ctypes.data)
    return PgArray(head + buffer.tobytes())


def copy_rows(
    connection: psycopg.Connection[Any], table: sql.Identifier, kinds: Mapping[str, str], rows: pl.DataFrame
) -> None:
    """Writes rows into a table, whose columns are of these kinds; a timestamptz is given in epoch ms."""
    fields = [_field(rows[name], kind) for name, kind in kinds.items()]
    together = (_Field * len(fields))(*(f.struct for f in fields))
    sizes = [native.streamgauge_pg_size(f.address, len(rows)) for f in fields]
    buffer = np.empty(sum(sizes) + 2 * len(rows), np.uint8)
    native.streamgauge_pg_rows(ctypes.addressof(together), len(fields), len(rows), buffer.ctypes.data)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        table, sql.SQL(", ").join(map(sql.Identifier, kinds))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(_COPY_HEAD + buffer.tobytes() + _COPY_END)


def _field(column: pl.Series, kind: str) -> _FieldViews:
    if kind == "timestamptz":
        column = (column - _EPOCH_MS) * 1000
    return _FieldViews(column.cast(_TYPES[kind]))
