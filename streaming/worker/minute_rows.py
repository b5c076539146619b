"""The rows of the minutes table and of the top-N table: what a commit adds to them, and the sketches that a worker
reads back when it takes a partition over.
"""

from typing import LiteralString

import polars as pl
import psycopg
from psycopg import sql

from streamgauge.contract.measures import counter
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.rollup.plan import MINUTE, PARTITION
from streamgauge.stores.postgres import Connection
from streamgauge.stores.tables.speed import COUNTERS
from streaming.worker.connection import AT_MS
from streaming.worker.open_minutes import OpenSketches
from streaming.worker.pg_binary import copy_rows, pg_array
from streaming.worker.pipeline import Delta
from streaming.worker.rollup import sketch_columns

_BEFORE = -(2**63)
"""Earlier than any minute: of a partition without an event every row is new."""


class MinuteRows:
    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self.columns, self._upsert_minutes = self._minutes_statement()

    def open_sketches(self, connection: Connection, partition: int, first: int) -> OpenSketches:
        """What is stored of a partition's minutes from `first` (epoch ms) on."""
        dimensions, held = self._contract.dimension_names, OpenSketches()
        sketched = sketch_columns(self._contract)
        if sketched:
            query = sql.SQL(
                "select extract(epoch from minute)::bigint * 1000, {} from {} where partition = %s and minute >= "
                + AT_MS.format("%s")
            ).format(
                sql.SQL(", ").join(map(sql.Identifier, [*dimensions, *sketched])),
                sql.Identifier(self._contract.minutes_table),
            )
            rows = connection.execute(query, (partition, first), binary=True).fetchall()
            for minute, *row in rows:
                name = tuple(row[: len(dimensions)])
                for column, data in zip(sketched, row[len(dimensions) :], strict=True):
                    held.columns[column].append(((partition, int(minute)), name, data))
        query = sql.SQL(
            "select extract(epoch from minute)::bigint * 1000, top, sketch from {}"
            " where partition = %s and minute >= " + AT_MS.format("%s")
        ).format(sql.Identifier(self._contract.top_table))
        for minute, top, data in connection.execute(query, (partition, first), binary=True).fetchall():
            held.tops[top].append(((partition, int(minute)), (), data))
        return held

    def write_minutes(self, connection: Connection, delta: Delta) -> None:
        """A partition has no row after its latest minute: those rows are new, and need no look for what is there."""
        if delta.minutes.is_empty():
            return
        upto = {p.after.partition: p.after.next_offset for p in delta.partitions}
        latest = {p.after.partition: _BEFORE if p.before.latest is None else p.before.latest for p in delta.partitions}
        at = pl.col(PARTITION)
        rows = delta.minutes.with_columns(at.replace_strict(upto, return_dtype=pl.Int64).alias("upto"))
        new = rows.select(pl.col(MINUTE) > at.replace_strict(latest, return_dtype=pl.Int64)).to_series()
        if new.any():
            self._insert_minutes(connection, rows.filter(new))
        if not new.all():
            touched = rows.filter(~new)
            arrays = [pg_array(touched[column], kind) for column, kind in self.columns.items()]
            connection.execute(self._upsert_minutes, arrays)

    def _insert_minutes(self, connection: Connection, rows: pl.DataFrame) -> None:
        table = self._contract.minutes_table
        try:
            copy_rows(connection, sql.Identifier(table), {**self.columns, MINUTE: "timestamptz"}, rows)
        except psycopg.errors.UniqueViolation as e:
            raise UserError(
                f"{table} has rows after the latest minute in stream_offsets: both must come from the same backup"
            ) from e

    def _minutes_statement(self) -> tuple[dict[str, LiteralString], sql.Composed]:
        """The columns with their types, and the upsert that takes an array of each.

        Rows come sorted by key. Each column merges as its kind says, sketches are replaced: a partition's rows have one
        writer.
        """
        c = self._contract
        table = sql.Identifier(c.minutes_table)
        types: dict[str, LiteralString] = {MINUTE: "bigint", PARTITION: "int"}
        types |= dict.fromkeys(c.dimension_names, "text")
        columns = [*map(counter, COUNTERS), *c.rollup.columns]
        types |= {column.name: column.type for column in columns}
        types["upto"] = "bigint"
        updates = [_assignment(column.upsert, column.name, column.by, table) for column in columns]
        updates.append(_assignment("excluded.{c}", "upto", None, table))
        names = [sql.Identifier(n) for n in types]
        statement = sql.SQL(
            "insert into {table} ({names}) select "
            + AT_MS.format("n.minute")
            + ", {rest} from unnest({arrays}) as n({names})"
            " on conflict ({key}) do update set {updates}"
        ).format(
            table=table,
            names=sql.SQL(", ").join(names),
            rest=sql.SQL(", ").join(sql.SQL("n.") + n for n in names[1:]),
            arrays=sql.SQL(", ").join(sql.SQL("%b::" + t + "[]") for t in types.values()),
            key=sql.SQL(", ").join(map(sql.Identifier, (MINUTE, *c.dimension_names, PARTITION))),
            updates=sql.SQL(", ").join(updates),
        )
        return types, statement

    def write_tops(self, connection: Connection, delta: Delta) -> None:
        if not delta.tops:
            return
        upto = {p.after.partition: p.after.next_offset for p in delta.partitions}
        minutes, partitions, tops, dumped = zip(*sorted(delta.tops, key=lambda r: r[:3]), strict=True)
        connection.execute(
            sql.SQL(
                "insert into {} (minute, partition, top, sketch, upto) select "
                + AT_MS.format("n.minute")
                + ", n.partition, n.top, n.sketch, n.upto"
                " from unnest(%b::bigint[], %b::int[], %b::text[], %b::bytea[], %b::bigint[])"
                " as n(minute, partition, top, sketch, upto)"
                " on conflict (minute, top, partition) do update set sketch = excluded.sketch, upto = excluded.upto"
            ).format(sql.Identifier(self._contract.top_table)),
            (list(minutes), list(partitions), list(tops), list(dumped), [upto[p] for p in partitions]),
        )


def _assignment(how: LiteralString, column: str, by: str | None, table: sql.Identifier) -> sql.Composed:
    name = sql.Identifier(column)
    return sql.SQL("{c} = " + how).format(c=name, by=name if by is None else sql.Identifier(by), t=table)
