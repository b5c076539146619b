"""What is known of all texts of a column from reading them: enough to spare most rules a look at each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LONGEST_CHARACTER = 4
"""Bytes of UTF-8."""


@dataclass(frozen=True)
class TextBounds:
    """`shortest` and `longest` bound the texts' bytes; `nul` says whether any may hold a NUL character."""

    shortest: int
    longest: int
    nul: bool


Bounds = Mapping[str, TextBounds]
"""By column. Of one that isn't there nothing is known."""


def together(parts: Iterable[Bounds]) -> Bounds:
    """Of frames that are put below each other."""
    first, *rest = parts
    found = dict(first)
    for part in rest:
        found = {name: _either(known, part[name]) for name, known in found.items() if name in part}
    return found


def _either(a: TextBounds, b: TextBounds) -> TextBounds:
    return TextBounds(min(a.shortest, b.shortest), max(a.longest, b.longest), a.nul or b.nul)
