"""Makes the minute rollups of whole hours again from the log, beside a running worker.

Only minutes that are closed for the worker: those before its watermark less the allowed lateness. Of them it holds no
sketch any more, and all that it may still add are late events and duplicates, one commit after the other, each of
which first updates its partitions' rows in `stream_offsets`. A rebuild takes these rows, so that the next commit waits;
makes the minutes from exactly the records before the committed offsets; and lets go. What the waiting commit then adds
comes on top, once.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from assets.dims.history import History, read_history
from assets.rebuild.books import Moved, moved
from assets.rebuild.contributions import Contributions, contributions
from assets.rebuild.records import Log, Times, in_lake
from assets.rebuild.sources import PartitionSource, read_sources
from assets.rebuild.tables import replace
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, HourRange, hour_key
from streamgauge.errors import UserError
from streamgauge.records.log_spans import LogSpans
from streamgauge.records.registry import registry
from streamgauge.rollup.pseudonyms import Pseudonyms, pseudonyms_of
from streamgauge.settings import Settings
from streamgauge.state.generations import hold_generation
from streamgauge.state.topics import first_positions
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.lake import OFFSET, PARTITION
from streamgauge.stores.postgres import Connection, connect


@dataclass(frozen=True)
class Rebuilt:
    """An hour made again. `late` events are counted now, `repaired` rows had held another number of records."""

    hour: datetime
    rows: int
    count: int
    late: int
    duplicates: int
    repaired: int


class Tails:
    """The records that the lake doesn't have; more of them as the worker goes on."""

    def __init__(self, log: Log, times: Times, sources: Sequence[PartitionSource]) -> None:
        self._log = log
        self._times = times
        self._read_to = {p.partition: p.next for p in sources}
        self._records = log.read({p.partition: p.not_in_lake for p in sources}, times)

    def read_to(self, ends: Mapping[int, int]) -> pl.DataFrame:
        more = {p: [(self._read_to[p], end)] for p, end in ends.items() if end > self._read_to[p]}
        if more:
            self._records = pl.concat([self._records, self._log.read(more, self._times)])
            self._read_to |= ends
        return self._records


def rebuild(settings: Settings, contract: Contract, hours: HourRange, done: Callable[[Rebuilt], None]) -> None:
    """Each hour is one transaction; those before a failure stay rebuilt. Settings of the role batch. The same log gives
    the same rows, however often it is done.
    """
    if hours.last < hours.first:
        raise UserError(f"{hour_key(hours.last)} is before {hour_key(hours.first)}", "name the first hour first")
    pseudonyms = pseudonyms_of(settings, contract)
    with (
        connect(settings, autocommit=True, application="streamgauge rebuild") as connection,
        only_one(connection, contract),
    ):
        times = Times.of(contract, hours.first, hours.last + HOUR)
        ingest_hours, sources = read_sources(connection, contract, times)
        for source in sources:
            source.refuse_open(contract, hours)
        history = read_history(connection, contract.reference) if contract.reference else None
        with open_log(settings, connection, contract) as log:
            log.refuse_gone({p.partition: p.not_in_lake for p in sources})
            tails = Tails(log, times, sources)
            for hour in hours.hours:
                near = Times.of(contract, hour, hour + HOUR)
                stored = in_lake(settings, contract, ingest_hours, near)
                # most of what came meanwhile, before the worker has to wait
                tails.read_to(next_offsets(connection, contract, sources))
                with connection.transaction():
                    hold_generation(connection, contract)
                    # in the order in which the worker takes them, or the two could wait for each other
                    ends = next_offsets(connection, contract, sources, lock=True)
                    records = pl.concat([stored, tails.read_to(ends)])
                    changes = [
                        _rebuild_partition(
                            connection, contract, p, near, records, ends[p.partition], history, pseudonyms
                        )
                        for p in sources
                    ]
                done(_summary(hour, changes))
        connection.execute(
            "UPDATE event_hours SET reconciled = least(reconciled, touched - 1) WHERE stream = %s AND hour = ANY(%s)",
            (contract.stream, hours.hours),
        )


def _rebuild_partition(
    connection: Connection,
    contract: Contract,
    source: PartitionSource,
    times: Times,
    records: pl.DataFrame,
    upto: int,
    history: History | None,
    pseudonyms: Pseudonyms,
) -> tuple[Moved, Contributions]:
    before, contributed = remake(connection, contract, source, times, records, upto, history, pseudonyms)
    change = moved(contract, before, contributed.minutes)
    connection.execute(
        """UPDATE stream_offsets SET counted = counted + %s, late = late + %s, duplicates = duplicates + %s,
        rebuilt = rebuilt + 1, published_offset = least(published_offset, greatest(next_offset - 1, 0))
        WHERE topic = %s AND partition = %s""",
        (change.counted, change.late, change.duplicates, contract.topic, source.partition),
    )
    return change, contributed


def remake(
    connection: Connection,
    contract: Contract,
    source: PartitionSource,
    times: Times,
    records: pl.DataFrame,
    upto: int,
    history: History | None,
    pseudonyms: Pseudonyms,
) -> tuple[pl.DataFrame, Contributions]:
    """Puts in the place of a partition's rows those of its records before `upto`, in the caller's transaction. Returns
    the keys and counters of the rows that were there, and what is there now.
    """
    mine = records.filter(pl.col(PARTITION) == source.partition, pl.col(OFFSET) >= source.start, pl.col(OFFSET) < upto)
    for low, high in source.lost:
        mine = mine.filter(~pl.col(OFFSET).is_between(low, high, closed="left"))
    dead = _dead_letters(connection, contract, source.partition, mine)
    # the lake may have taken in meanwhile what was also read from Kafka
    valid = mine.filter(~pl.col(OFFSET).is_in(dead.implode())).unique(OFFSET).sort(OFFSET)
    contributed = contributions(contract, pseudonyms, valid, times.start, times.end, history)
    before = replace(connection, contract, source.partition, times, contributed, upto)
    return before, contributed


def next_offsets(
    connection: Connection, contract: Contract, sources: Sequence[PartitionSource], *, lock: bool = False
) -> dict[int, int]:
    rows = connection.execute(
        "SELECT partition, next_offset FROM stream_offsets WHERE topic = %s AND partition = ANY(%s) ORDER BY partition"
        + (" FOR UPDATE" if lock else ""),
        (contract.topic, [p.partition for p in sources]),
    ).fetchall()
    return dict(rows)


def _dead_letters(connection: Connection, contract: Contract, partition: int, records: pl.DataFrame) -> pl.Series:
    """The records that the worker did not take, whatever the contract's rules may say by now."""
    low, high = records.select(pl.col(OFFSET).min(), pl.col(OFFSET).max().alias("high")).row(0)
    rows = connection.execute(
        'SELECT "offset" FROM dead_letter_list WHERE topic = %s AND partition = %s AND "offset" BETWEEN %s AND %s',
        (contract.topic, partition, low, high),
    ).fetchall()
    return pl.Series([o for (o,) in rows], dtype=pl.Int64)


def _summary(hour: datetime, changes: Sequence[tuple[Moved, Contributions]]) -> Rebuilt:
    contributed = [c.minutes for _, c in changes]
    return Rebuilt(
        hour=hour,
        rows=sum(m.height for m in contributed),
        count=sum(int(m["count"].sum()) for m in contributed),
        late=-sum(m.late for m, _ in changes),
        duplicates=sum(int(m["duplicates"].sum()) for m in contributed),
        repaired=sum(m.repaired for m, _ in changes),
    )


@contextmanager
def only_one(connection: Connection, contract: Contract) -> Generator[None]:
    """Of a stream at a time: each partition's row is exact by its lock alone, but two would do the work twice."""
    key: tuple[Any, ...] = (contract.stream,)
    connection.execute("SELECT pg_advisory_lock(hashtext('streamgauge.rebuild'), hashtext(%s))", key)
    try:
        yield
    finally:
        connection.execute("SELECT pg_advisory_unlock(hashtext('streamgauge.rebuild'), hashtext(%s))", key)


@contextmanager
def open_log(settings: Settings, connection: Connection, contract: Contract) -> Generator[Log]:
    topic = first_positions(connection, admin_client(settings), contract)
    schemas = registry(settings)
    try:
        with LogSpans(settings, contract, topic) as spans:
            yield Log(contract, spans, schemas)
    finally:
        schemas.close()
