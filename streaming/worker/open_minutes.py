"""What one partition has added up of the minutes that can still change.

Sketches can't be merged in SQL, so each partition's are kept here, as the bytes that Postgres has, and written whole.
They go when the watermark leaves no way to change them.
"""

from collections.abc import Sequence
from typing import TypeAlias

Key: TypeAlias = tuple[int | str, ...]
"""Partition, minute (epoch ms), and what else names the row."""


class OpenMinutes:
    """The sketches of one kind."""

    def __init__(self) -> None:
        self._held: dict[Key, bytes] = {}
        self._closed: dict[int, int] = {}

    def get(self, keys: Sequence[Key]) -> list[bytes | None]:
        return list(map(self._held.get, keys))

    def put(self, keys: Sequence[Key], sketches: Sequence[bytes | None]) -> None:
        """Where there is no sketch, what was held stays."""
        self._held.update((key, data) for key, data in zip(keys, sketches, strict=True) if data is not None)

    def close_before(self, partition: int, minute: int) -> None:
        if self._closed.get(partition) != minute:
            self._closed[partition] = minute
            for key in [k for k in self._held if k[0] == partition and int(k[1]) < minute]:
                del self._held[key]
