"""Distinct counts and quantiles: sketches don't merge in SQL, so they are merged here, once for each piece.

The same rows give the same answer, in whatever order Postgres has them.
"""

from collections.abc import Sequence
from typing import Any

from serving.problems import TOO_SLOW, Problem
from serving.rollups.asked import Asked
from serving.rollups.plan import Layer, sketches_count_query, sketches_query
from streamgauge.stores.postgres import Connection

MAX_SKETCHES = 60_000
"""Merged for one answer: a second of work."""

Key = tuple[Any, ...]


class Merged:
    """The sketches of every window and group of a page of rows."""

    def __init__(self, connection: Connection, asked: Asked, layers: Sequence[Layer]) -> None:
        self._asked = asked
        self._kinds = {m.columns[0].name: m.sketch for m in asked.measures if m.sketch}
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
                    self._pieces[name].setdefault(row[:width], []).append(self._kinds[name].merge(dumped))
        pieces = sum(map(len, self._pieces.values()))
        if overlap > 1 and pieces * overlap > MAX_SKETCHES:
            raise Problem(
                TOO_SLOW,
                f"Windows that overlap would merge {pieces * overlap} sketches, and {MAX_SKETCHES} are allowed.",
                parameter="hop",
            )

    def values(self, start: Any, group: Key) -> list[Any]:
        """Of the measures that need sketches, in the order asked for."""
        read = {name: kind.read(self._window(name, start, group)) for name, kind in self._kinds.items()}
        for name, (_, error) in read.items():
            self._errors[name] = max(self._errors.get(name, 0.0), error)
        return [read[m.columns[0].name][0][m.place] for m in self._asked.measures if m.sketch]

    @property
    def errors(self) -> dict[str, dict[str, Any]]:
        """Of each measure that needs a sketch, the largest of all windows whose values were asked for."""
        return {
            m.name: m.sketch.explained(self._errors.get(m.columns[0].name, 0.0))
            for m in self._asked.measures
            if m.sketch
        }

    def _window(self, name: str, start: Any, group: Key) -> bytes | None:
        window = self._asked.window
        pieces = self._pieces[name]
        parts: list[bytes] = []
        for i in range(window.starts_per_minute):
            parts += pieces.get((start + i * window.hop, *group), ())
        return parts[0] if len(parts) == 1 else self._kinds[name].merge(parts) if parts else None
