"""Takes an hour of ingest time from Kafka into the lake: exactly its offsets, in one commit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl

from assets.lake.ahead import ahead
from assets.lake.boundaries import hour_begins
from assets.lake.earlier import read_earlier
from assets.lake.hour import Held, HourSpans, check_complete, check_rows
from assets.lake.rows import LakeRowsOf
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key, is_closed
from streamgauge.dagster.names import PARTITION_ROW_COUNT
from streamgauge.records.log_spans import LogSpans, Span
from streamgauge.records.registry import registry
from streamgauge.settings import Settings
from streamgauge.state.topics import first_positions
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.lake import EVENT_HOUR, OFFSET, PARTITION, Stored, lake_table
from streamgauge.stores.postgres import Connection

_TOUCH = """insert into event_hours (stream, hour) select %s, unnest(%s::timestamptz[])
on conflict (stream, hour) do update set touched = event_hours.touched + 1, touched_at = now()"""

_KEEP = """insert into lake_hours (stream, hour, partition, from_offset, to_offset, rows, closed, version, run_id)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s)"""

_AHEAD = 2
"""Batches that wait to be written: enough to keep both sides busy, and all the memory that a long hour needs."""


@dataclass(frozen=True)
class LoadedHour:
    """An hour as the lake now has it."""

    hour: datetime
    closed: bool
    spans: Mapping[int, Span]
    stored: Stored
    event_hours: tuple[datetime, ...]
    """The hours of event time that have records which the lake did not have before."""

    @property
    def metadata(self) -> dict[str, Any]:
        return {
            PARTITION_ROW_COUNT: self.stored.rows,
            "closed": self.closed,
            "offsets": {str(p): [first, end] for p, (first, end) in sorted(self.spans.items())},
            "bytes": self.stored.bytes,
            "files": self.stored.files,
            "version": self.stored.version,
            "event hours": len(self.event_hours),
        }


def load_hour(
    settings: Settings,
    contract: Contract,
    connection: Connection,
    hour: datetime,
    *,
    now: datetime,
    start: date,
    run_id: str,
    check: Callable[[], None] = lambda: None,
) -> LoadedHour:
    """Replaces the hour. The caller holds its lock; `check` is asked just before the commit, and raises if it is lost.

    Raises UserError, and changes nothing, where the log no longer has all of the hour.
    """
    table = lake_table(settings.lake, contract)
    admin = admin_client(settings)
    topic = first_positions(connection, admin, contract)
    with LogSpans(settings, contract, topic) as log:
        first, end = (hour_begins(connection, admin, contract, log, at, now) for at in (hour, hour + HOUR))
        spans = HourSpans(hour, is_closed(hour, now), {p: (first[p], end[p]) for p in first})
        held = _held(connection, contract, hour)
        check_complete(contract.topic, spans, log.ends(), held, _before(connection, contract, hour), topic)
        earlier = read_earlier(table, hour_key(hour), held, topic)
        writing = _Writing(settings, contract, connection, log, spans, held, start, check, earlier)
        if spans.empty and not any(h.rows for h in held.values()):
            # an idle stream's hours, of which there may be thousands, make no versions
            stored = Stored(table.opened().version(), 0, 0, 0)
        else:
            stored = table.replace(
                [hour_key(hour)],
                writing.frames(),
                transactions=_transactions(contract, spans),
                metadata={"hour": hour_key(hour), "closed": str(spans.closed).lower(), "run_id": run_id},
            )
    hours = tuple(sorted(writing.event_hours))
    written = {p: (held[p].first if p in writing.earlier else at[0], at[1]) for p, at in spans.spans.items()}
    with connection.transaction():
        _touch(connection, contract, hours)
        connection.execute("delete from lake_hours where stream = %s and hour = %s", (contract.stream, hour))
        with connection.cursor() as cursor:
            cursor.executemany(
                _KEEP,
                [
                    (contract.stream, hour, p, first, end, writing.rows.get(p, 0), spans.closed, stored.version, run_id)
                    for p, (first, end) in written.items()
                ],
            )
    return LoadedHour(hour, spans.closed, written, stored, hours)


class _Writing:
    """The hour's rows as they are read. Their hours of event time are recorded just before the commit, which follows
    the last frame, and once more after it: recorded only before, facts built between the two would miss the rows for
    ever; recorded only after, a crash in between would lose them.
    """

    def __init__(
        self,
        settings: Settings,
        contract: Contract,
        connection: Connection,
        log: LogSpans,
        spans: HourSpans,
        held: Mapping[int, Held],
        start: date,
        check: Callable[[], None],
        earlier: pl.DataFrame | None,
    ) -> None:
        self._check = check
        self._earlier = earlier
        self._held = held
        self._contract = contract
        self._connection = connection
        self._log = log
        self._spans = spans
        # taken again when it closes, an hour brings anew only what came meanwhile
        self._new_from = {p: held[p].end for p in spans.spans if p in held}
        self._rows_of = LakeRowsOf(contract, registry(settings).find_schema, start)
        self.rows: dict[int, int] = {}
        self.event_hours: set[datetime] = set()
        self.earlier: set[int] = set() if earlier is None else set(earlier[PARTITION].unique())

    def frames(self) -> Iterator[pl.DataFrame]:
        key = hour_key(self._spans.hour)
        if self._earlier is not None:
            self.rows = dict(self._earlier.group_by(PARTITION).len().iter_rows())
            yield self._earlier
        for records in ahead(self._log.read(self._spans.spans), _AHEAD):
            frame = self._rows_of.rows(records, key)
            self.event_hours |= set(self._new(frame)[EVENT_HOUR].unique())
            for partition, count in enumerate(np.bincount(records.partitions).tolist()):
                self.rows[partition] = self.rows.get(partition, 0) + count
            yield frame
        check_rows(self._contract.topic, self._spans.hour, self.rows, self._held)
        self._check()
        with self._connection.transaction():
            _touch(self._connection, self._contract, sorted(self.event_hours))

    def _new(self, frame: pl.DataFrame) -> pl.DataFrame:
        if not self._new_from:
            return frame
        new_from = pl.col(PARTITION).replace_strict(self._new_from, default=0, return_dtype=pl.Int64)
        return frame.filter(pl.col(OFFSET) >= new_from)


def _touch(connection: Connection, contract: Contract, hours: Sequence[datetime]) -> None:
    connection.execute(_TOUCH, (contract.stream, list(hours)))


def _held(connection: Connection, contract: Contract, hour: datetime) -> dict[int, Held]:
    rows = connection.execute(
        "select partition, from_offset, to_offset, rows from lake_hours where stream = %s and hour = %s",
        (contract.stream, hour),
    )
    return {p: Held(first, end, count) for p, first, end, count in rows.fetchall()}


def _before(connection: Connection, contract: Contract, hour: datetime) -> dict[int, int]:
    """Where the lake's hours before this one end, by partition."""
    rows = connection.execute(
        "select partition, max(to_offset) from lake_hours where stream = %s and hour < %s group by partition",
        (contract.stream, hour),
    )
    return dict(rows.fetchall())


def _transactions(contract: Contract, spans: HourSpans) -> dict[str, int]:
    """In Delta's own words up to where each partition is in the table, hour by hour."""
    key = hour_key(spans.hour)
    return {f"{contract.topic}/{p}/{key}": end for p, (_, end) in spans.spans.items()}
