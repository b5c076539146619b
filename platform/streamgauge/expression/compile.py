"""From a syntax tree to polars: each kind of node that is allowed, and a refusal of all others."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import polars as pl

from streamgauge.contract.model import Expression, ValueType
from streamgauge.contract.rules import pattern_fault
from streamgauge.expression import values as v
from streamgauge.expression.parse import ExpressionError, parse
from streamgauge.expression.scope import Scope, meant
from streamgauge.expression.values import Value

FUNCTIONS = (
    *("abs", "ceil", "coalesce", "concat", "floor", "length", "lower", "nullif", "regexp_extract", "regexp_like"),
    *("round", "substr", "trim", "upper"),
)
_ALLOWED = "+ - * / % || = <> < <= > >=, and, or, not, in, between, like, is null, case, cast, extract, " + ", ".join(
    FUNCTIONS
)
_TYPES: Mapping[str, ValueType] = {
    **dict.fromkeys(("BIGINT", "INT"), "long"),
    **dict.fromkeys(("DOUBLE", "FLOAT"), "double"),
    **dict.fromkeys(("TEXT", "VARCHAR"), "string"),
    "BOOLEAN": "boolean",
    **dict.fromkeys(("TIMESTAMP", "TIMESTAMPTZ"), "timestamp-millis"),
}
_MOST_DIGITS = 15
"""Of a number's fraction: a 64-bit number has no more."""
_LONGS = range(-(2**63), 2**63)


@dataclass(frozen=True)
class Compiled:
    """`expr` of the columns that Scope names; `uses` are those names as they were written."""

    expr: pl.Expr
    type: ValueType
    max_length: int | None
    uses: tuple[str, ...]


def compile_expression(text: str, scope: Scope) -> Compiled:
    """Raises ExpressionError."""
    compiler = _Compiler(scope)
    try:
        value = compiler.value(parse(text))
    except RecursionError as e:
        raise ExpressionError("nests too deep; make derived fields of its parts") from e
    if value.type is None:
        raise ExpressionError("is always null, which has no type")
    return Compiled(value.expr, value.type, value.longest, tuple(compiler.uses))


def read_expression(name: str, text: str, scope: Scope) -> Expression:
    """Of a derived field with that name. Raises ExpressionError."""
    built = compile_expression(text, scope)
    derived = scope.derived
    sources = dict.fromkeys(s for use in built.uses for s in (derived[use].sources if use in derived else (use,)))
    return Expression(name, text, built.type, built.uses, tuple(sources), built.max_length)


class _Compiler:
    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self.uses: dict[str, None] = {}

    def value(self, node: Any) -> Value:
        kind = type(node).__name__
        if kind not in _NODES:
            raise _refused(node)
        arguments, compile_node = _NODES[kind]
        known = (*arguments, *_IGNORED.get(kind, ()))
        if more := [name for name, given in node.args.items() if given and name not in known]:
            raise ExpressionError(f"{_shown(node)}: {', '.join(more)} can't be given here")
        return compile_node(self, *(node.args.get(name) for name in arguments))

    def values(self, nodes: Sequence[Any]) -> list[Value]:
        return [self.value(n) for n in nodes]

    def column(self, name: Any, table: Any, exceeding: Any) -> Value:
        if type(name).__name__ != "Identifier":
            raise _refused(name)
        if exceeding is not None:
            raise ExpressionError(f'{exceeding.name}.{table.name}.{name.name}: a key with a dot stands in "quotes"')
        head, tail = (name.name, None) if table is None else (table.name, name.name)
        found = self._scope.find(head, tail)
        self.uses[head if tail is None else f"{head}.{tail}"] = None
        return found

    def literal(self, text: str, is_string: bool) -> Value:
        if is_string:
            return v.literal(text, "string")
        if text.isdecimal():
            if int(text) not in _LONGS:
                raise ExpressionError(f"{text} is beyond a whole number of 64 bits; write it with a fraction")
            return v.literal(int(text), "long")
        try:
            number = float(text)
        except ValueError as e:
            raise ExpressionError(f"{text} is no number") from e
        if not math.isfinite(number):
            raise ExpressionError(f"{text} is beyond what a number can be")
        return v.literal(number, "double")

    def boolean(self, value: bool) -> Value:
        return v.literal(value, "boolean")

    def null(self) -> Value:
        return v.null()

    def one_of(self, node: Any, members: Sequence[Any]) -> Value:
        return v.one_of(self.value(node), self.values(members))

    def coalesce(self, first: Any, more: Sequence[Any]) -> Value:
        return v.first_known(self.values([first, *more]))

    def concat(self, parts: Sequence[Any]) -> Value:
        return v.joined(self.values(parts))

    def case(self, operand: Any, branches: Sequence[Any], otherwise: Any) -> Value:
        compared = None if operand is None else self.value(operand)
        built: list[tuple[Value, Value]] = []
        for branch in branches:
            condition = self.value(branch.args["this"])
            if compared is not None:
                condition = v.compared("=", compared, condition)
            built.append((condition, self.value(branch.args["true"])))
        return v.chosen(built, v.null() if otherwise is None else self.value(otherwise))

    def between(self, node: Any, low: Any, high: Any) -> Value:
        value = self.value(node)
        return v.both(v.compared(">=", value, self.value(low)), v.compared("<=", value, self.value(high)))

    def is_null(self, node: Any, what: Any) -> Value:
        if type(what).__name__ != "Null":
            raise ExpressionError(f"is {_shown(what)}: known is only is null")
        return v.missing(self.value(node))

    def null_if(self, node: Any, other: Any) -> Value:
        value = self.value(node)
        return v.chosen([(v.compared("=", value, self.value(other)), v.null())], value)

    def like(self, node: Any, pattern: Any, negate: Any) -> Value:
        found = v.matches(self.value(node), _like(self._text(pattern, "the pattern of like")), "like")
        return v.negated(found) if negate else found

    def regexp_like(self, node: Any, pattern: Any) -> Value:
        text = self._pattern(pattern)
        return v.matches(self.value(node), text, "regexp_like")

    def regexp_extract(self, node: Any, pattern: Any, group: Any) -> Value:
        text = self._pattern(pattern)
        number = 0 if group is None else self._whole(group, "the group of regexp_extract", 0)
        # names and numbers of the groups are the fields of what polars would extract
        groups = pl.DataFrame({"t": [""]}).select(pl.col("t").str.extract_groups(text)).schema["t"]
        there = len(cast(pl.Struct, groups).fields)
        if number > there:
            raise ExpressionError(f"the pattern {text} has {there} groups, and no group {number}")
        return v.extracted(self.value(node), text, number)

    def substr(self, node: Any, start: Any, length: Any) -> Value:
        first = 1 if start is None else self._whole(start, "the start of substr", 1)
        size = None if length is None else self._whole(length, "the length of substr", 0)
        return v.part(self.value(node), first, size)

    def round(self, node: Any, decimals: Any) -> Value:
        digits = 0 if decimals is None else self._whole(decimals, "the digits of round", 0)
        if digits > _MOST_DIGITS:
            raise ExpressionError(f"round takes at most {_MOST_DIGITS} digits")
        return v.rounded(self.value(node), digits)

    def extract(self, part: Any, node: Any) -> Value:
        name = part.name.lower()
        if name not in (*v.PARTS, v.EPOCH):
            raise ExpressionError(f"extract knows no {name}; known are {', '.join((*v.PARTS, v.EPOCH))}")
        return v.time_part(name, self.value(node))

    def cast(self, node: Any, to: Any) -> Value:
        type_ = _TYPES.get(to.this.name)
        if type_ is None or to.args.get("expressions"):
            raise ExpressionError(f"cast to {to.sql().lower()}: known are bigint, double, text, boolean and timestamp")
        value = self.value(node)
        if type_ == "timestamp-millis" and isinstance(value.constant, str):
            return v.literal(_time(value.constant), type_)
        return v.cast(value, type_)

    def _text(self, node: Any, what: str) -> str:
        value = self.value(node).constant
        if not isinstance(value, str):
            raise ExpressionError(f"{what} must be written as a text in quotes, not computed")
        return value

    def _whole(self, node: Any, what: str, least: int) -> int:
        number = self.value(node).constant
        if not isinstance(number, int) or number < least:
            raise ExpressionError(f"{what} must be written as a whole number of at least {least}")
        return number

    def _pattern(self, node: Any) -> str:
        text = self._text(node, "a pattern")
        if fault := pattern_fault(text):
            raise ExpressionError(fault)
        return text


def _binary(build: Callable[[Value, Value], Value]) -> "_Node":
    def node(compiler: _Compiler, a: Any, b: Any) -> Value:
        return build(compiler.value(a), compiler.value(b))

    return ("this", "expression"), node


def _unary(build: Callable[[Value], Value]) -> "_Node":
    def node(compiler: _Compiler, a: Any) -> Value:
        return build(compiler.value(a))

    return ("this",), node


def _arithmetic(sign: str) -> "_Node":
    return _binary(lambda a, b: v.arithmetic(sign, a, b))


def _comparison(sign: str) -> "_Node":
    return _binary(lambda a, b: v.compared(sign, a, b))


_Node = tuple[tuple[str, ...], Callable[..., Value]]
"""The arguments that a node may have, and what makes a value of them."""

_NODES: Mapping[str, _Node] = {
    "Column": (("this", "table", "db"), _Compiler.column),
    "Literal": (("this", "is_string"), _Compiler.literal),
    "Boolean": (("this",), _Compiler.boolean),
    "Null": ((), _Compiler.null),
    "Paren": (("this",), _Compiler.value),
    "Add": _arithmetic("+"),
    "Sub": _arithmetic("-"),
    "Mul": _arithmetic("*"),
    "Div": _arithmetic("/"),
    "Mod": _arithmetic("%"),
    "Neg": _unary(v.negative),
    "EQ": _comparison("="),
    "NEQ": _comparison("<>"),
    "LT": _comparison("<"),
    "LTE": _comparison("<="),
    "GT": _comparison(">"),
    "GTE": _comparison(">="),
    "And": _binary(v.both),
    "Or": _binary(v.either),
    "Not": _unary(v.negated),
    "In": (("this", "expressions"), _Compiler.one_of),
    "Between": (("this", "low", "high"), _Compiler.between),
    "Is": (("this", "expression"), _Compiler.is_null),
    "Like": (("this", "expression", "negate"), _Compiler.like),
    "Case": (("this", "ifs", "default"), _Compiler.case),
    "Cast": (("this", "to"), _Compiler.cast),
    "Extract": (("this", "expression"), _Compiler.extract),
    "Coalesce": (("this", "expressions"), _Compiler.coalesce),
    "Nullif": (("this", "expression"), _Compiler.null_if),
    "DPipe": _binary(lambda a, b: v.joined((a, b))),
    "Concat": (("expressions",), _Compiler.concat),
    "Lower": _unary(v.lower),
    "Upper": _unary(v.upper),
    "Trim": _unary(v.trimmed),
    "Length": _unary(v.length),
    "Substring": (("this", "start", "length"), _Compiler.substr),
    "Abs": _unary(v.absolute),
    "Round": (("this", "decimals"), _Compiler.round),
    "Floor": _unary(v.floor),
    "Ceil": _unary(v.ceil),
    "RegexpLike": (("this", "expression"), _Compiler.regexp_like),
    "RegexpExtract": (("this", "expression", "position"), _Compiler.regexp_extract),
}
_IGNORED: Mapping[str, tuple[str, ...]] = {
    # how other dialects treat null, and the types of a division
    "DPipe": ("safe",),
    "Concat": ("safe", "coalesce"),
    "Div": ("typed", "safe"),
}


def _refused(node: Any) -> ExpressionError:
    shown = _shown(node)
    name = shown.partition("(")[0].lower()
    near = meant(name, FUNCTIONS) if "(" in shown else ""
    return ExpressionError(f"{shown} can't be used here{near or '; known are ' + _ALLOWED}")


def _shown(node: Any) -> str:
    text = node.sql()
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


_MOST_SHOWN = 60


def _like(pattern: str) -> str:
    """As a regular expression. A backslash takes a sign for what it is."""
    parts: list[str] = []
    signs = iter(pattern)
    for sign in signs:
        if sign == "\\":
            parts.append(_escaped(next(signs, sign)))
        else:
            parts.append({"%": ".*", "_": "."}.get(sign) or _escaped(sign))
    return f"(?s)^(?:{''.join(parts)})$"


def _escaped(sign: str) -> str:
    return f"\\{sign}" if sign in r"\.+*?()|[]{}^$#&-~" else sign


def _time(text: str) -> datetime:
    try:
        read = datetime.fromisoformat(text)
        read = (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise ExpressionError(f'"{text}" is no time of ISO 8601, such as 2026-01-31T13:45:00Z') from e
    return read
