"""Arrays made whole are byte for byte those that psycopg makes value by value."""

from typing import Any

import polars as pl
import pytest
from psycopg.adapt import PyFormat, Transformer
from psycopg.types.numeric import Int4, Int8

from streaming.worker.pg_binary import pg_array


@pytest.mark.parametrize(
    ("kind", "values", "as_psycopg"),
    [
        ("bigint", [1, -(2**63), 2**63 - 1], Int8),
        ("int", [0, 7, -1], Int4),
        ("double precision", [0.5, None, -1e300, None], float),
        ("text", ["", "ÿ€😀", "a\nb"], str),
        ("bytea", [b"", None, b"\x00\xff", b"x" * 10_000], bytes),
    ],
)
def test_like_psycopg(kind: str, values: list[Any], as_psycopg: Any) -> None:
    given = [None if v is None else as_psycopg(v) for v in values]
    theirs = Transformer().get_dumper(given, PyFormat.BINARY).dump(given)
    assert pg_array(pl.Series(values), kind).data == theirs
