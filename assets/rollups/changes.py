"""Whether an hour's published numbers change, and why: a final number never changes without a word."""

import polars as pl

from streamgauge.contract.measures import counter
from streamgauge.contract.model import Contract
from streamgauge.rollup.measure_kinds import Sketch, sketched
from streamgauge.stores.rollup_tables import COUNTS, START

_TOLERANCE = 1e-9
"""Sums of floats hang on their order."""


def change(contract: Contract, before: pl.DataFrame, after: pl.DataFrame) -> str | None:
    """In words, from the minute rows of one hour; None where every number is the same."""
    facts = _sum(after, "count") - _sum(before, "count")
    if facts > 0:
        return f"{facts} {_events(facts)} came after the hour was final"
    if facts < 0:
        return f"{-facts} {_events(-facts)} fewer than before"
    buckets = _differing(contract, before, after)
    return f"other values in {buckets} {'bucket' if buckets == 1 else 'buckets'}" if buckets else None


def _events(n: int) -> str:
    return "event" if n == 1 else "events"


def _sum(rows: pl.DataFrame, column: str) -> int:
    return int(rows[column].sum())


def _differing(contract: Contract, before: pl.DataFrame, after: pl.DataFrame) -> int:
    keys = [START, *contract.dimension_names]
    joined = before.join(after, on=keys, how="full", suffix="_after", coalesce=True)
    differs: list[pl.Expr] = []
    for column in (*map(counter, COUNTS), *contract.rollup.columns):
        old, new = pl.col(column.name), pl.col(f"{column.name}_after")
        if column.rounded:
            old, new = old.fill_null(0.0), new.fill_null(0.0)
            differs.append((old - new).abs() > _TOLERANCE * pl.max_horizontal(old.abs(), new.abs(), 1.0))
        elif column.merge:
            differs.append(old.ne_missing(new))
    for _, column, sketch in sketched(contract.rollup.measured):
        if sketch.tolerance is not None:
            old, new = (_estimate(f"{column.name}{suffix}", sketch) for suffix in ("", "_after"))
            differs.append((old - new).abs() > pl.max_horizontal(0.5, sketch.tolerance * old))
    return joined.filter(pl.any_horizontal(differs)).height


def _estimate(column: str, sketch: Sketch) -> pl.Expr:
    def first(dumped: bytes) -> float | None:
        return sketch.read(dumped)[0][0]

    return pl.col(column).map_elements(first, return_dtype=pl.Float64).fill_null(0.0)
