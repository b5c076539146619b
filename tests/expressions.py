"""Random expressions of contracts, each with what it means for one event, in plain Python: None is null."""

# pyright: reportUnknownLambdaType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from hypothesis import strategies as st

Row = Mapping[str, Any]
"""An event: its fields, of a map `field.key`, of the reference `reference.column`. Times are epoch ms."""

Meaning = Callable[[Row], Any]
Drawn = st.SearchStrategy["Meant"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGS = range(-(2**63), 2**63)
_PATTERNS = ("a+", "^(a|b)(b*)", "[0-9]+", "x$", "")
_LIKE = {"a%": "^a.*$", "_b": "^.b$", "%": "^.*$", "": "^$", r"\%%": "^%.*$", "a.b": r"^a\.b$"}
_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@dataclass(frozen=True)
class Meant:
    sql: str
    of: Meaning


def strict(of: Callable[..., Any], *parts: Meant) -> Meaning:
    """Null if one of the parts is."""

    def meaning(row: Row) -> Any:
        values = [p.of(row) for p in parts]
        return None if None in values else of(*values)

    return meaning


def long(value: int) -> int | None:
    return value if value in _LONGS else None


def double(of: Callable[..., float], *values: Any) -> float | None:
    try:
        built = of(*map(float, values))
    except (ZeroDivisionError, OverflowError):
        return None
    return built if math.isfinite(built) else None


def remainder(a: int, b: int) -> int | None:
    return None if b == 0 else abs(a) % abs(b) * (1 if a >= 0 else -1)


def rounded(x: float) -> float:
    fraction, whole = math.modf(abs(x))
    return math.copysign(whole + (fraction >= 0.5), x)


def number_of(text: str) -> float | None:
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text, re.ASCII):
        return None
    return double(lambda x: x, text)


def whole_of(text: str) -> int | None:
    return long(int(text)) if re.fullmatch(r"[+-]?\d+", text, re.ASCII) else None


def cut(x: float) -> int | None:
    return long(int(x))


def at(ms: int) -> datetime:
    return EPOCH + timedelta(milliseconds=ms)


_PARTS: dict[str, Callable[[datetime], int]] = {
    "year": lambda t: t.year,
    "quarter": lambda t: (t.month + 2) // 3,
    "month": lambda t: t.month,
    "week": lambda t: t.isocalendar().week,
    "day": lambda t: t.day,
    "isodow": lambda t: t.isoweekday(),
    "hour": lambda t: t.hour,
    "minute": lambda t: t.minute,
    "second": lambda t: t.second,
}


def _field(*names: str) -> Drawn:
    return st.sampled_from([Meant(name, lambda row, name=name: row[name]) for name in names])


def _build(of: Callable[..., Meant], *parts: st.SearchStrategy[Any]) -> Drawn:
    return st.builds(of, *parts)


def _whole(text: int) -> Meant:
    return Meant(str(text) if text >= 0 else f"(-{-text})", lambda _: text)


def _text(text: str) -> Meant:
    return Meant(f"'{text.replace(chr(39), chr(39) * 2)}'", lambda _: text)


def _case(condition: Meant, value: Meant, otherwise: Meant) -> Meant:
    sql = f"case when {condition.sql} then {value.sql} else {otherwise.sql} end"
    return Meant(sql, lambda row: value.of(row) if condition.of(row) else otherwise.of(row))


def _coalesce(a: Meant, b: Meant) -> Meant:
    return Meant(f"coalesce({a.sql}, {b.sql})", lambda row: b.of(row) if a.of(row) is None else a.of(row))


def _null_if(a: Meant, b: Meant) -> Meant:
    return Meant(f"nullif({a.sql}, {b.sql})", lambda row: None if None is not a.of(row) == b.of(row) else a.of(row))


def _call(name: str, of: Callable[..., Any], more: str = "") -> Callable[[Meant], Meant]:
    return lambda a: Meant(f"{name}({a.sql}{more})", strict(of, a))


def _between_signs(sign: str, of: Callable[..., Any]) -> Callable[[Meant, Meant], Meant]:
    return lambda a, b: Meant(f"({a.sql} {sign} {b.sql})", strict(of, a, b))


def _member(a: Meant, members: Sequence[Meant], negate: bool) -> Meant:
    def meaning(row: Row) -> bool | None:
        value, values = a.of(row), [m.of(row) for m in members]
        if value is None:
            return None
        found = True if value in [v for v in values if v is not None] else None if None in values else False
        return found if found is None else found != negate

    listed = ", ".join(m.sql for m in members)
    return Meant(f"({a.sql} {'not ' if negate else ''}in ({listed}))", meaning)


def _and(a: Meant, b: Meant) -> Meant:
    def meaning(row: Row) -> bool | None:
        values = (a.of(row), b.of(row))
        return False if False in values else None if None in values else True

    return Meant(f"({a.sql} and {b.sql})", meaning)


def _or(a: Meant, b: Meant) -> Meant:
    def meaning(row: Row) -> bool | None:
        values = (a.of(row), b.of(row))
        return True if True in values else None if None in values else False

    return Meant(f"({a.sql} or {b.sql})", meaning)


def _null(a: Meant, negate: bool) -> Meant:
    return Meant(f"({a.sql} is {'not ' if negate else ''}null)", lambda row: (a.of(row) is None) != negate)


def _between(a: Meant, low: Meant, high: Meant) -> Meant:
    both = _and(Meant("", strict(lambda x, y: x >= y, a, low)), Meant("", strict(lambda x, y: x <= y, a, high)))
    return Meant(f"({a.sql} between {low.sql} and {high.sql})", both.of)


def _like(a: Meant, pattern: str, negate: bool) -> Meant:
    regex = re.compile(_LIKE[pattern].replace("$", r"\Z"), re.DOTALL)
    sql = f"({a.sql} {'not ' if negate else ''}like '{pattern}')"
    return Meant(sql, strict(lambda t: (regex.search(t) is not None) != negate, a))


def _matches(a: Meant, pattern: str) -> Meant:
    regex = re.compile(pattern.replace("$", r"\Z"))
    return Meant(f"regexp_like({a.sql}, '{pattern}')", strict(lambda t: regex.search(t) is not None, a))


def _extracted(a: Meant, pattern: str) -> Meant:
    regex = re.compile(pattern.replace("$", r"\Z"))
    group = min(regex.groups, 1)

    def of(text: str) -> str | None:
        found = regex.search(text)
        return found[group] if found else None

    return Meant(f"regexp_extract({a.sql}, '{pattern}', {group})", strict(of, a))


def _part(a: Meant, start: int, length: int | None) -> Meant:
    sql = f"substr({a.sql}, {start}{'' if length is None else f', {length}'})"
    return Meant(sql, strict(lambda t: t[start - 1 :][:length], a))


def _time_part(name: str, a: Meant) -> Meant:
    return Meant(f"extract({name} from {a.sql})", strict(lambda ms: _PARTS[name](at(ms)), a))


def _compared(sign: str, a: Meant, b: Meant) -> Meant:
    return _between_signs(sign, _SIGNS[sign])(a, b)


def _fraction(a: Meant) -> Meant:
    """As what stands beside numbers with a fraction becomes."""
    return Meant(a.sql, strict(float, a))


@cache
def longs(depth: int) -> Drawn:
    """That nest so deep at most."""
    fields = _field("whole", "small", "before") | st.sampled_from([0, 1, -1, 7, 2**63 - 1]).map(_whole)
    if depth == 0:
        return fields
    a, fraction, text, time, truth = (of(depth - 1) for of in (longs, doubles, texts, times, truths))
    return fields | st.one_of(
        _build(_between_signs("+", lambda a, b: long(a + b)), a, a),
        _build(_between_signs("-", lambda a, b: long(a - b)), a, a),
        _build(_between_signs("*", lambda a, b: long(a * b)), a, a),
        _build(_between_signs("%", remainder), a, a),
        _build(lambda a: Meant(f"(- {a.sql})", strict(lambda x: long(-x), a)), a),
        _build(_call("abs", lambda x: long(abs(x))), a),
        _build(_call("round", lambda x: x), a),
        _build(_call("length", len), text),
        _build(_time_part, st.sampled_from(sorted(_PARTS)), time),
        _build(lambda a: Meant(f"cast({a.sql} as bigint)", strict(whole_of, a)), text),
        _build(lambda a: Meant(f"cast({a.sql} as bigint)", strict(cut, a)), fraction),
        _build(lambda a: Meant(f"cast({a.sql} as bigint)", strict(int, a)), truth),
        _build(_case, truth, a, a),
        _build(_coalesce, a, a),
        _build(_null_if, a, a),
    )


@cache
def doubles(depth: int) -> Drawn:
    fields = _field("fraction").map(lambda m: Meant(m.sql, strict(lambda x: x if math.isfinite(x) else None, m)))
    fields |= st.sampled_from([Meant("0.5", lambda _: 0.5), Meant("1e300", lambda _: 1e300)])
    if depth == 0:
        return fields
    a, whole, text, time, truth = (of(depth - 1) for of in (doubles, longs, texts, times, truths))
    return fields | st.one_of(
        _build(_between_signs("+", lambda a, b: double(lambda x, y: x + y, a, b)), a, a | whole),
        _build(_between_signs("-", lambda a, b: double(lambda x, y: x - y, a, b)), a | whole, a),
        _build(_between_signs("*", lambda a, b: double(lambda x, y: x * y, a, b)), a, a | whole),
        _build(_between_signs("/", lambda a, b: double(lambda x, y: x / y, a, b)), a | whole, a | whole),
        _build(_call("abs", abs), a),
        _build(_call("round", rounded), a),
        _build(_call("round", lambda x: double(lambda y: rounded(y * 100.0) / 100.0, x), ", 2"), a),
        _build(_call("floor", lambda x: float(math.floor(x))), a),
        _build(_call("ceil", lambda x: float(math.ceil(x))), a),
        _build(lambda a: Meant(f"extract(epoch from {a.sql})", strict(lambda ms: ms / 1000, a)), time),
        _build(lambda a: Meant(f"cast({a.sql} as double)", strict(number_of, a)), text),
        _build(lambda a: Meant(f"cast({a.sql} as double)", strict(float, a)), whole),
        _build(_case, truth, a, whole.map(_fraction)),
        _build(_coalesce, a, a),
    )


@cache
def texts(depth: int) -> Drawn:
    fields = _field("word", "map.key", "reference.kind", "shown")
    fields |= st.sampled_from(["", "a", "it's", "7", "ß%"]).map(_text)
    if depth == 0:
        return fields
    a, whole, truth = (of(depth - 1) for of in (texts, longs, truths))
    return fields | st.one_of(
        _build(_call("lower", str.lower), a),
        _build(_call("upper", str.upper), a),
        _build(_call("trim", lambda t: t.strip(" ")), a),
        _build(_between_signs("||", lambda a, b: a + b), a, a),
        _build(lambda a, b: Meant(f"concat({a.sql}, {b.sql})", strict(lambda x, y: x + y, a, b)), a, a),
        _build(_part, a, st.integers(1, 3), st.none() | st.integers(0, 2)),
        _build(_extracted, a, st.sampled_from(_PATTERNS)),
        _build(lambda a: Meant(f"cast({a.sql} as text)", strict(str, a)), whole),
        _build(lambda a: Meant(f"cast({a.sql} as text)", strict(lambda x: str(x).lower(), a)), truth),
        _build(_case, truth, a, a),
        _build(_coalesce, a, a),
    )


@cache
def times(depth: int) -> Drawn:
    fields = _field("moment") | st.just(Meant("timestamp '2026-01-31T13:45:00Z'", lambda _: 1_769_867_100_000))
    if depth == 0:
        return fields
    return fields | _build(_case, truths(depth - 1), times(depth - 1), times(depth - 1))


@cache
def truths(depth: int) -> Drawn:
    fields = _field("flag") | st.sampled_from([Meant("true", lambda _: True), Meant("false", lambda _: False)])
    if depth == 0:
        return fields
    a, whole, fraction, text, time = (of(depth - 1) for of in (truths, longs, doubles, texts, times))
    sign = st.sampled_from(sorted(_SIGNS))
    return fields | st.one_of(
        *(_build(_compared, sign, kind, kind) for kind in (whole, text, time, a)),
        _build(_compared, sign, fraction, fraction | whole.map(_fraction)),
        _build(_and, a, a),
        _build(_or, a, a),
        _build(lambda a: Meant(f"(not {a.sql})", strict(lambda x: not x, a)), a),
        _build(_null, whole | fraction | text | time | a, st.booleans()),
        _build(_between, whole, whole, whole),
        _build(_member, whole, st.lists(whole, min_size=1, max_size=3), st.booleans()),
        _build(_member, text, st.lists(text, min_size=1, max_size=3), st.booleans()),
        _build(_like, text, st.sampled_from(sorted(_LIKE)), st.booleans()),
        _build(_matches, text, st.sampled_from(_PATTERNS)),
    )
