"""Events as a polars frame in the contract's types, and which of them break the contract."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

import numpy as np
import polars as pl
import pyarrow  # pyright: ignore[reportMissingTypeStubs]

from streamgauge.contract.columns import POLARS_TYPES
from streamgauge.contract.model import Contract, FieldSpec
from streamgauge.contract.rules import violations

_pyarrow: Any = pyarrow
_from_arrow: Any = pl.from_arrow  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
_INT_BITS = {"int": 31, "long": 63, "timestamp-millis": 63}
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclass(frozen=True)
class Broken:
    """An event that may not be sent. `rule` holds no value of it."""

    row: int
    rule: str


def frame_schema(contract: Contract) -> dict[str, Any]:
    return {f.name: POLARS_TYPES[f.type] for f in contract.fields}


def frame_of(contract: Contract, events: Sequence[Mapping[str, Any]]) -> tuple[pl.DataFrame, list[Broken]]:
    """The events whose values have the contract's types, as a frame, and the others.

    A timestamp is given as epoch ms or as an aware datetime, a map as a dict. A field that is absent takes its default.
    """
    broken: list[Broken] = []
    columns: dict[str, list[Any]] = {f.name: [] for f in contract.fields}
    for row, event in enumerate(events):
        values = [_native(f, event.get(f.name, f.default)) for f in contract.fields]
        wrong = next((f for f, v in zip(contract.fields, values, strict=True) if not _fits(f, v)), None)
        if wrong is not None:
            broken.append(Broken(row, f"{wrong.name}: not a {wrong.type}"))
            continue
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    series = [maps(f.name, columns[f.name]) if f.is_map else _series(f, columns[f.name]) for f in contract.fields]
    return pl.DataFrame(series), broken


def maps(name: str, values: Sequence[Mapping[str, str] | None]) -> pl.Series:
    """A column of maps as lists of key and value; built flat, for row by row is forty times slower."""
    present = [v or {} for v in values]
    entries = pl.Series("", [k for v in present for k in v], pl.String).to_frame("key")
    entries = entries.with_columns(pl.Series("value", [t for v in present for t in v.values()], pl.String))
    lengths = np.fromiter(map(len, present), np.int64, len(present))
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    lists = _pyarrow.LargeListArray.from_arrays(offsets, entries.to_struct().to_arrow())
    nulls = pl.Series([v is None for v in values], dtype=pl.Boolean)
    series = cast(pl.Series, _from_arrow(lists)).alias(name)
    return pl.select(pl.when(~nulls).then(series).alias(name)).to_series() if nulls.any() else series


def _series(f: FieldSpec, values: list[Any]) -> pl.Series:
    return pl.Series(f.name, values, POLARS_TYPES[f.type], strict=True)


def breaches(contract: Contract, frame: pl.DataFrame) -> list[Broken]:
    """The events that break a rule of the contract, each with the first rule it breaks; rows as in `frame`."""
    rules = violations(contract)
    if not any(frame.select(r.anywhere.alias(str(i)) for i, r in enumerate(rules)).row(0)):
        return []
    flags = frame.select(r.expr.alias(str(i)) for i, r in enumerate(rules)).with_row_index("__row")
    bad = flags.filter(pl.any_horizontal(pl.exclude("__row")))
    return [Broken(row, rules[broke.index(True)].name) for row, *broke in bad.iter_rows()]


def _native(f: FieldSpec, value: Any) -> Any:
    """A timestamp as epoch ms; everything else as it is."""
    if f.type == "timestamp-millis" and isinstance(value, datetime) and value.tzinfo is not None:
        return (value - _EPOCH) // timedelta(milliseconds=1)
    return value


def _fits(f: FieldSpec, value: Any) -> bool:
    if value is None:
        return True
    match f.type:
        case "string":
            return isinstance(value, str) and _encodable(value)
        case "boolean":
            return isinstance(value, bool)
        case "double":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "map<string,string>":
            return isinstance(value, Mapping) and all(
                isinstance(t, str) and _encodable(t) for entry in cast(Mapping[Any, Any], value).items() for t in entry
            )
        case _:
            bits = _INT_BITS[f.type]
            return isinstance(value, int) and not isinstance(value, bool) and -(1 << bits) <= value < 1 << bits


def _encodable(text: str) -> bool:
    """JSON may hold half a surrogate pair, which UTF-8 can't."""
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)
