"""Facts, duplicates and quarantine of hours of event time, from the lake to their tables.

Each table's hours are replaced in one commit, the facts' last. What a run that died has written already, its rerun
writes again: the same rows, in the place of the same hours.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import polars as pl

from assets.dims.history import History
from assets.dims.store import Dimensions, Locked
from assets.facts.lake_rows import LakeRows
from assets.facts.star import star
from assets.facts.validation import Rules, arrival, split_duplicates
from streamgauge.contract.model import Contract
from streamgauge.contract.times import storable, time_fields
from streamgauge.dagster.hours import HOUR, HOUR_FORMAT, hour_key
from streamgauge.stores.fact_tables import duplicates_table, facts_table, quarantine_schema, quarantine_table
from streamgauge.stores.lake import EVENT_HOUR, LakeTable


@dataclass(frozen=True)
class Built:
    hour: datetime
    facts: int
    duplicates: int
    quarantined: int


@dataclass(frozen=True)
class FactsBuilder:
    """`start`: the batch layer's first day."""

    root: str
    contract: Contract
    history: History | None
    start: date
    locked: Locked
    check: Callable[[], None] = lambda: None
    """Raises if another may be writing these hours: asked just before they are replaced."""
    ingest_hours: set[str] = field(default_factory=set[str])
    """Those of the lake that the hours came from: known once the first hour is built."""

    def build(self, hours: Sequence[datetime]) -> Iterator[Built]:
        """An hour is yielded once its rows can be read."""
        rows = LakeRows(self.root, self.contract)
        rules = Rules(self.contract, self.start)
        dimensions = Dimensions(self.root, self.contract, self.history, self.start, self.locked)
        groups = rows.groups(hours)
        self.ingest_hours.update(rows.read)
        for group in groups:
            yield from self._group(group, rows, rules, dimensions)

    def _group(self, hours: list[datetime], rows: LakeRows, rules: Rules, dimensions: Dimensions) -> Iterator[Built]:
        first, last = hours[0], hours[-1]
        validated = rules.validate(rows.of(first, last).collect(engine="streaming"))
        neighbours = self._neighbours(rows, rules, first, last)
        facts, duplicates = split_duplicates(validated.valid, neighbours, self.contract)
        joined = star(facts, self.contract, self.history)
        repeated = star(duplicates, self.contract, self.history)
        # an older lake may hold times that others can't read
        times = storable(time_fields(self.contract))
        broken = validated.broken.with_columns(pl.col(EVENT_HOUR).dt.strftime(HOUR_FORMAT), *times)
        broken = broken.select(list(quarantine_schema(self.contract)))
        dimensions.bring({n: pl.concat((joined.members[n], repeated.members[n])) for n in joined.members})
        keys = [hour_key(h) for h in hours]
        self.check()
        _replace(quarantine_table(self.root, self.contract), keys, broken)
        _replace(duplicates_table(self.root, self.contract), keys, repeated.rows)
        _replace(facts_table(self.root, self.contract), keys, joined.rows)
        counts = [_counts(frame) for frame in (joined.rows, repeated.rows, broken)]
        for hour, key in zip(hours, keys, strict=True):
            yield Built(hour, *(c.get(key, 0) for c in counts))

    def _neighbours(self, rows: LakeRows, rules: Rules, first: datetime, last: datetime) -> pl.DataFrame:
        """Valid records of the hours around, as far as the duplicate horizon reaches."""
        horizon = timedelta(seconds=self.contract.time.duplicateHorizonSeconds)
        around = [(first - horizon, first - HOUR), (last + HOUR, last + HOUR + horizon)]
        frames = [rows.of(_whole(a), _whole(b)) for a, b in around]
        slim = [self.contract.event_id, self.contract.event_time, *arrival(self.contract)]
        return pl.concat([rules.valid(f).select(slim).collect() for f in frames])


def _whole(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _replace(table: LakeTable, keys: list[str], rows: pl.DataFrame) -> None:
    """Most hours have no duplicate and nothing broken: a commit that changes nothing is left out."""
    if not rows.is_empty() or table.stored(keys):
        table.replace(keys, rows)


def _counts(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows.group_by(EVENT_HOUR).len().rows())
