"""Typed values and what may be done with them, as polars expressions.

A result that has no place in its type is null: whole numbers beyond 64 bits, numbers that are not finite. Each operand
is used once where that can be had, for what is used twice doubles what polars has to look at with every level.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.model import ValueType
from streamgauge.expression.parse import ExpressionError

Binary: TypeAlias = Callable[[pl.Expr, pl.Expr], pl.Expr]

NAMES: dict[ValueType | None, str] = {
    "string": "a text",
    "long": "a whole number",
    "double": "a number",
    "boolean": "true or false",
    "timestamp-millis": "a time",
    None: "null",
}

LONGEST_LONG = 20
_LONGEST_BOOLEAN = 5
_GROWS = 3
"""Characters that one becomes at most in capitals, such as three of one ligature."""
_NOT_FINITE = [float("inf"), float("-inf"), float("nan")]
MOST_WORK = 2000
"""More makes of one line of a contract what takes every batch seconds."""


@dataclass(frozen=True)
class Value:
    """`type` is None of a bare null. `longest`: characters of a text, None where nothing bounds it. `work`: how many
    steps polars takes for it. `constant`: what was written, if it is no more than that.
    """

    expr: pl.Expr
    type: ValueType | None
    longest: int | None = None
    work: int = 1
    constant: Any = None
    varies: bool = True
    """It hangs on an event."""

    @property
    def is_number(self) -> bool:
        return self.type in ("long", "double")


def new_value(type_: ValueType, expr: pl.Expr, of: Sequence[Value], longest: int | None = None) -> Value:
    work = 1 + sum(v.work for v in of)
    if work > MOST_WORK:
        raise ExpressionError("is too much for one expression; make derived fields of its parts")
    return Value(expr, type_, longest, work, varies=any(v.varies for v in of))


def null() -> Value:
    return Value(pl.lit(None), None, varies=False)


def literal(value: Any, type_: ValueType) -> Value:
    longest = len(value) if isinstance(value, str) else None
    return Value(pl.lit(value, POLARS_TYPES[type_]), type_, longest, constant=value, varies=False)


def finite(expr: pl.Expr) -> pl.Expr:
    """Null where it is not."""
    return expr.replace(_NOT_FINITE, None)


def as_type(value: Value, type_: ValueType) -> pl.Expr:
    """A whole number as a number with a fraction, and null as anything."""
    return value.expr if value.type == type_ else value.expr.cast(POLARS_TYPES[type_])


def common_type(values: Sequence[Value], what: str) -> ValueType:
    """The one type of them all; whole numbers among others become such."""
    types: set[ValueType] = {v.type for v in values if v.type is not None}
    if not types:
        raise ExpressionError(f"{what}: all are null, which has no type; say cast(null as double), or another type")
    if types == {"long", "double"}:
        return "double"
    if len(types) > 1:
        raise ExpressionError(f"{what}: {' and '.join(sorted(NAMES[t] for t in types))} don't go together")
    (only,) = types
    return only


def unified(values: Sequence[Value], what: str) -> tuple[ValueType, list[pl.Expr], int | None]:
    """Their common type, each as that type, and how long a text of them may be."""
    type_ = common_type(values, what)
    lengths = [v.longest for v in values if v.type is not None]
    longest = max(n for n in lengths if n is not None) if None not in lengths else None
    return type_, [as_type(v, type_) for v in values], longest


def arithmetic(sign: str, a: Value, b: Value) -> Value:
    for v in (a, b):
        if not v.is_number:
            hint = "; texts are put together by ||" if v.type == "string" and sign == "+" else ""
            raise ExpressionError(f"{sign} is for numbers, and one of its sides is {NAMES[v.type]}{hint}")
    whole = a.type == b.type == "long"
    if sign == "%":
        if not whole:
            raise ExpressionError("% is for whole numbers")
        return _remainder(a, b)
    if sign == "/":
        return new_value("double", finite(_quotient(*(v.expr.cast(pl.Float64) for v in (a, b)))), (a, b))
    if not whole:
        left, right = (v.expr.cast(pl.Float64) for v in (a, b))
        return new_value("double", finite(_SIGNS[sign](left, right)), (a, b))
    # no product of two 64-bit numbers is beyond 128 bits
    left, right = (v.expr.cast(pl.Int128) for v in (a, b))
    return new_value("long", _fitting(_SIGNS[sign](left, right)), (a, b))


_SIGNS: Mapping[str, Binary] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


def _quotient(a: pl.Expr, b: pl.Expr) -> pl.Expr:
    """polars divides a column by a single value by way of its reciprocal, which may be another number: the same events
    would give one number in a batch of many and another in a batch of one.
    """
    return pl.map_batches([a, b], _divided, return_dtype=pl.Float64, is_elementwise=True)


def _divided(columns: Sequence[pl.Series]) -> pl.Series:
    """Null is NaN in these columns, and in what is made of them."""
    with np.errstate(all="ignore"):
        return pl.Series(np.divide(*(c.to_numpy() for c in columns)))


def _fitting(expr: pl.Expr) -> pl.Expr:
    return expr.cast(pl.Int64, strict=False)


def _remainder(a: Value, b: Value) -> Value:
    """With the dividend's sign, where polars gives the divisor's; null for a divisor of 0."""
    left, right = (v.expr.cast(pl.Int128) for v in (a, b))
    return new_value("long", _fitting(left.abs() % right.abs() * left.sign()), (a, a, b))


def negative(v: Value) -> Value:
    if v.type == "double":
        return new_value("double", -v.expr, (v,))
    _want(v, "long", "-")
    return new_value("long", _fitting(pl.lit(0, pl.Int128) - v.expr.cast(pl.Int128)), (v,))


def absolute(v: Value) -> Value:
    if v.type == "double":
        return new_value("double", v.expr.abs(), (v,))
    _want(v, "long", "abs")
    return new_value("long", _fitting(v.expr.cast(pl.Int128).abs()), (v,))


def rounded(v: Value, digits: int = 0) -> Value:
    """Halves away from zero."""
    if v.type == "long":
        return v
    _want(v, "double", "round")
    if digits == 0:
        return new_value("double", v.expr.round(mode="half_away_from_zero"), (v,))
    scale = pl.lit(10.0**digits)
    scaled = (v.expr * scale).round(mode="half_away_from_zero")
    return new_value("double", finite(_quotient(scaled, scale)), (v,))


def floor(v: Value) -> Value:
    return v if v.type == "long" else new_value("double", _double(v, "floor").floor(), (v,))


def ceil(v: Value) -> Value:
    return v if v.type == "long" else new_value("double", _double(v, "ceil").ceil(), (v,))


def _double(v: Value, what: str) -> pl.Expr:
    _want(v, "double", what)
    return v.expr


def compared(sign: str, a: Value, b: Value) -> Value:
    if b.varies and not a.varies:
        # polars makes a single value of a literal before a column that happens to hold only one
        return compared(_TURNED.get(sign, sign), b, a)
    _, (left, right), _ = unified((a, b), sign)
    return new_value("boolean", _COMPARED[sign](left, right), (a, b))


_COMPARED: Mapping[str, Binary] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


_TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


def truth(v: Value, what: str) -> pl.Expr:
    if v.type not in ("boolean", None):
        raise ExpressionError(f"{what} is for what is true or false, and is given {NAMES[v.type]}")
    return as_type(v, "boolean")


def both(a: Value, b: Value) -> Value:
    return new_value("boolean", truth(a, "and") & truth(b, "and"), (a, b))


def either(a: Value, b: Value) -> Value:
    return new_value("boolean", truth(a, "or") | truth(b, "or"), (a, b))


def negated(v: Value) -> Value:
    return new_value("boolean", ~truth(v, "not"), (v,))


def missing(v: Value) -> Value:
    return new_value("boolean", v.expr.is_null(), (v,))


def one_of(v: Value, members: Sequence[Value]) -> Value:
    """Null where it is among none of them, and one of them or itself is null."""
    found = [compared("=", v, m) for m in members]
    if v.type in ("string", "long") and all(m.type == v.type and m.constant is not None for m in members):
        return new_value("boolean", v.expr.is_in([m.constant for m in members]), (v, *members))
    return new_value("boolean", pl.any_horizontal([f.expr for f in found]), found)


def first_known(values: Sequence[Value]) -> Value:
    type_, exprs, longest = unified(values, "coalesce")
    return new_value(type_, pl.coalesce(exprs), values, longest)


def chosen(branches: Sequence[tuple[Value, Value]], otherwise: Value) -> Value:
    """The value of the first condition that is true."""
    values = [*(v for _, v in branches), otherwise]
    type_, exprs, longest = unified(values, "case")
    chain: Any = pl
    for (condition, _), expr in zip(branches, exprs, strict=False):
        chain = chain.when(truth(condition, "when")).then(expr)
    return new_value(type_, chain.otherwise(exprs[-1]), [*(c for c, _ in branches), *values], longest)


def text(v: Value, what: str) -> pl.Expr:
    if v.type not in ("string", None):
        raise ExpressionError(f"{what} is for a text, and is given {NAMES[v.type]}; make it one by cast(... as text)")
    return as_type(v, "string")


def lower(v: Value) -> Value:
    return new_value("string", text(v, "lower").str.to_lowercase(), (v,), _grown(v))


def upper(v: Value) -> Value:
    return new_value("string", text(v, "upper").str.to_uppercase(), (v,), _grown(v))


def _grown(v: Value) -> int | None:
    return None if v.longest is None else v.longest * _GROWS


def trimmed(v: Value) -> Value:
    return new_value("string", text(v, "trim").str.strip_chars(" "), (v,), v.longest)


def joined(values: Sequence[Value]) -> Value:
    """Null where one of them is."""
    lengths = [v.longest or 0 for v in values if v.type is None or v.longest is not None]
    longest = sum(lengths) if len(lengths) == len(values) else None
    return new_value("string", pl.concat_str([text(v, "||") for v in values]), values, longest)


def part(v: Value, start: int, length: int | None) -> Value:
    """From the character `start`, counted from 1."""
    longest = v.longest if length is None else length if v.longest is None else min(length, v.longest)
    return new_value("string", text(v, "substr").str.slice(start - 1, length), (v,), longest)


def length(v: Value) -> Value:
    return new_value("long", text(v, "length").str.len_chars().cast(pl.Int64), (v,))


def matches(v: Value, pattern: str, what: str) -> Value:
    return new_value("boolean", text(v, what).str.contains(pattern), (v,))


def extracted(v: Value, pattern: str, group: int) -> Value:
    return new_value("string", text(v, "regexp_extract").str.extract(pattern, group), (v,), v.longest)


PARTS: Mapping[str, Callable[[pl.Expr], pl.Expr]] = {
    "year": lambda t: t.dt.year(),
    "quarter": lambda t: t.dt.quarter(),
    "month": lambda t: t.dt.month(),
    "week": lambda t: t.dt.week(),
    "day": lambda t: t.dt.day(),
    "isodow": lambda t: t.dt.weekday(),
    "hour": lambda t: t.dt.hour(),
    "minute": lambda t: t.dt.minute(),
    "second": lambda t: t.dt.second(),
}
EPOCH = "epoch"


def time_part(name: str, v: Value) -> Value:
    """Of UTC. `epoch` is in seconds, with a fraction."""
    _want(v, "timestamp-millis", "extract")
    if name == EPOCH:
        return new_value("double", finite(_quotient(v.expr.to_physical().cast(pl.Float64), pl.lit(1000.0))), (v,))
    return new_value("long", PARTS[name](v.expr).cast(pl.Int64), (v,))


def cast(v: Value, to: ValueType) -> Value:
    """Null where the value can't be one of that type."""
    if v.type in (None, to):
        return new_value(to, as_type(v, to), (v,), 0 if v.type is None else v.longest)
    match v.type, to:
        case ("string", "long") | ("double", "long"):
            return new_value("long", _fitting(v.expr), (v,))
        case ("boolean", "long") | ("long", "double"):
            return new_value(to, v.expr.cast(POLARS_TYPES[to]), (v,))
        case "string", "double":
            return new_value("double", finite(v.expr.cast(pl.Float64, strict=False)), (v,))
        case ("long", "string") | ("boolean", "string"):
            return new_value(
                "string", v.expr.cast(pl.String), (v,), LONGEST_LONG if v.type == "long" else _LONGEST_BOOLEAN
            )
        case _:
            more = "; make a whole number of it first" if (v.type, to) == ("double", "string") else ""
            raise ExpressionError(f"{NAMES[v.type]} can't be cast to {NAMES[to]}{more}")


def _want(v: Value, type_: ValueType, what: str) -> None:
    if v.type != type_:
        raise ExpressionError(f"{what} is for {NAMES[type_]}, and is given {NAMES[v.type]}")
