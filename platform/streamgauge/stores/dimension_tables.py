"""The columns of a dimension's table in the lake."""

from typing import Any

import polars as pl

from streamgauge.stores.fact_tables import key_column

VALID_FROM, VALID_TO, IS_CURRENT = "valid_from", "valid_to", "is_current"
MICROSECONDS = pl.Datetime("us", "UTC")


def member_schema(dimension: str, attributes: tuple[str, ...]) -> pl.Schema:
    """A row for each member; with attributes, for each version of it."""
    columns: dict[str, Any] = {key_column(dimension): pl.Int64(), dimension: pl.String()}
    if attributes:
        columns |= dict.fromkeys(attributes, pl.String())
        columns |= {VALID_FROM: MICROSECONDS, VALID_TO: MICROSECONDS, IS_CURRENT: pl.Boolean()}
    return pl.Schema(columns)
