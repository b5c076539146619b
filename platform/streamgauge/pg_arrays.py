"""Columns as Postgres's binary arrays, each made at once: psycopg makes them value by value.

The format is array_recv's: https://github.com/postgres/postgres/blob/REL_15_STABLE/src/backend/utils/adt/arrayfuncs.c
"""

import struct
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import polars as pl
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from streamgauge.native.library import native
from streamgauge.native.views import TextViews

_OIDS: Final = {"bigint": 20, "int": 23, "text": 25, "double precision": 701, "bytea": 17}
_FIXED: Final[dict[str, tuple[Any, str, int]]] = {
    "bigint": (pl.Int64, ">i8", 8),
    "int": (pl.Int32, ">i4", 4),
    "double precision": (pl.Float64, ">f8", 8),
}
_SIZE_BYTES = 4


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
    head = struct.pack(">5i", 1, column.null_count() > 0, _OIDS[kind], len(column), 1)
    return PgArray(head + (_fixed(column, *_FIXED[kind]) if kind in _FIXED else _varying(column)))


def _fixed(column: pl.Series, kind: Any, big_endian: str, size: int) -> bytes:
    # straight from memory: each question to polars is a query to its engine
    array = cast(Any, column.cast(kind).rechunk()).to_arrow()
    validity, values = array.buffers()
    elements = np.empty(len(column), [("size", ">i4"), ("value", big_endian)])
    elements["size"] = size
    elements["value"] = np.frombuffer(values, big_endian[1:], len(column), array.offset * size)
    if validity is None or not array.null_count:
        return elements.tobytes()
    bits = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")
    nulls = bits[array.offset : array.offset + len(column)] == 0
    elements["size"][nulls] = -1
    kept = np.ones((len(column), elements.itemsize), np.bool_)
    kept[nulls, _SIZE_BYTES:] = False
    return elements.view(np.uint8).reshape(kept.shape)[kept].tobytes()


def _varying(column: pl.Series) -> bytes:
    views = TextViews(column)
    made = np.empty(native.streamgauge_pg_elements_size(views.address, len(column)), np.uint8)
    native.streamgauge_pg_elements(views.address, len(column), made.ctypes.data)
    return made.tobytes()
