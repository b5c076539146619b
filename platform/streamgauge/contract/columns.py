"""A contract's field types as polars columns."""

from typing import Any

import polars as pl

POLARS_TYPES: dict[str, Any] = {
    "string": pl.String,
    "int": pl.Int32,
    "long": pl.Int64,
    "double": pl.Float64,
    "boolean": pl.Boolean,
    "timestamp-millis": pl.Datetime("ms", "UTC"),
    "map<string,string>": pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
}
