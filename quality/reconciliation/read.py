"""Everything Postgres knows of some hours, as of one moment."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from psycopg import sql

from quality.reconciliation.compare import HourState
from quality.reconciliation.coverage import Missing, Span, WorkerPart, missing
from quality.reconciliation.finality import Settled, settled
from quality.reconciliation.layers import BATCH_COUNTERS, MINUTE, SPEED_COUNTERS, compared, schema
from streamgauge.contract.measures import counter
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR
from streamgauge.state.topics import claimed_first_positions
from streamgauge.stores.merging import merged_sql
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import read_progress, watermark_of
from streamgauge.stores.tables.batch import rollups_table

_REFERENCE_DELAY = timedelta(minutes=1)
"""More than it takes the worker to see a change of the reference table."""


@dataclass(frozen=True)
class Progress:
    """How far an hour has come in the batch layer."""

    touched: int = 0
    rolled: int = 0

    @property
    def pending(self) -> bool:
        return self.touched > self.rolled


@dataclass(frozen=True)
class Snapshot:
    """`speed` and `batch` are the minutes of the hours asked for."""

    speed: pl.DataFrame
    batch: pl.DataFrame
    missing: Missing
    settled: Settled
    progress: Mapping[datetime, Progress]
    reference_changed: datetime | None
    kept_from: datetime | None
    """The oldest minute of the speed layer."""
    now: datetime

    def state_of(self, contract: Contract, hour: datetime, came_in: datetime | None) -> HourState:
        changed = self.reference_changed
        retention = timedelta(milliseconds=contract.retention_ms)
        old = hour + HOUR < self.now - retention
        return HourState(
            missing=self.missing,
            settled=self.waits_for(contract, hour) is None,
            pending=self.progress.get(hour, Progress()).pending,
            reference_changed=changed is not None and came_in is not None and changed >= came_in - _REFERENCE_DELAY,
            forgotten=old and (self.kept_from is None or hour + HOUR <= self.kept_from),
        )

    def waits_for(self, contract: Contract, hour: datetime) -> str | None:
        return self.settled.waits_for(hour, timedelta(milliseconds=contract.lateness_ms))


def read_snapshot(connection: Connection, contract: Contract, hours: Sequence[datetime]) -> Snapshot:
    """One read of each table for all hours. The connection must not be in a transaction."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        worker = _worker(connection, contract)
        lake = _lake(connection, contract)
        ends = _ends(worker, {p: max(to for _, to in spans) for p, spans in lake.items()})
        now, kept_from = _bounds(connection, contract)
        return Snapshot(
            speed=_speed(connection, contract, hours),
            batch=_batch(connection, contract, hours),
            missing=missing(worker, lake),
            settled=settled(worker, ends, _reached(connection, contract, worker, ends)),
            progress=_progress(connection, contract, hours),
            reference_changed=_reference_changed(connection, contract),
            kept_from=kept_from,
            now=now,
        )


def read_settled(connection: Connection, contract: Contract) -> Settled:
    """How far both layers are complete now."""
    rows = connection.execute(
        "SELECT partition, max(to_offset) FROM lake_hours WHERE stream = %s GROUP BY partition", (contract.stream,)
    ).fetchall()
    worker = _worker(connection, contract)
    ends = _ends(worker, dict(rows))
    return settled(worker, ends, _reached(connection, contract, worker, ends))


def _speed(connection: Connection, contract: Contract, hours: Sequence[datetime]) -> pl.DataFrame:
    wanted = schema(contract, SPEED_COUNTERS)
    keys = sql.SQL(", ").join(map(sql.Identifier, (MINUTE, *contract.dimension_names)))
    columns = [merged_sql(c) for c in (*map(counter, SPEED_COUNTERS), *compared(contract)) if c.merge]
    query = sql.SQL("SELECT {keys}, {sums} FROM {table} WHERE minute >= %s AND minute < %s GROUP BY {keys}").format(
        keys=keys, sums=sql.SQL(", ").join(columns), table=sql.Identifier(contract.minutes_table)
    )
    return _frame(connection, query, wanted, hours)


def _batch(connection: Connection, contract: Contract, hours: Sequence[datetime]) -> pl.DataFrame:
    wanted = schema(contract, BATCH_COUNTERS)
    rest = [n for n in wanted if n != MINUTE]
    query = sql.SQL("SELECT window_start, {} FROM {} WHERE window_start >= %s AND window_start < %s").format(
        sql.SQL(", ").join(map(sql.Identifier, rest)), sql.Identifier(rollups_table(contract, "1m"))
    )
    return _frame(connection, query, wanted, hours)


def _frame(connection: Connection, query: sql.Composed, wanted: pl.Schema, hours: Sequence[datetime]) -> pl.DataFrame:
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(query, (min(hours), max(hours) + HOUR)).fetchall()
    frame = pl.DataFrame(rows, schema=wanted, orient="row")
    asked = pl.Series(list(hours), dtype=wanted[MINUTE]).implode()
    return frame.filter(pl.col(MINUTE).dt.truncate(HOUR).is_in(asked))


def _worker(connection: Connection, contract: Contract) -> dict[int, WorkerPart]:
    gaps: dict[int, list[Span]] = defaultdict(list)
    for partition, start, end in connection.execute(
        "SELECT partition, from_offset, to_offset FROM stream_gaps WHERE topic = %s", (contract.topic,)
    ):
        gaps[partition].append((start, end))
    first = claimed_first_positions(connection, contract)
    return {
        p.partition: WorkerPart(p.start, p.next, tuple(gaps[p.partition]), watermark_of([p]), first.get(p.partition, 0))
        for p in read_progress(connection, [contract.topic])[contract.topic]
    }


def _ends(worker: Mapping[int, WorkerPart], lake: Mapping[int, int]) -> dict[int, int]:
    """Where the lake ends in each partition: what was deleted with its topic is not waited for."""
    known = {p: part.first for p, part in worker.items() if part.first}
    return {p: max(lake.get(p, 0), known.get(p, 0)) for p in lake.keys() | known.keys()}


def _lake(connection: Connection, contract: Contract) -> dict[int, list[Span]]:
    """Few spans, whatever the number of hours: they are united where they are stored."""
    spans: dict[int, list[Span]] = defaultdict(list)
    for partition, start, end in connection.execute(
        "SELECT partition, lower(span), upper(span) FROM ("
        "SELECT partition, unnest(range_agg(int8range(from_offset, to_offset))) span"
        " FROM lake_hours WHERE stream = %s GROUP BY partition) united ORDER BY 1, 2",
        (contract.stream,),
    ):
        spans[partition].append((start, end))
    return dict(spans)


def _reached(
    connection: Connection, contract: Contract, worker: Mapping[int, WorkerPart], ends: Mapping[int, int]
) -> dict[int, datetime]:
    """The newest minute that a record before the lake's end has: `upto` is behind all that a row was made of."""
    query = sql.SQL(
        "SELECT minute FROM {} WHERE partition = %s AND upto <= %s AND count > 0 ORDER BY minute DESC LIMIT 1"
    ).format(sql.Identifier(contract.minutes_table))
    found: dict[int, datetime] = {}
    for partition, part in worker.items():
        end = ends.get(partition, part.start)
        row = connection.execute(query, (partition, end)).fetchone() if end < part.next else None
        if row is not None:
            found[partition] = row[0]
    return found


def _progress(connection: Connection, contract: Contract, hours: Sequence[datetime]) -> dict[datetime, Progress]:
    rows = connection.execute(
        "SELECT hour, touched, rolled FROM event_hours WHERE stream = %s AND hour = ANY(%s)",
        (contract.stream, list(hours)),
    )
    return {hour: Progress(touched, rolled) for hour, touched, rolled in rows}


def _reference_changed(connection: Connection, contract: Contract) -> datetime | None:
    if contract.reference is None:
        return None
    query = sql.SQL("SELECT max(updated_at) FROM {}").format(sql.Identifier(contract.reference.table))
    row = connection.execute(query).fetchone()
    return row[0] if row else None


def _bounds(connection: Connection, contract: Contract) -> tuple[datetime, datetime | None]:
    query = sql.SQL("SELECT now(), (SELECT min(minute) FROM {})").format(sql.Identifier(contract.minutes_table))
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0], row[1]
