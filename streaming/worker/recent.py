"""The last hour of a stream over all partitions, as Postgres has it, kept up to date by reading only what changed."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from streamgauge.contract.model import Contract
from streamgauge.rollup import sketches
from streamgauge.rollup.plan import MINUTE_MS
from streamgauge.state.generations import present_generation
from streamgauge.stores.postgres import Connection

MINUTES = 60
"""The longest window that is published; what is older is forgotten, or memory would grow with the stream."""
_EPOCH_MS = "extract(epoch from minute)::bigint * 1000"


@dataclass(frozen=True)
class Snapshot:
    """Where the stream stands. `version` only grows; `watermark` and `newest` (a minute) in epoch ms."""

    version: int
    watermark: int | None
    newest: int
    offsets: dict[int, int]
    published: dict[int, int]
    rebuilt: dict[int, int]


class Recent:
    """Must be used inside one repeatable-read transaction at a time, so that a snapshot and its rows agree."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._read_to: dict[int, int] = {}
        self._rebuilt: dict[int, int] = {}
        # kept as bytes: a sketch ready for use takes many times the room of what it holds
        self._by_partition: dict[tuple[int, str], dict[int, bytes]] = defaultdict(dict)
        self._merged: dict[tuple[int, str], bytes] = {}

    def snapshot(self, connection: Connection) -> Snapshot | None:
        """None before the stream's first event, and where another generation of its rollups is read: of what is counted
        since, this one's tables have nothing.
        """
        if present_generation(connection, self._contract) != self._contract.generation:
            return None
        rows = connection.execute(
            "select partition, next_offset, watermark_ms, published_offset, rebuilt from stream_offsets"
            " where topic = %s",
            (self._contract.topic,),
        ).fetchall()
        newest = connection.execute(
            sql.SQL("select " + _EPOCH_MS.replace("minute", "max(minute)") + " from {}").format(
                sql.Identifier(self._contract.minutes_table)
            )
        ).fetchone()
        if newest is None or newest[0] is None:
            return None
        return Snapshot(
            version=sum(r[1] for r in rows),
            watermark=min((r[2] for r in rows if r[2] is not None), default=None),
            newest=int(newest[0]),
            offsets={r[0]: r[1] for r in rows},
            published={r[0]: r[3] for r in rows},
            rebuilt={r[0]: r[4] for r in rows},
        )

    def refresh(self, connection: Connection, snapshot: Snapshot) -> None:
        """Reads the top-N sketches that were written since the last time."""
        oldest = snapshot.newest - (MINUTES - 1) * MINUTE_MS
        query = sql.SQL(
            f"select {_EPOCH_MS}, partition, top, sketch from {{}} where partition = %s and upto > %s"
            " and minute >= timestamptz 'epoch' + %s * interval '1 millisecond'"
        ).format(sql.Identifier(self._contract.top_table))
        for partition, offset in snapshot.offsets.items():
            if self._rebuilt.get(partition) != snapshot.rebuilt[partition]:
                self._forget(partition)
                self._rebuilt[partition] = snapshot.rebuilt[partition]
            read_to = self._read_to.get(partition, -1)
            if offset > read_to:
                for minute, p, top, data in connection.execute(query, (partition, read_to, oldest), binary=True):
                    self._by_partition[int(minute), top][p] = data
                    self._merged.pop((int(minute), top), None)
                self._read_to[partition] = offset
        for key in [k for k in self._by_partition if k[0] < oldest]:
            del self._by_partition[key]
            self._merged.pop(key, None)

    def _forget(self, partition: int) -> None:
        self._read_to.pop(partition, None)
        for key, parts in self._by_partition.items():
            if parts.pop(partition, None) is not None:
                self._merged.pop(key, None)

    def top(self, name: str, first: int, last: int) -> sketches.Frequent:
        """The top-N of the minutes from `first` to `last`, both included."""
        minutes = [m for m, top in self._by_partition if top == name and first <= m <= last]
        return sketches.merge_frequent(sketches.load_frequent(self._minute(m, name)) for m in minutes)

    def _minute(self, minute: int, name: str) -> bytes:
        key = (minute, name)
        if key not in self._merged:
            parts = map(sketches.load_frequent, self._by_partition[key].values())
            self._merged[key] = sketches.dump_frequent(sketches.merge_frequent(parts))
        return self._merged[key]

    def totals(self, connection: Connection, snapshot: Snapshot) -> list[tuple[int, int, int, int]]:
        """(minute, count, late, duplicates) of the last hour, oldest first."""
        query = sql.SQL(
            f"select {_EPOCH_MS}, sum(count)::bigint, sum(late)::bigint, sum(duplicates)::bigint from {{}}"
            " where minute > timestamptz 'epoch' + %s * interval '1 millisecond' group by minute order by minute"
        ).format(sql.Identifier(self._contract.minutes_table))
        rows = connection.execute(query, (snapshot.newest - MINUTES * MINUTE_MS,), binary=True)
        return [(int(m), c, late, duplicates) for m, c, late, duplicates in rows]

    def changed(self, connection: Connection, snapshot: Snapshot) -> list[tuple[Any, ...]]:
        """(minute, dimensions …, count, late, duplicates) of minutes written since `snapshot.published`."""
        c = self._contract
        table = sql.Identifier(c.minutes_table)
        dimensions = sql.SQL("").join(sql.SQL(", {}").format(sql.Identifier(d)) for d in c.dimension_names)
        touched = sql.SQL(" union ").join(
            sql.SQL("select minute from {} where partition = {} and upto > {}").format(
                table, sql.Literal(p), sql.Literal(snapshot.published[p])
            )
            for p in snapshot.offsets
        )
        query = sql.SQL(
            f"select {_EPOCH_MS}{{dimensions}}, sum(count)::bigint, sum(late)::bigint, sum(duplicates)::bigint"
            " from {table} where minute in ({touched}) group by minute{dimensions}"
        ).format(dimensions=dimensions, table=table, touched=touched)
        return [(int(row[0]), *row[1:]) for row in connection.execute(query, binary=True)]
