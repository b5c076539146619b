"""The minutes of a generation, made of the lake's records and Kafka's."""

from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from assets.dims.history import History, read_history
from assets.rebuild.rebuild import Tails, next_offsets, open_log, remake
from assets.rebuild.records import Log, Times, in_lake
from assets.rebuild.sources import PartitionSource, read_sources
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key, hour_of, hour_start
from streamgauge.errors import UserError
from streamgauge.rollup.plan import MINUTE_MS
from streamgauge.rollup.pseudonyms import Pseudonyms, pseudonyms_of
from streamgauge.settings import Settings
from streamgauge.stores.lake import ERROR, OFFSET, PARTITION, lake_table
from streamgauge.stores.postgres import Connection

_AHEAD = timedelta(days=2)
"""How long one reading of the sources may be used: events of later minutes would not be looked for."""

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Maker:
    """Makes minutes from the sources as they stood when it was opened, and Kafka's newer records."""

    settings: Settings
    connection: Connection
    contract: Contract
    pseudonyms: Pseudonyms
    history: History | None
    sources: Sequence[PartitionSource]
    ingest_hours: Sequence[str]
    tails: Tails

    def ends(self, *, lock: bool = False) -> dict[int, int]:
        """Where the worker stands; with `lock` it stays there until the transaction ends."""
        return next_offsets(self.connection, self.contract, self.sources, lock=lock)

    def make(self, start: datetime, end: datetime, upto: Mapping[int, int]) -> None:
        """The minutes from `start` up to `end`, of each partition's records before `upto`, in the caller's
        transaction.
        """
        near = Times.of(self.contract, start, end)
        earliest = hour_key(start - near.horizon - timedelta(seconds=self.contract.time.futureToleranceSeconds))
        hours = [h for h in self.ingest_hours if h >= earliest]
        tail = self.tails.read_to(upto).filter(near.near(self.contract))
        records = pl.concat([in_lake(self.settings, self.contract, hours, near), tail])
        for p in self.sources:
            remake(self.connection, self.contract, p, near, records, upto[p.partition], self.history, self.pseudonyms)

    def touched(self, since: Mapping[int, int], upto: Mapping[int, int]) -> list[Span]:
        """Of each hour the minutes that have records from `since` on and before `upto`, as one span."""
        at = pl.col(self.contract.event_time)
        positions = pl.DataFrame(
            [(p.partition, since.get(p.partition, p.start), upto[p.partition]) for p in self.sources],
            schema={PARTITION: pl.Int32(), "since": pl.Int64(), "upto": pl.Int64()},
            orient="row",
        )
        columns = [at.alias("at"), PARTITION, OFFSET]
        stored = lake_table(self.settings.lake, self.contract).scan(self._hours_since(since))
        newer = (
            frame.join(positions.lazy(), on=PARTITION)
            .filter(pl.col(OFFSET) >= pl.col("since"), pl.col(OFFSET) < pl.col("upto"))
            .select(pl.col("at").dt.truncate("1m").alias("minute"))
            .drop_nulls()
            .unique()
            for frame in (
                stored.filter(pl.col(ERROR).is_null()).select(columns),
                self.tails.read_to(upto).lazy().select(columns),
            )
        )
        minutes = pl.concat([f.collect() for f in newer])
        spans: dict[datetime, list[datetime]] = defaultdict(list)
        for minute in minutes["minute"].unique():
            spans[hour_start(minute)].append(minute)
        return [(min(found), max(found) + timedelta(milliseconds=MINUTE_MS)) for _, found in sorted(spans.items())]

    def _hours_since(self, since: Mapping[int, int]) -> list[str]:
        """The lake's hours that may hold records from these positions on."""
        rows = self.connection.execute(
            "SELECT hour, partition, to_offset FROM lake_hours WHERE stream = %s", (self.contract.stream,)
        )
        return sorted({hour_key(hour) for hour, p, end in rows if end > since.get(p, 0)})


@contextmanager
def maker(settings: Settings, connection: Connection, contract: Contract, first: datetime) -> Generator[Maker]:
    """For minutes from `first` on."""
    times = Times.of(contract, first, hour_start(datetime.now(UTC)) + _AHEAD)
    ingest_hours, sources = read_sources(connection, contract, times)
    history = read_history(connection, contract.reference) if contract.reference else None
    with open_log(settings, connection, contract) as log:
        log.refuse_gone({p.partition: p.not_in_lake for p in sources})
        yield Maker(
            settings,
            connection,
            contract,
            pseudonyms_of(settings, contract),
            history,
            sources,
            ingest_hours,
            Tails(log, times, sources),
        )


def first_possible(
    settings: Settings, connection: Connection, contract: Contract, hours: Sequence[datetime]
) -> datetime:
    """The first of the hours that can be made with all after it: neither lake nor Kafka lacks any of their records.
    Raises UserError where none can.
    """
    around = timedelta(seconds=contract.time.duplicateHorizonSeconds + contract.time.futureToleranceSeconds)
    dropped = _dropped(settings, connection, contract)
    left = [h for h in hours if dropped is None or h - around > dropped]
    with open_log(settings, connection, contract) as log:
        low, high = 0, len(left)
        while low < high:
            middle = (low + high) // 2
            if _lacks_records(connection, contract, log, left[middle]):
                low = middle + 1
            else:
                high = middle
    if low == len(left):
        raise UserError(
            f"{contract.stream}: neither the lake nor Kafka has all records of the latest hours",
            "see that the lake is filled; rollups can be made of what came since then",
        )
    return left[low]


def _lacks_records(connection: Connection, contract: Contract, log: Log, first: datetime) -> bool:
    _, sources = read_sources(connection, contract, Times.of(contract, first, first + HOUR))
    return log.lacks({p.partition: p.not_in_lake for p in sources}) is not None


def _dropped(settings: Settings, connection: Connection, contract: Contract) -> datetime | None:
    """The last hour of ingest time whose records went from the lake by their retention."""
    stored = lake_table(settings.lake, contract).stored()
    rows = connection.execute(
        "SELECT hour FROM lake_hours WHERE stream = %s GROUP BY hour HAVING sum(rows) > 0", (contract.stream,)
    )
    kept = set(map(hour_of, stored))
    return max((hour for (hour,) in rows if hour not in kept), default=None)
