"""Reads the rows of one question in one snapshot, and says of each how far it can be relied on."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from operator import itemgetter
from typing import Any

import polars as pl

from serving.problems import TOO_MANY, Problem
from serving.rollups.asked import MAX_ROWS, Asked
from serving.rollups.merged import Merged
from serving.rollups.plan import layers_of, rollups_query
from serving.stream_state import StreamState
from streamgauge.rollup.finality import Finality, WindowStatus
from streamgauge.rollup.windows import WINDOW
from streamgauge.stores.postgres import Connection


@dataclass(frozen=True)
class Answer:
    """The window's standing is the same for all groups of a window."""

    asked: Asked
    state: StreamState
    layers: Finality
    rows: pl.DataFrame
    next: str | None
    tables: dict[bool, str]
    """What was read, by whether it is final."""
    errors: dict[str, dict[str, Any]]
    """Of the measures that are estimates, how far these may be off."""

    @cached_property
    def status(self) -> str:
        return self.layers.of_range(*self._range)

    @cached_property
    def unchecked(self) -> bool:
        return self.layers.standing(*self._range).unchecked

    @property
    def _range(self) -> tuple[datetime, datetime]:
        return self.asked.first, max(self.asked.stop, self.asked.first + self.asked.window.hop)


def read(connection: Connection, asked: Asked, state: StreamState, layers: Finality) -> Answer:
    start = asked.first
    if asked.after is not None and asked.fill == "none":
        start = asked.after[0]
    tables = layers_of(asked.contract, start, asked.stop, layers.final, asked.hourly)
    found: list[tuple[Any, ...]] = []
    if tables:
        found = connection.cursor(binary=True).execute(rollups_query(asked, tables)).fetchall()
    limit = asked.limit or MAX_ROWS
    more = len(found) > limit
    if more and asked.limit is None:
        raise Problem(TOO_MANY, f"The answer has more than {MAX_ROWS} rows.", parameter="limit")
    del found[limit:]
    rows = _Rows(connection, asked, state, layers)
    shown = rows.of(found)
    keys = 1 + len(asked.group_by)
    return Answer(
        asked=asked,
        state=state,
        layers=layers,
        rows=shown,
        next=asked.cursor(found[-1][:keys]) if more else None,
        tables={t.final: t.table for t in tables},
        errors=rows.errors,
    )


class _Rows:
    """From what SQL gives to what a reader gets: by columns, for a day of minutes has tens of thousands of rows."""

    def __init__(self, connection: Connection, asked: Asked, state: StreamState, layers: Finality) -> None:
        self._connection = connection
        self._asked = asked
        self._complete_until = state.complete_until
        self._layers = layers
        self.errors: dict[str, dict[str, Any]] = {}

    def of(self, found: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
        names = ("window_start", *self._asked.group_by, *(s.name for s in self._asked.stored))
        columns = {name: list(map(itemgetter(i), found)) for i, name in enumerate(names)}
        starts = columns["window_start"]
        places = {start: i for i, start in enumerate(dict.fromkeys(starts))}
        windows = self._windows(list(places))[[places[start] for start in starts]]
        return pl.DataFrame(
            [
                windows["window_start"],
                windows["window_end"],
                *(pl.Series(g, columns[g], pl.String()) for g in self._asked.group_by),
                *self._measures(columns, found),
                *windows.drop("window_start", "window_end"),
            ]
        )

    def _windows(self, starts: Sequence[datetime]) -> pl.DataFrame:
        size = self._asked.window.size
        return pl.DataFrame([(s, s + size, *self._standing(s, s + size)) for s in starts], WINDOW, orient="row")

    def _standing(self, start: datetime, end: datetime) -> tuple[Any, ...]:
        at: WindowStatus = self._layers.standing(start, end)
        complete = at.final_share == 1 or (self._complete_until is not None and end <= self._complete_until)
        return (at.status, at.revision, at.final_share, at.unchecked, complete)

    def _measures(self, columns: Mapping[str, Sequence[Any]], found: Sequence[tuple[Any, ...]]) -> Iterator[pl.Series]:
        sketched = iter(self._sketched(found))
        stored = pl.DataFrame([pl.Series(c.name, columns[c.name], c.polars) for c in self._asked.stored])
        for m in self._asked.measures:
            if m.sketch:
                yield pl.Series(m.name, next(sketched), pl.Float64()).cast(m.polars)
            else:
                yield stored.select(m.value.alias(m.name)).to_series()

    def _sketched(self, found: Sequence[tuple[Any, ...]]) -> Iterable[Sequence[Any]]:
        """The columns of the measures that need sketches, of the windows on this page only."""
        if not self._asked.sketches:
            return itertools.repeat(())
        asked, tables = self._asked, []
        if found:
            asked = replace(asked, start=found[0][0], end=found[-1][0] + asked.window.hop)
            tables = layers_of(asked.contract, asked.first, asked.stop, self._layers.final, self._asked.hourly)
        merged = Merged(self._connection, asked, tables)
        keys = 1 + len(asked.group_by)
        values = [merged.values(row[0], row[1:keys]) for row in found]
        self.errors = merged.errors
        return zip(*values, strict=True) if values else itertools.repeat(())
