"""The contract as a pandera schema: the second opinion on what the worker and the facts let through.

`streamgauge.contract.rules` says the same in plain polars for the hot path. The two are written apart and tested
against each other, so a slip in one of them is seen. pandera's own errors carry the failing values: they stay in here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import pandera.polars as pa
import polars as pl
from pandera.config import ValidationDepth, config_context
from pandera.errors import SchemaErrorReason, SchemaErrors

from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.model import Contract, FieldSpec, Together
from streamgauge.contract.rules import together_name
from streamgauge.contract.times import outside_rule

_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
_check: Any = pa.Check
"""Its built-in checks are made at run time, unseen by type checkers."""


@dataclass(frozen=True)
class Violation:
    """`rows`: which rows break the rule; None where the frame as a whole does, as with a column of another type."""

    rule: str
    rows: pl.Series | None
    failing: int


def schema_of(contract: Contract) -> pa.DataFrameSchema:
    """Columns that the contract doesn't know are no fault of a row: they are schema drift."""
    return pa.DataFrameSchema(
        {f.name: _column(f) for f in contract.fields},
        checks=[_together(rule) for rule in contract.together],
        strict=False,
        name=contract.stream,
    )


def violations_of(schema: pa.DataFrameSchema, frame: pl.DataFrame) -> list[Violation]:
    """Every rule that is broken, whatever pandera's environment says: with less depth it looks at types alone, as it
    does by itself with a LazyFrame, and lets every row pass.
    """
    found, frame = _outside(frame)
    try:
        with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        found += [_violation(e, frame.height) for e in errors.schema_errors]
    return found


def _outside(frame: pl.DataFrame) -> tuple[list[Violation], pl.DataFrame]:
    """Times that Python has none of, and the frame without them: its nearest stand there, for pandera converts all."""
    found: list[Violation] = []
    for name in frame.select(pl.col(pl.Datetime)).columns:
        within = frame[name].clip(_FIRST, _LAST)
        rows = (within.to_physical() != frame[name].to_physical()).fill_null(False)
        if rows.any():
            found.append(Violation(outside_rule(name), rows, int(rows.sum())))
            frame = frame.with_columns(within)
    return found, frame


def _violation(error: Any, height: int) -> Violation:
    column = getattr(error.schema, "name", None) or ""
    match error.reason_code:
        case SchemaErrorReason.SERIES_CONTAINS_NULLS:
            rule = f"{column}: missing"
        case SchemaErrorReason.WRONG_DATATYPE:
            return Violation(f"{column}: not of the contract's type", None, height)
        case SchemaErrorReason.COLUMN_NOT_IN_DATAFRAME:
            return Violation(f"{error.failure_cases}: no such column", None, height)
        case SchemaErrorReason.DATAFRAME_CHECK:
            rule = str(error.check.name)
        case _:
            # a check that could not be run; its message may quote a value
            return Violation(f"{column}: can't be checked", None, height)
    passed = cast(pl.Series, error.check_output.to_series()).fill_null(True)
    return Violation(rule, ~passed, height - int(passed.sum()))


def _column(f: FieldSpec) -> pa.Column:
    dtype = POLARS_TYPES[f.type]
    return pa.Column(
        dtype, nullable=not f.required or f.type == "double", checks=list(_column_checks(f)), required=True
    )


def _column_checks(f: FieldSpec) -> Iterator[Any]:
    value = pl.col(f.name)

    def named(rule: str) -> dict[str, Any]:
        return {"name": f"{f.name}: {rule}", "ignore_na": True}

    if f.required and f.type == "double":
        # pandera takes NaN for null; a reading may be missing or not a number, and these are two rules
        yield _holds(value.is_not_null(), f"{f.name}: missing")
    if f.finite:
        yield _holds(value.is_finite(), f"{f.name}: not a finite number")
    if f.type == "string":
        yield _holds(value.str.find("\0", literal=True).is_null(), f"{f.name}: holds a NUL character")
    if f.min_length is not None:
        yield _check.str_length(min_value=f.min_length, **named(f"shorter than {f.min_length}"))
    if f.max_length is not None:
        yield _check.str_length(max_value=f.max_length, **named(f"longer than {f.max_length}"))
    if f.pattern is not None:
        yield _check.str_contains(f.pattern, **named(f"doesn't match {f.pattern}"))
    if f.minimum is not None:
        yield _check.ge(_limit(f, f.minimum), **named(f"below {f.minimum:g}"))
    if f.maximum is not None:
        yield _check.le(_limit(f, f.maximum), **named(f"above {f.maximum:g}"))
    if f.allowed:
        yield _check.isin(list(f.allowed), **named("not an allowed value"))


def _limit(f: FieldSpec, bound: float) -> Any:
    return pl.lit(int(bound)).cast(POLARS_TYPES[f.type]) if f.type == "timestamp-millis" else bound


def _together(rule: Together) -> Any:
    count = pl.sum_horizontal(pl.col(name).is_not_null() for name in rule.fields)
    return _holds((count == 0) | (count == len(rule.fields)), together_name(rule))


def _holds(expr: pl.Expr, name: str) -> Any:
    """A check of our own; `expr` is null or true where the rule is kept."""

    def check(data: Any) -> Any:
        return data.lazyframe.select(expr.fill_null(True))

    return _check(check, name=name, ignore_na=False)
