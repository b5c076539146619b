"""The sketches of the minutes that can still change, as one partition has added them up.

Sketches can't be merged in SQL, so each partition's are kept here and written whole. They start from what
Postgres holds when the partition is taken over, and go when the watermark leaves no way to change them.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

S = TypeVar("S")


class OpenMinutes(Generic[S]):
    """Sketches of one kind, by partition, minute (epoch ms) and dimensions."""

    def __init__(self, new: Callable[[], S]) -> None:
        self._new = new
        self._by_partition: dict[int, dict[int, dict[tuple[Any, ...], S]]] = {}

    def get(self, partition: int, minute: int, rest: tuple[Any, ...]) -> S:
        sketches = self._minute(partition, minute)
        sketch = sketches.get(rest)
        if sketch is None:
            sketch = sketches[rest] = self._new()
        return sketch

    def put(self, partition: int, minute: int, rest: tuple[Any, ...], sketch: S) -> None:
        self._minute(partition, minute)[rest] = sketch

    def _minute(self, partition: int, minute: int) -> dict[tuple[Any, ...], S]:
        return self._by_partition.setdefault(partition, {}).setdefault(minute, {})

    def close_before(self, partition: int, minute: int) -> None:
        opened = self._by_partition.get(partition, {})
        for closed in [m for m in opened if m < minute]:
            del opened[closed]


def feed(update: Callable[..., Any], *columns: Iterable[Any]) -> None:
    """Calls `update` for each row of the columns at C speed: these sketches take one string at a time."""
    deque(map(update, *columns), maxlen=0)
