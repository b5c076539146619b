"""What a contract must hold before anything is made from it."""

from collections.abc import Iterable

from streamgauge.contract.model import CALENDAR, FACT_COLUMNS, Contract, Measure, ReferenceSpec
from streamgauge.errors import UserError


def check_contract(c: Contract) -> None:
    """The names in the blocks must be fields of the right type."""
    reject_twice("property", [f.name for f in c.fields])
    if not c.field[c.event_time].required or not c.field[c.event_id].required:
        raise ValueError(f"{c.event_id} and {c.event_time} must be required")
    for rule in c.together:
        unknown = [name for name in rule.fields if name not in c.field or c.field[name].required]
        if len(rule.fields) < 2 or unknown:
            raise ValueError(f"quality {rule.name}: must name two or more optional properties{_named(unknown)}")
    if c.topic_spec.partitionKey not in c.field:
        raise ValueError(f"topic.partitionKey {c.topic_spec.partitionKey!r} is no property")
    if c.reference and c.reference.key not in c.field:
        raise ValueError(f"reference.key {c.reference.key!r} is no property")
    outputs = (*c.rollup.dimensions, *c.rollup.distinct, *c.rollup.measures)
    reject_twice("rollup name", [s.name for s in outputs])
    reject_twice("dimension", [*(d.name for d in c.star), *CALENDAR])
    added = c.reference.columns if c.reference else ()
    reject_twice("fact column", [*c.field, *added, *(f"{d.name}_key" for d in c.star), *FACT_COLUMNS])
    for source in (*outputs, *c.rollup.top, *c.star):
        head, _, tail = source.source.partition(".")
        known = (
            tail in c.reference.columns
            if head == "reference" and c.reference
            else head in c.field and c.field[head].is_map == bool(tail)
        )
        if not known:
            raise ValueError(
                f"rollup {source.name}: source {source.source!r} is no property, map key or reference column"
            )
        if isinstance(source, Measure) and not tail and not c.field[head].is_number:
            raise ValueError(f"rollup measure {source.name}: {source.source!r} is not a number")


def check_shared_dimensions(contracts: Iterable[Contract]) -> None:
    """One dimension, one table: its members' attributes can't come from two places."""
    described: dict[str, tuple[str, ReferenceSpec | None]] = {}
    for c in contracts:
        for d in c.star:
            reference = c.reference if c.attributes(d) else None
            stream, known = described.setdefault(d.name, (c.stream, reference))
            if known != reference:
                raise UserError(
                    f"{stream} and {c.stream} give the dimension {d.name} different references",
                    "give both the same reference, or one of them another name for the dimension",
                )


def _named(wrong: list[str]) -> str:
    return f", which {', '.join(wrong)} is not" if wrong else ""


def reject_twice(what: str, names: list[str]) -> None:
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"{what} {', '.join(twice)} stands twice")
