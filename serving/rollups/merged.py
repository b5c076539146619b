"""Distinct counts and quantiles: sketches don't merge in SQL, so they are merged here, once for each piece.

The same rows give the same answer, in whatever order Postgres has them.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from serving.problems import TOO_SLOW, Problem
from serving.rollups.asked import Asked
from serving.rollups.measures import Distinct, Quantile
from serving.rollups.plan import Layer, sketches_count_query, sketches_query
from streamgauge.rollup import sketches
from streamgauge.stores.postgres import Connection

MAX_SKETCHES = 60_000
"""Merged for one answer: a second of work."""

Key = tuple[Any, ...]


class Merged:
    """The sketches of every window and group of a page of rows."""

    def __init__(self, connection: Connection, asked: Asked, layers: Sequence[Layer]) -> None:
        self._asked = asked
        self._pieces: dict[str, dict[Key, list[bytes]]] = {name: {} for name in asked.sketches}
        self._errors: dict[str, float] = {}
        if asked.sketches and layers:
            self._read(connection, layers)

    def _read(self, connection: Connection, layers: Sequence[Layer]) -> None:
        counted = connection.execute(sketches_count_query(self._asked, layers)).fetchone()
        rows = (counted[0] if counted else 0) * len(self._asked.sketches)
        overlap = self._asked.window.starts_per_minute
        if rows > MAX_SKETCHES:
            raise Problem(
                TOO_SLOW,
                f"Distinct counts and quantiles would merge {rows} sketches, and {MAX_SKETCHES} are allowed.",
                parameter="measures",
            )
        width = 1 + len(self._asked.group_by)
        for row in connection.cursor(binary=True).execute(sketches_query(self._asked, layers)):
            for name, dumped in zip(self._asked.sketches, row[width:], strict=True):
                if dumped:
                    self._pieces[name].setdefault(row[:width], []).append(_merge(name, dumped))
        pieces = sum(map(len, self._pieces.values()))
        if overlap > 1 and pieces * overlap > MAX_SKETCHES:
            raise Problem(
                TOO_SLOW,
                f"Windows that overlap would merge {pieces * overlap} sketches, and {MAX_SKETCHES} are allowed.",
                parameter="hop",
            )

    def values(self, start: Any, group: Key) -> list[Any]:
        """Of the measures that need sketches, in the order asked for."""
        merged = {name: self._window(name, start, group) for name in self._asked.sketches}
        found: list[Any] = []
        for m in self._asked.measures:
            if not isinstance(m, Distinct | Quantile):
                continue
            value, error = _estimate(m, merged[m.column])
            found.append(value)
            self._errors[m.name] = max(self._errors.get(m.name, 0.0), error)
        return found

    @property
    def errors(self) -> dict[str, dict[str, Any]]:
        """Of each measure that needs a sketch, the largest of all windows whose values were asked for."""
        return {
            m.name: (sketches.value_error if isinstance(m, Distinct) else sketches.rank_error_of)(
                self._errors.get(m.name, 0.0)
            )
            for m in self._asked.measures
            if isinstance(m, Distinct | Quantile)
        }

    def _window(self, name: str, start: Any, group: Key) -> bytes | None:
        window = self._asked.window
        pieces = self._pieces[name]
        parts: list[bytes] = []
        for i in range(window.starts_per_minute):
            parts += pieces.get((start + i * window.hop, *group), ())
        return parts[0] if len(parts) == 1 else _merge(name, parts) if parts else None


def _estimate(measure: Distinct | Quantile, dumped: bytes | None) -> tuple[float | None, float]:
    """The value, and its error: relative of a distinct count, of rank of a quantile."""
    if isinstance(measure, Distinct):
        if dumped is None:
            return 0, 0.0
        distinct = sketches.load_hll(dumped)
        return round(distinct.get_estimate()), sketches.distinct_error(distinct)
    sketch = None if dumped is None else sketches.load_kll(dumped)
    if sketch is None or sketch.is_empty():
        return None, 0.0
    return sketch.get_quantiles([measure.rank], True)[0], sketches.rank_error(sketch)


def _merge(name: str, dumped: Iterable[bytes]) -> bytes:
    return sketches.union_hll(dumped) if name.endswith("_hll") else sketches.union_kll(dumped)
