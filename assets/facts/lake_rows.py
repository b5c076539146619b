"""The lake's records by the hour that answers for them, a bounded part at a time."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key
from streamgauge.stores.lake import EVENT_HOUR, INGEST_HOUR, LakeTable, lake_table

GROUP_ROWS = 1_000_000
"""Records taken at once; an hour with more is taken whole."""


class LakeRows:
    def __init__(self, root: str, contract: Contract) -> None:
        self._contract = contract
        self._table: LakeTable = lake_table(root, contract)
        self._ingest_hours = sorted(self._table.stored())
        self.read: set[str] = set()
        """The hours of ingest time that hold records of the hours of `groups`."""

    def of(self, first: datetime, last: datetime) -> pl.LazyFrame:
        """Of the hours from `first` to `last`, both included."""
        # a record comes in after it happened, but for the tolerance
        tolerance = timedelta(seconds=self._contract.time.futureToleranceSeconds)
        earliest = hour_key(first - tolerance)
        keys = [k for k in self._ingest_hours if k >= earliest]
        return self._table.scan(keys, between=(EVENT_HOUR, first, last))

    def groups(self, hours: Sequence[datetime]) -> Iterator[list[datetime]]:
        first, last = min(hours), max(hours)
        by_both: Any = self.of(first, last).group_by(EVENT_HOUR, INGEST_HOUR).len().collect(engine="streaming")
        self.read.update(by_both.filter(pl.col(EVENT_HOUR).is_in(list(hours)))[INGEST_HOUR])
        return grouped(hours, dict(by_both.group_by(EVENT_HOUR).agg(pl.col("len").sum()).rows()))


def grouped(hours: Sequence[datetime], counts: Mapping[datetime, int]) -> Iterator[list[datetime]]:
    """The hours in order, contiguous ones together as long as they hold no more than GROUP_ROWS."""
    group: list[datetime] = []
    rows = 0
    for hour in sorted(hours):
        n = counts.get(hour, 0)
        if group and (rows + n > GROUP_ROWS or hour - group[-1] != HOUR):
            yield group
            group, rows = [], 0
        group.append(hour)
        rows += n
    if group:
        yield group
