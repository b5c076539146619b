"""Distinct counts and quantiles: sketches don't merge in SQL, so they are merged here, once for each piece."""

from collections.abc import Callable, Iterable, Sequence
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
        self._pieces: dict[str, dict[Key, list[Any]]] = {name: {} for name in asked.sketches}
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
            if isinstance(m, Distinct):
                sketch = merged[m.column]
                found.append(0 if sketch is None else round(sketch.get_estimate()))
            elif isinstance(m, Quantile):
                sketch = merged[m.column]
                found.append(sketch.get_quantiles([m.rank], True)[0] if sketch and not sketch.is_empty() else None)
        return found

    def _window(self, name: str, start: Any, group: Key) -> Any:
        window = self._asked.window
        pieces = self._pieces[name]
        parts: list[Any] = []
        for i in range(window.starts_per_minute):
            parts += pieces.get((start + i * window.hop, *group), ())
        return parts[0] if len(parts) == 1 else _union(name)(parts) if parts else None


def _merge(name: str, dumped: Iterable[bytes]) -> Any:
    load: Callable[[bytes], Any] = sketches.load_hll if _is_hll(name) else sketches.load_kll
    return _union(name)(map(load, dumped))


def _union(name: str) -> Callable[[Iterable[Any]], Any]:
    return sketches.merge_hll if _is_hll(name) else sketches.merge_kll


def _is_hll(name: str) -> bool:
    return name.endswith("_hll")
