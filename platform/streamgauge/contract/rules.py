"""A contract's rules for a single record, as polars expressions. Producer, worker and quality checks all use
these.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import polars as pl

from streamgauge.contract.model import Contract, FieldSpec, Together
from streamgauge.contract.text_bounds import LONGEST_CHARACTER, Bounds
from streamgauge.contract.times import EARLIEST_MS, LATEST_MS, outside, outside_rule


@dataclass(frozen=True)
class Rule:
    """`expr` is true where the rule is broken, and never null; `anywhere` whether it is broken at all. `kept_by` says
    what bounds leave no need to ask. `name` holds no value of a record.
    """

    name: str
    expr: pl.Expr
    anywhere: pl.Expr
    kept_by: Callable[[Bounds], bool]


def violations(contract: Contract) -> list[Rule]:
    """Every rule of the contract: of its fields in their order, then of several fields together.

    The frame has the contract's fields: a timestamp as Datetime, a map as a list of structs of key and value.
    """
    of_fields = [rule for f in contract.fields for rule in field_rules(f)]
    return of_fields + [_rule(together_name(t), _apart(t)) for t in contract.together]


def together_name(rule: Together) -> str:
    return f"{rule.name}: {', '.join(rule.fields)} not together"


def _rule(
    name: str, broken: pl.Expr, kept_by: Callable[[Bounds], bool] | None = None, anywhere: pl.Expr | None = None
) -> Rule:
    expr = broken.fill_null(False)
    return Rule(name, expr, expr.any() if anywhere is None else anywhere, kept_by or _unknown)


def _unknown(bounds: Bounds) -> bool:
    del bounds
    return False


def _apart(rule: Together) -> pl.Expr:
    nulls = [pl.col(name).is_null() for name in rule.fields]
    return pl.any_horizontal(nulls) & ~pl.all_horizontal(nulls)


def pattern_fault(pattern: str) -> str | None:
    """Why polars can't use it; None where it can."""
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError as e:
        text = [line.strip().removeprefix("error: ") for line in str(e).splitlines() if line.startswith("error: ")]
        fault = text[0] if text else "it can't be read"
        return f'"{pattern}" is no regular expression of the kind that is used here, Rust\'s: {fault}'
    return None


def field_rules(f: FieldSpec) -> Iterator[Rule]:
    """Those of one field."""
    value = pl.col(f.name)
    if f.required:
        yield _rule(f"{f.name}: missing", value.is_null())
    if f.finite:
        yield _rule(f"{f.name}: not a finite number", ~value.is_finite())
    if f.type == "timestamp-millis":
        value = value.to_physical()
        exceeding = (value.min() < EARLIEST_MS) | (value.max() > LATEST_MS)
        yield _rule(outside_rule(f.name), outside(f.name), anywhere=exceeding.fill_null(False))
    if f.type == "string":
        yield _rule(
            f"{f.name}: holds a NUL character",
            value.str.contains("\0", literal=True),
            lambda bounds: f.name in bounds and not bounds[f.name].nul,
        )
    length, least, most = value.str.len_chars(), f.min_length, f.max_length
    if least is not None:
        yield _rule(
            f"{f.name}: shorter than {least}",
            length < least,
            lambda bounds: f.name in bounds and bounds[f.name].shortest > (least - 1) * LONGEST_CHARACTER,
        )
    if most is not None:
        yield _rule(
            f"{f.name}: longer than {most}",
            length > most,
            lambda bounds: f.name in bounds and bounds[f.name].longest <= most,
        )
    if f.pattern is not None:
        yield _rule(
            f"{f.name}: doesn't match {f.pattern}",
            ~value.str.contains(f.pattern),
            anywhere=(~value.unique().str.contains(f.pattern)).any(),
        )
    if f.minimum is not None:
        yield _rule(f"{f.name}: below {f.minimum:g}", value < f.minimum)
    if f.maximum is not None:
        yield _rule(f"{f.name}: above {f.maximum:g}", value > f.maximum)
    if f.allowed:
        yield _rule(f"{f.name}: not an allowed value", ~value.is_in(f.allowed))
