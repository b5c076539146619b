"""A contract's rules for a single record, as polars expressions. Producer, worker and quality checks all use
these.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from streamgauge.contracts import Contract, FieldSpec, Together


@dataclass(frozen=True)
class Rule:
    """`expr` is true where the rule is broken, and never null. `name` holds no value of a record."""

    name: str
    expr: pl.Expr


def violations(contract: Contract) -> list[Rule]:
    """Every rule of the contract: of its fields in their order, then of several fields together.

    The frame has the contract's fields: a timestamp as Datetime, a map as a list of structs of key and value.
    """
    of_fields = [
        Rule(f"{f.name}: {name}", broken.fill_null(False)) for f in contract.fields for name, broken in _rules(f)
    ]
    return of_fields + [Rule(together_name(t), _apart(t)) for t in contract.together]


def together_name(rule: Together) -> str:
    return f"{rule.name}: {', '.join(rule.fields)} not together"


def _apart(rule: Together) -> pl.Expr:
    nulls = [pl.col(name).is_null() for name in rule.fields]
    return pl.any_horizontal(nulls) & ~pl.all_horizontal(nulls)


def _rules(f: FieldSpec) -> Iterator[tuple[str, pl.Expr]]:
    value = pl.col(f.name)
    if f.required:
        yield "missing", value.is_null()
    if f.finite:
        yield "not a finite number", ~value.is_finite()
    if f.type == "timestamp-millis":
        value = value.to_physical()
    if f.type == "string":
        yield "holds a NUL character", value.str.contains("\0", literal=True)
    length = value.str.len_chars()
    if f.min_length is not None:
        yield f"shorter than {f.min_length}", length < f.min_length
    if f.max_length is not None:
        yield f"longer than {f.max_length}", length > f.max_length
    if f.pattern is not None:
        yield f"doesn't match {f.pattern}", ~value.str.contains(f.pattern)
    if f.minimum is not None:
        yield f"below {f.minimum:g}", value < f.minimum
    if f.maximum is not None:
        yield f"above {f.maximum:g}", value > f.maximum
    if f.allowed:
        yield "not an allowed value", ~value.is_in(f.allowed)
