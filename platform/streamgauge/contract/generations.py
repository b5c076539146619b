"""When a changed contract needs other rollups than those that there are. Pure.

A table of rollups is keyed by its dimensions and holds what was asked of each event then. What only adds a column is
added to it; every other change of the numbers needs a new generation: tables of their own, made from the lake.
"""

from collections.abc import Iterator
from dataclasses import replace

from streamgauge.contract.measures import Count, Measure, Named, stored_columns
from streamgauge.contract.model import Contract


def differences(before: Contract, after: Contract) -> tuple[str, ...]:
    """In words, what of `after` the rollups of `before` can't be made to hold; none where they can."""
    found = tuple(_differences(before, after))
    return (*found, *_added(before, after)) if found else ()


def _differences(before: Contract, after: Contract) -> Iterator[str]:
    old, new = before.dimension_names, after.dimension_names
    yield from (f"dimension {d} added" for d in new if d not in old)
    yield from (f"dimension {d} dropped" for d in old if d not in new)
    if set(old) == set(new) and old != new:
        yield "dimensions in another order"
    yield from _other_meaning(before, after, before.rollup.dimensions, after.rollup.dimensions)
    measured = {m.name: m for m in after.rollup.measured}
    for part in before.rollup.measured:
        now = measured.get(part.name)
        kept = {(c.name, c.type) for c in stored_columns([now])} if now is not None else set[tuple[str, str]]()
        if now is None:
            yield f"{_kind(part)} {part.name} dropped"
        elif gone := [c.name for c in stored_columns([part]) if (c.name, c.type) not in kept]:
            yield f"{_kind(part)} {part.name} without {', '.join(gone)}"
    yield from _other_meaning(before, after, before.rollup.measured, after.rollup.measured)
    yield from _other_meaning(before, after, before.rollup.top, after.rollup.top)


def _added(before: Contract, after: Contract) -> Iterator[str]:
    known = {m.name for m in before.rollup.measured}
    yield from (f"{_kind(m)} {m.name} added" for m in after.rollup.measured if m.name not in known)


def _other_meaning(before: Contract, after: Contract, old: tuple[Named, ...], new: tuple[Named, ...]) -> Iterator[str]:
    known = {part.name: part for part in old}
    for part in new:
        was = known.get(part.name)
        if was is not None and _meaning(before, was) != _meaning(after, part):
            yield f"{part.name} computed otherwise"


def _meaning(contract: Contract, part: Named) -> tuple[tuple[str, ...], dict[str, str]]:
    """What it is made of, and the text of every expression on the way there."""
    texts: dict[str, str] = {}
    left = list(part.reads)
    while left:
        expression = contract.derived_field.get(left.pop())
        if expression is not None and expression.name not in texts:
            texts[expression.name] = expression.text
            left += expression.uses
    return part.reads, texts


def _kind(part: Named) -> str:
    return "count" if isinstance(part, Count) else "measure" if isinstance(part, Measure) else "distinct count"


def with_numbers_of(contract: Contract, other: Contract) -> Contract:
    """The contract with the numbers, derived fields and star of another one, the alerts on them, and its generation."""
    return replace(
        contract,
        rollup=other.rollup,
        derived=other.derived,
        conditions=other.conditions,
        star=other.star,
        alerts=other.alerts,
        generation=other.generation,
    )


def same_numbers(one: Contract, other: Contract) -> bool:
    """Whether rollups of one are also those of the other."""
    return all(getattr(one, part) == getattr(other, part) for part in ("rollup", "derived", "conditions", "star"))


def unreadable(contract: Contract) -> tuple[str, ...]:
    """What its numbers read and it does not have: of fields and reference columns."""
    has = {f.name for f in contract.fields}
    if contract.reference is not None:
        has |= {f"reference.{c}" for c in contract.reference.columns}
    parts = (*contract.rollup.sources, *contract.rollup.counts, *contract.star)
    reads = dict.fromkeys(read for part in parts for read in contract.read_of(part))
    return tuple(r for r in reads if r not in has and (r.startswith("reference.") or r.partition(".")[0] not in has))
