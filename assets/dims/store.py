"""The tables of the dimensions. Facts bring their members before they are written, so a key that a fact carries
leads somewhere from the first moment on; the assets `dims/dim_…` make the tables again from all facts.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from assets.dims.history import History
from assets.dims.members import calendar_end, dates, hours, members, versions
from streamgauge.contract.model import Contract
from streamgauge.rollup.enrich import KEY
from streamgauge.stores.dimension_tables import member_schema
from streamgauge.stores.fact_tables import key_column
from streamgauge.stores.lake import LakeTable, table_at

Locked = Callable[[str], AbstractContextManager[Any]]
"""Within the block no other writes this dimension."""

DATE, HOUR = "date", "hour"
_CALENDAR = {DATE: dates(date(2000, 1, 1), date(2000, 1, 1)).schema, HOUR: hours().schema}


def dimension_schema(name: str, attributes: tuple[str, ...]) -> pl.Schema:
    return _CALENDAR[name] if name in _CALENDAR else member_schema(name, attributes)


def dimension_table(root: str, name: str, attributes: tuple[str, ...] = ()) -> LakeTable:
    what = "each version of each member" if attributes else "its members"
    return table_at(root, f"dims/{name}", dimension_schema(name, attributes), None, f"Dimension {name}: {what}")


def dimension_rows(root: str, name: str) -> int:
    """How many rows its table has now."""
    return sum(stored.rows for stored in dimension_table(root, name).stored().values())


def calendar(name: str, start: date) -> pl.DataFrame:
    return hours() if name == HOUR else dates(start, calendar_end(datetime.now(UTC)))


@dataclass
class Dimensions:
    """The dimensions of one stream's facts."""

    root: str
    contract: Contract
    history: History | None
    start: date
    locked: Locked
    _known: dict[str, set[int]] = field(default_factory=dict[str, set[int]])

    def bring(self, added: Mapping[str, pl.Series]) -> None:
        """Adds what is missing. Most builds bring nothing new, and then nothing is written."""
        for dimension in self.contract.star:
            attributes = self.contract.attributes(dimension)
            table = dimension_table(self.root, dimension.name, attributes)
            values = added[dimension.name]
            if not self._has(
                table, dimension.name, _rows(dimension.name, values, self.history if attributes else None)
            ):
                with self.locked(dimension.name):
                    self.remake(dimension.name, values)
        for name in (DATE, HOUR):
            rows = calendar(name, self.start)
            if not self._has(dimension_table(self.root, name), name, rows):
                with self.locked(name):
                    dimension_table(self.root, name).replace(None, rows)

    def remake(self, name: str, values: pl.Series) -> int:
        """Writes the whole table: the members and versions that it has, and those of `values`. Returns its rows.

        Nothing is taken out: facts that another build is about to write may lead to it.
        """
        attributes = next(self.contract.attributes(d) for d in self.contract.star if d.name == name)
        table = dimension_table(self.root, name, attributes)
        held = table.read()
        history = self.history.with_versions_of(held.rename({name: KEY})) if self.history and attributes else None
        rows = _rows(name, pl.concat((held[name], values)), history)
        table.replace(None, rows)
        return rows.height

    def _has(self, table: LakeTable, name: str, rows: pl.DataFrame) -> bool:
        wanted = set(rows[key_column(name)].to_list())
        if not wanted <= self._known.get(name, set()):
            self._known[name] = set(table.read(columns=[key_column(name)]).to_series().to_list())
            known = wanted <= self._known[name]
            self._known[name] |= wanted
            return known
        return True


def _rows(name: str, values: pl.Series, history: History | None) -> pl.DataFrame:
    return members(name, values) if history is None else versions(name, values, history)
