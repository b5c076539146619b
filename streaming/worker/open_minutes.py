"""What one partition has added up of the minutes that can still change.

Sketches can't be merged in SQL, so each partition's are kept here, as the bytes that Postgres has, and written whole.
They go when the watermark leaves no way to change them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Cell: TypeAlias = tuple[int, int]
"""Partition and minute (epoch ms)."""

Name: TypeAlias = tuple[Any, ...]
"""What else names a row: its dimensions."""

_EVER = -(2**63)

Entry: TypeAlias = tuple[Cell, Name, bytes | None]
"""A stored sketch; None where the row has none."""


def _by_name() -> dict[str, list[Entry]]:
    return defaultdict(list)


@dataclass(frozen=True)
class OpenSketches:
    """What Postgres has of a partition's open minutes: by column of the minutes table, and by the top-N's name."""

    columns: dict[str, list[Entry]] = field(default_factory=_by_name)
    tops: dict[str, list[Entry]] = field(default_factory=_by_name)


class OpenMinutes:
    """The sketches of one kind."""

    def __init__(self) -> None:
        self._held: dict[Cell, dict[Name, bytes]] = {}
        self._firsts: Mapping[int, int] = {}

    def get(self, cell: Cell, names: Sequence[Name]) -> Iterable[tuple[int, bytes]]:
        """What is held, each with its name's place among `names`."""
        held = self._held.get(cell, {})
        return ((i, held[name]) for i, name in enumerate(names) if name in held) if held else ()

    def is_open(self, cell: Cell) -> bool:
        partition, minute = cell
        return minute >= self._firsts.get(partition, _EVER)

    def put(self, cell: Cell, names: Iterable[Name], sketches: Iterable[bytes | None]) -> None:
        """Where there is no sketch, what was held stays."""
        held = self._held.setdefault(cell, {})
        held.update({name: data for name, data in zip(names, sketches, strict=True) if data is not None})

    def size(self) -> tuple[int, int, int]:
        """Cells, sketches and their bytes; may be asked from another thread: each list is copied in one step."""
        cells = [list(names.values()) for names in list(self._held.values())]
        return len(cells), sum(map(len, cells)), sum(len(data) for cell in cells for data in cell)

    def close_before(self, firsts: Mapping[int, int]) -> None:
        """Forgets what is older than its partition's first open minute."""
        self._firsts = firsts
        for cell in [c for c in self._held if not self.is_open(c)]:
            del self._held[cell]
