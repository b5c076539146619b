"""A contract's field types as polars columns."""

from typing import Any

import polars as pl

from streamgauge.contract.model import MAX_UNRULED_TEXT

POLARS_TYPES: dict[str, Any] = {
    "string": pl.String,
    "int": pl.Int32,
    "long": pl.Int64,
    "double": pl.Float64,
    "boolean": pl.Boolean,
    "timestamp-millis": pl.Datetime("ms", "UTC"),
    "map<string,string>": pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
}


def map_value(value: pl.Expr) -> pl.Expr:
    """The value of a map's key as everything that is made of events has it: no rule bounds it, and Postgres takes no
    NUL in a text.
    """
    return value.str.head(MAX_UNRULED_TEXT).str.replace_all("\0", "\ufffd", literal=True)
