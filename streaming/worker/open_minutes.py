"""What one partition has added up of the minutes that can still change.

Sketches can't be merged in SQL, so each partition's are kept here, as the bytes that Postgres has, and written whole.
They go when the watermark leaves no way to change them.
"""

from typing import Any, Generic, TypeVar

Held = TypeVar("Held")


class OpenMinutes(Generic[Held]):
    """Sketches by partition, minute (epoch ms) and what else names their row."""

    def __init__(self) -> None:
        self._by_partition: dict[int, dict[int, dict[tuple[Any, ...], Held]]] = {}

    def get(self, partition: int, minute: int, rest: tuple[Any, ...]) -> Held | None:
        return self._by_partition.get(partition, {}).get(minute, {}).get(rest)

    def put(self, partition: int, minute: int, rest: tuple[Any, ...], held: Held) -> None:
        self._by_partition.setdefault(partition, {}).setdefault(minute, {})[rest] = held

    def close_before(self, partition: int, minute: int) -> None:
        opened = self._by_partition.get(partition, {})
        for closed in [m for m in opened if m < minute]:
            del opened[closed]
