"""Reads the rows of one question in one snapshot, and says of each how far it can be relied on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from serving.moment import Moment
from serving.problems import TOO_MANY, Problem
from serving.rollups.asked import MAX_ROWS, Asked
from serving.rollups.layers import Layers, Standing
from serving.rollups.measures import Distinct, Mean, Quantile, Stored
from serving.rollups.merged import Merged
from serving.rollups.plan import layers_of, rollups_query
from streamgauge.hours import HOUR
from streamgauge.postgres import Connection


@dataclass(frozen=True)
class Answer:
    """Rows as `columns` names them; the window's standing is the same for all groups of a window."""

    asked: Asked
    moment: Moment
    layers: Layers
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    next: str | None
    tables: dict[bool, str]
    """What was read, by whether it is final."""

    @cached_property
    def status(self) -> str:
        return self.layers.of_range(self.asked.first, max(self.asked.stop, self.asked.first + self.asked.window.hop))


def read(connection: Connection, asked: Asked, moment: Moment, layers: Layers) -> Answer:
    start = asked.first
    if asked.after is not None and asked.fill == "none":
        start = asked.after[0]
    hourly = asked.window.hop % HOUR == timedelta(0)
    tables = layers_of(asked.contract, start, asked.stop, layers.final, hourly)
    found: list[tuple[Any, ...]] = []
    if tables:
        found = connection.cursor(binary=True).execute(rollups_query(asked, tables)).fetchall()
    limit = asked.limit or MAX_ROWS
    more = len(found) > limit
    if more and asked.limit is None:
        raise Problem(TOO_MANY, f"The answer has more than {MAX_ROWS} rows.", parameter="limit")
    del found[limit:]
    rows = _Rows(connection, asked, moment, layers, hourly)
    keys = 1 + len(asked.group_by)
    return Answer(
        asked=asked,
        moment=moment,
        layers=layers,
        columns=rows.columns,
        rows=rows.of(found),
        next=asked.cursor(found[-1][:keys]) if more else None,
        tables={t.final: t.table for t in tables},
    )


class _Rows:
    """From what SQL gives to what a reader gets."""

    def __init__(self, connection: Connection, asked: Asked, moment: Moment, layers: Layers, hourly: bool) -> None:
        self._connection = connection
        self._asked = asked
        self._moment = moment
        self._layers = layers
        self._hourly = hourly
        measures = tuple(m.name for m in asked.measures)
        self.columns = (
            "window_start",
            "window_end",
            *asked.group_by,
            *measures,
            "status",
            "revision",
            "final_share",
            "complete",
        )

    def of(self, found: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        if not found:
            return []
        merged = self._merged(found)
        size, keys = self._asked.window.size, 1 + len(self._asked.group_by)
        standings: dict[datetime, tuple[Any, ...]] = {}
        plain = all(isinstance(m, Stored) for m in self._asked.measures)
        rows: list[tuple[Any, ...]] = []
        for row in found:
            start = row[0]
            tail = standings.get(start)
            if tail is None:
                tail = standings[start] = self._tail(start, start + size)
            measures = row[keys:] if plain else self._measures(row, keys, merged)
            rows.append((start, start + size, *row[1:keys], *measures, *tail))
        return rows

    def _tail(self, start: datetime, end: datetime) -> tuple[Any, ...]:
        at: Standing = self._layers.standing(start, end)
        complete = at.final_share == 1 or (
            self._moment.complete_until is not None and end <= self._moment.complete_until
        )
        return (at.status, at.revision, at.final_share, complete)

    def _merged(self, found: Sequence[tuple[Any, ...]]) -> Merged:
        """Of the windows on this page only."""
        asked = replace(self._asked, start=found[0][0], end=found[-1][0] + self._asked.window.hop)
        tables = layers_of(asked.contract, asked.first, asked.stop, self._layers.final, self._hourly)
        return Merged(self._connection, asked, tables)

    def _measures(self, row: tuple[Any, ...], keys: int, merged: Merged) -> list[Any]:
        stored = dict(zip((s.name for s in self._asked.stored), row[keys:], strict=True))
        sketched = iter(merged.values(row[0], row[1:keys]))
        values: list[Any] = []
        for m in self._asked.measures:
            match m:
                case Stored():
                    values.append(stored[m.name])
                case Mean():
                    n = stored[f"{m.measure}_n"]
                    values.append(stored[f"{m.measure}_sum"] / n if n else None)
                case Quantile() | Distinct():
                    values.append(next(sketched))
        return values
