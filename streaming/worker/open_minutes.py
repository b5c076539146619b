"""What one partition has added up of the minutes that can still change.

Sketches can't be merged in SQL, so each partition's are kept here, as the bytes that Postgres has, and written whole.
They go when the watermark leaves no way to change them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Key: TypeAlias = tuple[Any, ...]
"""Partition, minute (epoch ms), and what else names the row."""

_EVER = -(2**63)


class OpenMinutes:
    """The sketches of one kind."""

    def __init__(self) -> None:
        self._held: dict[Key, bytes] = {}
        self._firsts: Mapping[int, int] = {}

    def get(self, keys: Sequence[Key]) -> list[bytes | None]:
        return list(map(self._held.get, keys))

    def put(self, keys: Sequence[Key], sketches: Sequence[bytes | None]) -> None:
        """Where there is no sketch, what was held stays."""
        self._held.update((key, data) for key, data in zip(keys, sketches, strict=True) if data is not None)

    def close_before(self, firsts: Mapping[int, int]) -> None:
        """Forgets what is older than its partition's first open minute."""
        if firsts != self._firsts:
            self._firsts = firsts
            for key in [k for k in self._held if k[1] < firsts.get(k[0], _EVER)]:
                del self._held[key]
