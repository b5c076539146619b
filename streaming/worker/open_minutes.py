"""The sketches of the minutes that can still change, as one partition has added them up.

Sketches can't be merged in SQL, so each partition's are kept here and written whole. They start from what
Postgres holds when the partition is taken over, and go when the watermark leaves no way to change them.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

S = TypeVar("S")


class OpenMinutes(Generic[S]):
    """Sketches of one kind, by (partition, minute in epoch ms, …)."""

    def __init__(self, new: Callable[[], S]) -> None:
        self._new = new
        self._by_minute: dict[tuple[int, int], dict[tuple[Any, ...], S]] = {}

    def get(self, partition: int, minute: int, rest: tuple[Any, ...]) -> S:
        sketches = self._by_minute.setdefault((partition, minute), {})
        if rest not in sketches:
            sketches[rest] = self._new()
        return sketches[rest]

    def put(self, partition: int, minute: int, rest: tuple[Any, ...], sketch: S) -> None:
        self._by_minute.setdefault((partition, minute), {})[rest] = sketch

    def close_before(self, partition: int, minute: int) -> None:
        for key in [k for k in self._by_minute if k[0] == partition and k[1] < minute]:
            del self._by_minute[key]


def feed(update: Callable[..., Any], *columns: Iterable[Any]) -> None:
    """Calls `update` for each row of the columns at C speed: these sketches take one string at a time."""
    deque(map(update, *columns), maxlen=0)
