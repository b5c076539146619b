"""The SQL that the worker speaks, as functions over rows: parsed by sqlglot, so that what a statement says is what is
simulated. Times are epoch ms, intervals ms. A statement of another kind ends the run with its text.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol, TypeAlias, cast

import sqlglot
from sqlglot import exp

Row: TypeAlias = dict[str, Any]
Node: TypeAlias = Any
"""Of the syntax tree: sqlglot's own classes are typed unevenly."""
Value: TypeAlias = Callable[[dict[str, Row]], Any]

PARAMETERS = ":"
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\))?[sbt]")
_UNITS_MS = {"millisecond": 1, "second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


class Unknown(Exception):
    """The simulated Postgres doesn't know this."""


class Session(Protocol):
    """What a statement asks of the server."""

    def rows(self, table: str) -> Iterator[Row]: ...
    def update(self, table: str, where: Callable[[Row], bool], change: Callable[[Row], Row]) -> int: ...
    def delete(self, table: str, where: Callable[[Row], bool]) -> int: ...
    def insert(self, table: str, row: Row, merge: Callable[[Row, Row], Row] | None) -> Row: ...
    def call(self, function: str, arguments: list[Any]) -> Any: ...
    def now_ms(self) -> int: ...


@dataclass
class Result:
    rows: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    count: int = 0


Statement: TypeAlias = Callable[[Session, Mapping[str, Any]], Result]


def parameters(given: Sequence[Any] | Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return {name: _plain(value) for name, value in given.items()}
    return {f"a{i}": _plain(value) for i, value in enumerate(given or ())}


def _plain(value: Any) -> Any:
    data = getattr(value, "data", None)
    return array_elements(data) if isinstance(data, bytes) else value


def array_elements(data: bytes) -> list[Any]:
    """Of an array in Postgres's binary format."""
    dimensions, _, oid, count, _ = struct.unpack_from(">5i", data)
    assert dimensions == 1
    place, found = 20, list[Any]()
    for _ in range(count):
        (size,) = struct.unpack_from(">i", data, place)
        place += 4
        found.append(None if size < 0 else field_value(oid, data[place : place + size]))
        place += max(size, 0)
    assert place == len(data)
    return found


_OIDS = {20: ">q", 23: ">i", 701: ">d"}


def field_value(oid: int, data: bytes) -> Any:
    if oid in _OIDS:
        return struct.unpack(_OIDS[oid], data)[0]
    return data.decode() if oid == 25 else data


@cache
def statement(text: str) -> Statement:
    counted = iter(range(1_000))
    named = _PLACEHOLDER.sub(lambda m: f":{m[1] or f'a{next(counted)}'}", text)
    parsed = sqlglot.parse_one(named, dialect="postgres")
    if isinstance(parsed, exp.Insert):
        return _insert(parsed)
    if isinstance(parsed, exp.Update):
        return _update(parsed)
    if isinstance(parsed, exp.Delete):
        return _delete(parsed)
    if isinstance(parsed, (exp.Select, exp.Union)):
        return _query(parsed)
    if isinstance(parsed, exp.Set):
        return lambda session, given: Result()
    raise Unknown(text)


# --- statements


def _environment(session: Session, given: Mapping[str, Any]) -> dict[str, Row]:
    return {PARAMETERS: {**given, PARAMETERS: session}}


def _insert(node: Node) -> Statement:
    schema = node.this
    target = schema.this
    table, alias = target.name, target.alias or target.name
    columns = [c.name for c in schema.expressions]
    source = node.expression
    conflict = node.args.get("conflict")
    changes: list[tuple[str, Value]] | None = None
    if conflict is not None:
        changes = [(e.this.name, _value(e.expression)) for e in conflict.expressions]
    returning = node.args.get("returning")
    returned = [_value(_unaliased(e)) for e in returning.expressions] if returning is not None else []
    if isinstance(source, exp.Values):
        tuples = [[_value(v) for v in t.expressions] for t in source.expressions]

        def given_rows(session: Session, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
            environment = _environment(session, given)
            return [tuple(v(environment) for v in t) for t in tuples]
    else:
        selecting = _query(source)

        def given_rows(session: Session, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
            return selecting(session, given).rows

    def run(session: Session, given: Mapping[str, Any]) -> Result:
        environment = _environment(session, given)
        result = Result()

        def merge(old: Row, new: Row) -> Row:
            assert changes is not None
            inner = {**environment, alias: old, "excluded": new}
            return {**old, **{name: value(inner) for name, value in changes}}

        for values in given_rows(session, given):
            row = session.insert(table, dict(zip(columns, values, strict=True)), None if changes is None else merge)
            result.rows.append(tuple(v({**environment, alias: row}) for v in returned))
            result.count += 1
        return result

    return run


def _update(node: Node) -> Statement:
    table = node.this.name
    changes = [(e.this.name, _value(e.expression)) for e in node.expressions]
    where = _condition(node.args.get("where"))

    def run(session: Session, given: Mapping[str, Any]) -> Result:
        environment = _environment(session, given)

        def change(row: Row) -> Row:
            inner = {**environment, table: row}
            return {**row, **{name: value(inner) for name, value in changes}}

        return Result(count=session.update(table, lambda row: where({**environment, table: row}), change))

    return run


def _delete(node: Node) -> Statement:
    table, where = node.this.name, _condition(node.args.get("where"))

    def run(session: Session, given: Mapping[str, Any]) -> Result:
        environment = _environment(session, given)
        return Result(count=session.delete(table, lambda row: where({**environment, table: row})))

    return run


def _query(node: Node) -> Statement:
    if isinstance(node, exp.Subquery):
        return _query(node.this)
    if isinstance(node, exp.Union):
        left, right = _query(node.left), _query(node.right)
        return lambda session, given: Result(
            list(dict.fromkeys([*left(session, given).rows, *right(session, given).rows]))
        )
    if not isinstance(node, exp.Select):
        raise Unknown(node.sql("postgres"))
    selecting = _select(node)
    return lambda session, given: Result(selecting(_environment(session, given)))


def _select(node: Node) -> Callable[[dict[str, Row]], list[tuple[Any, ...]]]:
    source = _source(node.args.get("from_"))
    where = _condition(node.args.get("where"))
    shown = [_unaliased(e) for e in node.expressions]
    group = node.args.get("group")
    grouped = [_value(e) for e in group.expressions] if group is not None else []
    together = group is not None or any(e.find(exp.AggFunc) for e in shown)
    merged = [_aggregate(e) for e in shown] if together else []
    values = [] if together else [_value(e) for e in shown]
    order = node.args.get("order")
    sorting = [(_value(o.this), bool(o.args.get("desc"))) for o in order.expressions] if order is not None else []
    distinct = node.args.get("distinct")
    on = distinct.args.get("on") if distinct is not None else None
    distinct_on = [_value(e) for e in on.expressions] if on is not None else []
    limit = node.args.get("limit")
    most = _value(limit.expression) if limit is not None else None

    def run(environment: dict[str, Row]) -> list[tuple[Any, ...]]:
        found = [inner for inner in source(environment) if where(inner)]
        if together:
            groups: dict[tuple[Any, ...], list[dict[str, Row]]] = {} if group is not None else {(): []}
            for inner in found:
                groups.setdefault(tuple(g(inner) for g in grouped), []).append(inner)
            rows = [tuple(m(members) for m in merged) for members in groups.values()]
            return sorted(rows, key=lambda r: tuple(map(_sortable, r))) if sorting else rows
        for value, descending in reversed(sorting):
            found.sort(key=lambda inner: _sortable(value(inner)), reverse=descending)
        if distinct_on:
            firsts: dict[tuple[Any, ...], dict[str, Row]] = {}
            for inner in found:
                firsts.setdefault(tuple(v(inner) for v in distinct_on), inner)
            found = list(firsts.values())
        rows = [tuple(v(inner) for v in values) for inner in found]
        if distinct is not None and on is None:
            rows = list(dict.fromkeys(rows))
        return rows if most is None else rows[: most(environment)]

    return run


def _source(node: Node | None) -> Callable[[dict[str, Row]], Iterator[dict[str, Row]]]:
    if node is None:
        return lambda environment: iter([environment])
    source = node.this
    if isinstance(source, exp.Table):
        table, alias = source.name, source.alias or source.name
        return lambda environment: ({**environment, alias: row} for row in _session(environment).rows(table))
    if isinstance(source, exp.Unnest):
        arrays = [_value(e) for e in source.expressions]
        alias, names = source.alias, [c.name for c in source.args["alias"].columns]

        def unnest(environment: dict[str, Row]) -> Iterator[dict[str, Row]]:
            columns = [array(environment) for array in arrays]
            for values in zip(*columns, strict=True):
                yield {**environment, alias: dict(zip(names, values, strict=True))}

        return unnest
    raise Unknown(source.sql("postgres"))


def _condition(node: Node | None) -> Callable[[dict[str, Row]], bool]:
    if node is None:
        return lambda environment: True
    value = _value(node.this)
    return lambda environment: value(environment) is True


def _session(environment: dict[str, Row]) -> Session:
    return environment[PARAMETERS][PARAMETERS]


def _sortable(value: Any) -> tuple[bool, Any]:
    return value is None, value


def _unaliased(node: Node) -> Node:
    return node.this if isinstance(node, exp.Alias) else node


# --- values


_MERGES: dict[type[Any], Callable[[list[Any]], Any]] = {exp.Sum: sum, exp.Min: min, exp.Max: max}


def _aggregate(node: Node) -> Callable[[list[dict[str, Row]]], Any]:
    if isinstance(node, exp.AggFunc):
        value = _value(node.this)
        merge = _MERGES[type(node)]

        def aggregate(members: list[dict[str, Row]]) -> Any:
            known = [v for inner in members if (v := value(inner)) is not None]
            return merge(known) if known else None

        return aggregate
    if not node.find(exp.AggFunc):
        value = _value(node)
        return lambda members: value(members[0])
    parts = [_aggregate(part) for part in node.find_all(exp.AggFunc)]
    names = [f"aggregate{i}" for i in range(len(parts))]
    rest = node.copy()
    for name, part in zip(names, list(rest.find_all(exp.AggFunc)), strict=True):
        part.replace(exp.column(name, table=PARAMETERS))
    outer = _value(rest)
    return lambda members: outer({PARAMETERS: dict(zip(names, (part(members) for part in parts), strict=True))})


def _null_safe(operation: Callable[[Any, Any], Any]) -> Callable[[Value, Value], Value]:
    def make(left: Value, right: Value) -> Value:
        def value(environment: dict[str, Row]) -> Any:
            a, b = left(environment), right(environment)
            return None if a is None or b is None else operation(a, b)

        return value

    return make


def _greater(a: Any, b: Any) -> bool | None:
    """Of numbers, or of rows: by their first elements that differ, unknown where one of those is."""
    if not isinstance(a, tuple):
        return a > b
    row = cast(tuple[Any, ...], a)
    for x, y in zip(row, b, strict=True):
        if x is None or y is None:
            return None
        if x != y:
            return x > y
    return False


_BINARY: dict[type[Any], Callable[[Value, Value], Value]] = {
    exp.Add: _null_safe(lambda a, b: a + b),
    exp.Sub: _null_safe(lambda a, b: a - b),
    exp.Mul: _null_safe(lambda a, b: a * b),
    exp.DPipe: _null_safe(lambda a, b: [*a, *b]),
    exp.EQ: _null_safe(lambda a, b: a == b),
    exp.NEQ: _null_safe(lambda a, b: a != b),
    exp.GT: _null_safe(_greater),
    exp.GTE: _null_safe(lambda a, b: a >= b),
    exp.LT: _null_safe(lambda a, b: a < b),
    exp.LTE: _null_safe(lambda a, b: a <= b),
    exp.Like: _null_safe(lambda a, b: re.fullmatch(re.escape(b).replace("%", ".*"), a, re.DOTALL) is not None),
}


def _connective(decisive: bool) -> Callable[[Value, Value], Value]:
    """AND where false decides, OR where true does; null where neither decides and one side is null."""

    def combined(left: Value, right: Value) -> Value:
        def value(environment: dict[str, Row]) -> bool | None:
            a = left(environment)
            if a is decisive:
                return decisive
            b = right(environment)
            return decisive if b is decisive else (None if a is None or b is None else not decisive)

        return value

    return combined


_and, _or = _connective(decisive=False), _connective(decisive=True)


def _value(node: Node) -> Value:
    kind = cast(type[Any], type(node))
    if kind in _BINARY:
        return _BINARY[kind](_value(node.this), _value(node.expression))
    make = _VALUES.get(kind)
    if make is None:
        raise Unknown(f"{kind.__name__}: {node.sql('postgres')}")
    return make(node)


def _column(node: Node) -> Value:
    name, table = node.name, node.args["table"].name if node.args.get("table") else None
    if table is not None:
        return lambda environment: environment[table][name]
    if name == "current_user":
        return lambda environment: "worker"

    def value(environment: dict[str, Row]) -> Any:
        for alias, row in environment.items():
            if alias != PARAMETERS and name in row:
                return row[name]
        raise Unknown(f"column {name}")

    return value


def _literal(node: Node) -> Value:
    text = str(node.this)
    if text == "{}":
        return lambda environment: []
    constant: Any = text if node.args.get("is_string") else int(text)
    return lambda environment: constant


def _cast(node: Node) -> Value:
    to: str = node.args["to"].this.value
    inner = _value(node.this)
    if to == "TIMESTAMPTZ":
        return lambda environment: {"epoch": 0}[inner(environment)]
    if to == "INTERVAL":
        return lambda environment: _interval_ms(*inner(environment).split())
    if to in ("BIGINT", "INT"):

        def whole(environment: dict[str, Row]) -> int | None:
            value = inner(environment)
            return None if value is None else round(value)

        return whole
    if to in ("ARRAY", "TEXT", "DOUBLE"):
        return inner
    raise Unknown(f"cast to {to}")


def _interval_ms(count: str, unit: str) -> int:
    return int(count) * _UNITS_MS[unit.lower().rstrip("s")]


def _interval(node: Node) -> Value:
    constant = _interval_ms(str(node.this.this), node.args["unit"].name)
    return lambda environment: constant


def _date_bin(node: Node) -> Value:
    width, at = _value(node.this), _value(node.expression)
    return lambda environment: at(environment) // width(environment) * width(environment)


def _trunc(node: Node) -> Value:
    at, width = _value(node.this), _UNITS_MS[node.args["unit"].name.lower()]
    return lambda environment: at(environment) // width * width


def _extract(node: Node) -> Value:
    if node.this.name.lower() != "epoch":
        raise Unknown(node.sql("postgres"))
    at = _value(node.expression)

    def seconds(environment: dict[str, Row]) -> float | None:
        ms = at(environment)
        return None if ms is None else ms / 1000

    return seconds


def _coalesce(node: Node) -> Value:
    values = [_value(node.this), *map(_value, node.expressions)]
    return lambda environment: next((v for value in values if (v := value(environment)) is not None), None)


def _extreme(of: Callable[[list[Any]], Any]) -> Callable[[Node], Value]:
    def make(node: Node) -> Value:
        values = [_value(node.this), *map(_value, node.expressions)]

        def value(environment: dict[str, Row]) -> Any:
            known = [v for value in values if (v := value(environment)) is not None]
            return of(known) if known else None

        return value

    return make


def _case(node: Node) -> Value:
    branches = [(_value(b.this), _value(b.args["true"])) for b in node.args["ifs"]]
    otherwise = _value(node.args["default"])

    def value(environment: dict[str, Row]) -> Any:
        for condition, then in branches:
            if condition(environment) is True:
                return then(environment)
        return otherwise(environment)

    return value


def _is(node: Node) -> Value:
    left = _value(node.this)
    if not isinstance(node.expression, exp.Null):
        raise Unknown(node.sql("postgres"))
    return lambda environment: left(environment) is None


def _not(node: Node) -> Value:
    inner = _value(node.this)

    def value(environment: dict[str, Row]) -> bool | None:
        found = inner(environment)
        return None if found is None else not found

    return value


def _in(node: Node) -> Value:
    query = node.args.get("query")
    left = _value(node.this)
    if query is None:
        raise Unknown(node.sql("postgres"))
    members = _query(query)
    name = f"{PARAMETERS}{query.sql('postgres')}"

    def value(environment: dict[str, Row]) -> bool:
        # asked once in each run of a statement, whose parameters these are
        given = environment[PARAMETERS]
        if name not in given:
            given[name] = {row[0] for row in members(_session(environment), given).rows}
        return left(environment) in given[name]

    return value


def _array(node: Node) -> Value:
    if len(node.expressions) == 1 and isinstance(node.expressions[0], exp.Select):
        selecting = _select(node.expressions[0])
        return lambda environment: [row[0] for row in selecting(environment)]
    values = list(map(_value, node.expressions))
    return lambda environment: [value(environment) for value in values]


def _tuple(node: Node) -> Value:
    values = list(map(_value, node.expressions))
    return lambda environment: tuple(value(environment) for value in values)


def _split(node: Node) -> Value:
    text, by = _value(node.this), _value(node.expression)

    def value(environment: dict[str, Row]) -> list[str]:
        found = text(environment)
        return found.split(by(environment)) if found else []

    return value


def _function(node: Node) -> Value:
    name, arguments = str(node.this), list(map(_value, node.expressions))
    return lambda environment: _session(environment).call(name, [a(environment) for a in arguments])


_VALUES: dict[type[Any], Callable[[Node], Value]] = {
    exp.Column: _column,
    exp.Literal: _literal,
    exp.Placeholder: lambda node: lambda environment: environment[PARAMETERS][node.name],
    exp.Null: lambda node: lambda environment: None,
    exp.Boolean: lambda node: lambda environment: node.this,
    exp.Paren: lambda node: _value(node.this),
    exp.And: lambda node: _and(_value(node.this), _value(node.expression)),
    exp.Or: lambda node: _or(_value(node.this), _value(node.expression)),
    exp.Not: _not,
    exp.Is: _is,
    exp.In: _in,
    exp.Cast: _cast,
    exp.Interval: _interval,
    exp.CurrentTimestamp: lambda node: lambda environment: _session(environment).now_ms(),
    exp.CurrentUser: lambda node: lambda environment: "worker",
    exp.DateBin: _date_bin,
    exp.TimestampTrunc: _trunc,
    exp.Extract: _extract,
    exp.Coalesce: _coalesce,
    exp.Greatest: _extreme(max),
    exp.Least: _extreme(min),
    exp.Case: _case,
    exp.Array: _array,
    exp.Tuple: _tuple,
    exp.StringToArray: _split,
    exp.Chr: lambda node: lambda environment: chr(int(node.expressions[0].name)),
    exp.Anonymous: _function,
}
