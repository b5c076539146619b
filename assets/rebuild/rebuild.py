"""Makes the minute rollups of whole hours again from the log, beside a running worker.

Only minutes that are closed for the worker: those before its watermark less the allowed lateness. Of them it holds no
sketch any more, and all that it may still add are late events and duplicates, one commit after the other, each of
which first updates its partition's row in `stream_offsets`. A rebuild takes that row, so that the next commit waits;
makes the partition's minutes from exactly the records before the committed offset; and lets go. What the waiting
commit then adds comes on top, once.
"""

from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
from psycopg import sql

from assets.dims.history import History, read_history
from assets.rebuild.books import Moved, moved
from assets.rebuild.contributions import Contributions, contributions
from assets.rebuild.records import Log, Times, in_lake
from quality.reconciliation.coverage import Span, subtract, union
from streamgauge.contracts import Contract
from streamgauge.errors import UserError
from streamgauge.hours import HOUR, HourRange, hour_key
from streamgauge.lake import OFFSET, PARTITION
from streamgauge.log_spans import LogSpans
from streamgauge.postgres import Connection, connect
from streamgauge.registry import registry
from streamgauge.rollup_plan import MINUTE, MINUTE_MS
from streamgauge.settings import Settings


@dataclass(frozen=True)
class Rebuilt:
    """An hour made again. `late` events are counted now, `repaired` rows had held another number of records."""

    hour: datetime
    rows: int
    count: int
    late: int
    duplicates: int
    repaired: int


@dataclass
class _Part:
    """A partition, and the offsets of it that are at hand."""

    partition: int
    start: int
    next: int
    watermark: int | None
    stored: list[Span]
    lost: list[Span]
    needed_from: int


class _Tails:
    """The records that the lake doesn't have, by partition; more of them as the worker goes on."""

    def __init__(self, log: Log, times: Times, parts: Sequence[_Part], records: pl.DataFrame) -> None:
        self._log = log
        self._times = times
        self._read_to = {p.partition: p.next for p in parts}
        self._records = {p.partition: records.filter(pl.col(PARTITION) == p.partition) for p in parts}

    def upto(self, partition: int, end: int) -> pl.DataFrame:
        read_to = self._read_to[partition]
        if end > read_to:
            more = self._log.read({partition: [(read_to, end)]}, self._times)
            self._records[partition] = pl.concat([self._records[partition], more])
            self._read_to[partition] = end
        return self._records[partition]


def rebuild(settings: Settings, contract: Contract, hours: HourRange, done: Callable[[Rebuilt], None]) -> None:
    """Each hour is whole for a reader of one partition; the hours before a failure stay rebuilt. Settings of the role
    batch. The same log gives the same rows, however often it is done.
    """
    if hours.last < hours.first:
        raise UserError(f"{hour_key(hours.last)} is before {hour_key(hours.first)}", "name the first hour first")
    with (
        connect(settings, autocommit=True, application="streamgauge rebuild") as connection,
        _only_one(connection, contract),
    ):
        times = Times.of(contract, hours.first, hours.last + HOUR)
        ingest_hours, parts = _parts(connection, contract, times)
        for part in parts:
            _refuse_open(contract, part, hours)
        history = read_history(connection, contract.reference) if contract.reference else None
        with _log(settings, contract) as log:
            outside = {p.partition: _not_in_lake(p) for p in parts}
            log.refuse_gone(outside)
            tails = _Tails(log, times, parts, log.read(outside, times))
            for hour in hours.hours:
                near = Times.of(contract, hour, hour + HOUR)
                stored = in_lake(settings, contract, ingest_hours, near)
                changes: list[tuple[Moved, Contributions]] = []
                for part in parts:
                    # most of what came meanwhile, before the worker has to wait
                    tails.upto(part.partition, _next_offset(connection, contract, part.partition))
                    of_lake = stored.filter(pl.col(PARTITION) == part.partition)
                    changes.append(_rebuild_partition(connection, contract, part, near, of_lake, tails, history))
                done(_summary(hour, changes))
        connection.execute(
            "UPDATE event_hours SET reconciled = least(reconciled, touched - 1) WHERE stream = %s AND hour = ANY(%s)",
            (contract.stream, hours.hours),
        )


def _rebuild_partition(
    connection: Connection,
    contract: Contract,
    part: _Part,
    times: Times,
    stored: pl.DataFrame,
    tails: "_Tails",
    history: History | None,
) -> tuple[Moved, Contributions]:
    with connection.transaction():
        row = connection.execute(
            "SELECT next_offset FROM stream_offsets WHERE topic = %s AND partition = %s FOR UPDATE",
            (contract.topic, part.partition),
        ).fetchone()
        assert row is not None
        upto: int = row[0]
        records = pl.concat([stored, tails.upto(part.partition, upto)]).unique(OFFSET)
        records = records.filter(pl.col(OFFSET) >= part.start, pl.col(OFFSET) < upto)
        for low, high in part.lost:
            records = records.filter(~pl.col(OFFSET).is_between(low, high, closed="left"))
        dead = _dead_letters(connection, contract, part.partition, records)
        records = records.filter(~pl.col(OFFSET).is_in(dead.implode())).sort(OFFSET)
        made = contributions(contract, records, times.start, times.end, history)
        before = _replace(connection, contract, part.partition, times, made, upto)
        change = moved(contract, before, made.minutes)
        connection.execute(
            """UPDATE stream_offsets SET counted = counted + %s, late = late + %s, duplicates = duplicates + %s,
            rebuilt = rebuilt + 1, published_offset = least(published_offset, greatest(next_offset - 1, 0))
            WHERE topic = %s AND partition = %s""",
            (change.counted, change.late, change.duplicates, contract.topic, part.partition),
        )
    return change, made


def _replace(
    connection: Connection, contract: Contract, partition: int, times: Times, made: Contributions, upto: int
) -> pl.DataFrame:
    """Returns the keys and counters of the rows that were there."""
    columns = [*contract.dimension_names, "count", "late", "duplicates"]
    deleted = connection.execute(
        sql.SQL(
            "DELETE FROM {} WHERE partition = %s AND minute >= %s AND minute < %s"
            " RETURNING (extract(epoch FROM minute) * 1000)::bigint, {}"
        ).format(sql.Identifier(contract.minutes_table), sql.SQL(", ").join(map(sql.Identifier, columns))),
        (partition, times.start, times.end),
    ).fetchall()
    connection.execute(
        sql.SQL("DELETE FROM {} WHERE partition = %s AND minute >= %s AND minute < %s").format(
            sql.Identifier(contract.top_table)
        ),
        (partition, times.start, times.end),
    )
    for table, rows in ((contract.minutes_table, made.minutes), (contract.top_table, made.tops)):
        _copy(connection, table, rows.with_columns(pl.lit(upto, pl.Int64).alias("upto")))
    schema = {
        MINUTE: pl.Int64(),
        **dict.fromkeys(contract.dimension_names, pl.String()),
        **dict.fromkeys(columns[-3:], pl.Int64()),
    }
    return pl.DataFrame(deleted, schema=schema, orient="row")


def _copy(connection: Connection, table: str, rows: pl.DataFrame) -> None:
    timed = rows.with_columns(pl.from_epoch(MINUTE, time_unit="ms").dt.replace_time_zone("UTC"))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, timed.columns))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in timed.iter_rows():
            copy.write_row(row)


def _dead_letters(connection: Connection, contract: Contract, partition: int, records: pl.DataFrame) -> pl.Series:
    """The records that the worker did not take, whatever the contract's rules may say by now."""
    low, high = records.select(pl.col(OFFSET).min(), pl.col(OFFSET).max().alias("high")).row(0)
    rows = connection.execute(
        'SELECT "offset" FROM dead_letters WHERE topic = %s AND partition = %s AND "offset" BETWEEN %s AND %s',
        (contract.topic, partition, low, high),
    ).fetchall()
    return pl.Series([o for (o,) in rows], dtype=pl.Int64)


def _parts(connection: Connection, contract: Contract, times: Times) -> tuple[list[str], list[_Part]]:
    """The partitions that have had events, and the hours of ingest time that may hold records for `times`."""
    tolerance = timedelta(seconds=contract.time.futureToleranceSeconds)
    earliest = times.start - times.horizon - tolerance
    stored: dict[int, list[Span]] = defaultdict(list)
    before: dict[int, int] = {}
    hours: set[datetime] = set()
    for hour, partition, low, high in connection.execute(
        "SELECT hour, partition, from_offset, to_offset FROM lake_hours WHERE stream = %s", (contract.stream,)
    ):
        stored[partition].append((low, high))
        if hour + HOUR <= earliest:
            before[partition] = max(before.get(partition, 0), high)
        else:
            hours.add(hour)
    lost = _gaps(connection, contract)
    rows = connection.execute(
        """SELECT partition, start_offset, next_offset, watermark_ms FROM stream_offsets WHERE topic = %s
        ORDER BY partition""",
        (contract.topic,),
    ).fetchall()
    parts = [
        _Part(p, start, end, watermark, union(stored[p]), union(lost[p]), max(start, before.get(p, start)))
        for p, start, end, watermark in rows
        if watermark is not None
    ]
    return sorted(map(hour_key, hours)), parts


def _gaps(connection: Connection, contract: Contract) -> Mapping[int, list[Span]]:
    gaps: dict[int, list[Span]] = defaultdict(list)
    for partition, low, high in connection.execute(
        "SELECT partition, from_offset, to_offset FROM stream_gaps WHERE topic = %s", (contract.topic,)
    ):
        gaps[partition].append((low, high))
    return gaps


def _not_in_lake(part: _Part) -> list[Span]:
    return subtract([(part.needed_from, part.next)], union([*part.stored, *part.lost]))


def _refuse_open(contract: Contract, part: _Part, hours: HourRange) -> None:
    assert part.watermark is not None
    closed_before = (part.watermark - contract.lateness_ms) // MINUTE_MS * MINUTE_MS
    at = datetime.fromtimestamp(closed_before / 1000, UTC)
    if hours.last + HOUR > at:
        raise UserError(
            f"{contract.stream}: the hour {hour_key(hours.last)} is still open in partition {part.partition}, "
            f"which is complete up to {at:%Y-%m-%d %H:%M}Z",
            "rebuild hours that ended before that; the worker still adds to later ones",
        )


def _next_offset(connection: Connection, contract: Contract, partition: int) -> int:
    row = connection.execute(
        "SELECT next_offset FROM stream_offsets WHERE topic = %s AND partition = %s", (contract.topic, partition)
    ).fetchone()
    assert row is not None
    return row[0]


def _summary(hour: datetime, changes: Sequence[tuple[Moved, Contributions]]) -> Rebuilt:
    made = [c.minutes for _, c in changes]
    return Rebuilt(
        hour=hour,
        rows=sum(m.height for m in made),
        count=sum(int(m["count"].sum()) for m in made),
        late=-sum(m.late for m, _ in changes),
        duplicates=sum(int(m["duplicates"].sum()) for m in made),
        repaired=sum(m.repaired for m, _ in changes),
    )


@contextmanager
def _only_one(connection: Connection, contract: Contract) -> Generator[None]:
    """Of a stream at a time: each partition's row is exact by its lock alone, but two would do the work twice."""
    key: tuple[Any, ...] = (contract.stream,)
    connection.execute("SELECT pg_advisory_lock(hashtext('streamgauge.rebuild'), hashtext(%s))", key)
    try:
        yield
    finally:
        connection.execute("SELECT pg_advisory_unlock(hashtext('streamgauge.rebuild'), hashtext(%s))", key)


@contextmanager
def _log(settings: Settings, contract: Contract) -> Generator[Log]:
    schemas = registry(settings)
    try:
        with LogSpans(settings, contract) as spans:
            yield Log(contract, spans, schemas)
    finally:
        schemas.close()
