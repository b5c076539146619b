"""What an expression may name: a contract's fields, the keys of its maps, its reference's columns, and other derived
fields.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import polars as pl

from streamgauge.contract.columns import map_value
from streamgauge.contract.model import (
    MAX_UNRULED_TEXT,
    Expression,
    FieldSpec,
    ReferenceSpec,
    ValueType,
)
from streamgauge.expression.parse import ExpressionError
from streamgauge.expression.values import Value, finite

_DERIVED = "__derived_"
_NEAR = 0.81
"""Below it, names have little more in common than letters."""
_MILLISECONDS = pl.Datetime("ms", "UTC")


def derived_column(name: str) -> str:
    """Of the frame in which a derived field is computed, so that it never meets a column of the lake."""
    return _DERIVED + name


@dataclass(frozen=True)
class Scope:
    """In the frame of an expression each name is a column: as contracts write it, or `derived_column` of it."""

    fields: Mapping[str, FieldSpec]
    reference: ReferenceSpec | None
    derived: Mapping[str, Expression]

    def find(self, head: str, tail: str | None) -> Value:
        """`head.tail`, or `head` alone. Raises ExpressionError."""
        if tail is None and head in self.derived:
            built = self.derived[head]
            return Value(pl.col(derived_column(head)), built.type, built.max_length)
        if head == "reference" and self.reference is not None:
            if tail not in self.reference.columns:
                raise ExpressionError(
                    f"reference.{tail or '...'} is no column of the reference{meant(tail, self.reference.columns)}"
                )
            return Value(pl.col(f"{head}.{tail}"), "string", MAX_UNRULED_TEXT)
        field = self.fields.get(head)
        if field is None:
            known = [*self.fields, *self.derived]
            raise ExpressionError(f'"{head}" is no field and no derived field{meant(head, known)}')
        if field.is_map != (tail is not None):
            wrong = "is a map: name one of its keys, as in" if field.is_map else "is no map:"
            raise ExpressionError(f'"{head}" {wrong} {head}{".key" if field.is_map else " has no keys"}')
        return _of_map(f"{head}.{tail}") if tail is not None else _of_field(field)


def _of_map(source: str) -> Value:
    return Value(map_value(pl.col(source)), "string", MAX_UNRULED_TEXT)


def _of_field(f: FieldSpec) -> Value:
    column = pl.col(f.name)
    match f.type:
        case "string":
            return Value(column, "string", max(map(len, f.allowed)) if f.allowed else f.max_length)
        case "int":
            return Value(column.cast(pl.Int64), "long")
        case "double":
            # what is not finite is no number to measures either
            return Value(finite(column), "double")
        case "timestamp-millis":
            # some layers keep microseconds
            return Value(column.cast(_MILLISECONDS), "timestamp-millis")
        case _:
            return Value(column, cast(ValueType, f.type))


def meant(name: str | None, known: Iterable[str]) -> str:
    """The known name that is nearest, as the end of a sentence."""
    names = list(known)
    near: Sequence[str] = [n for n in names if name is not None and n.lower() == name.lower()]
    near = near or difflib.get_close_matches(name or "", names, 1, _NEAR)
    return f"; did you mean {near[0]}?" if near else ""
