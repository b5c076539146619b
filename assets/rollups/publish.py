"""Rollups into Postgres: the windows of some time are replaced in the transaction of the caller."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from psycopg import sql

from assets.rollups.roll import SKETCH, TOP, Windows
from streamgauge.contract.model import Contract
from streamgauge.stores.ddl import Table
from streamgauge.stores.postgres import Connection
from streamgauge.stores.rollup_tables import START, window_schema
from streamgauge.stores.tables.batch import rollups_table, stream_tables, tops_table

_COPY_TYPES = {
    "timestamp with time zone": "timestamptz",
    "bigint": "int8",
    "double precision": "float8",
    "text": "text",
    "bytea": "bytea",
}


def replace(
    connection: Connection, contract: Contract, size: str, windows: Windows, start: datetime, end: datetime
) -> None:
    """All windows of that size that begin from `start` up to, not including, `end`."""
    tables = {t.name: t for t in stream_tables(contract)}
    rows, tops = tables[rollups_table(contract, size)], tables[tops_table(contract)]
    connection.execute(_delete(rows), (start, end))
    connection.execute(_delete(tops) + sql.SQL(" AND size = %s"), (start, end, size))
    _copy(connection, rows, windows.rows)
    _copy(connection, tops, windows.tops.with_columns(pl.lit(size).alias("size")))


def read(connection: Connection, contract: Contract, size: str, start: datetime, end: datetime) -> Windows:
    rows = _select(connection, rollups_table(contract, size), window_schema(contract), (start, end))
    schema = pl.Schema({START: rows.schema[START], TOP: pl.String(), SKETCH: pl.Binary()})
    tops = _select(connection, tops_table(contract), schema, (start, end), size)
    return Windows(rows, tops)


def _delete(table: Table) -> sql.Composed:
    return sql.SQL("DELETE FROM {} WHERE window_start >= %s AND window_start < %s").format(sql.Identifier(table.name))


def _select(
    connection: Connection, table: str, schema: pl.Schema, span: tuple[datetime, datetime], size: str | None = None
) -> pl.DataFrame:
    query = sql.SQL("SELECT {} FROM {} WHERE window_start >= %s AND window_start < %s").format(
        sql.SQL(", ").join(map(sql.Identifier, schema)), sql.Identifier(table)
    )
    values: Sequence[Any] = span
    if size is not None:
        query, values = query + sql.SQL(" AND size = %s"), (*span, size)
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(query, values).fetchall()
    return pl.DataFrame(rows, schema=schema, orient="row")


def _copy(connection: Connection, table: Table, rows: pl.DataFrame) -> None:
    columns = [c for c in table.columns if c.name in rows.columns]
    names = sql.SQL(", ").join(sql.Identifier(c.name) for c in columns)
    query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table.name), names)
    ordered: Iterable[tuple[Any, ...]] = rows.select(c.name for c in columns).iter_rows()
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        copy.set_types([_COPY_TYPES[c.type] for c in columns])
        for row in ordered:
            copy.write_row(row)
