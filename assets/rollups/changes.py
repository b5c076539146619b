"""Whether an hour's published numbers change, and why: a final number never changes without a word."""

from collections.abc import Callable

import polars as pl

from assets.rollups.roll import COUNTS, START
from streamgauge.contract.model import Contract
from streamgauge.rollup import sketches

_TOLERANCE = 1e-9
"""Sums of floats hang on their order."""
_DISTINCT = 0.05
"""An estimate hangs on the order too: three standard errors."""


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
    exact = [*COUNTS, *(f"{m.name}_n" for m in contract.rollup.measures)]
    exact += [f"{m.name}_{part}" for m in contract.rollup.measures for part in ("min", "max")]
    differs = [pl.col(c).ne_missing(pl.col(f"{c}_after")) for c in exact]
    for m in contract.rollup.measures:
        old, new = pl.col(f"{m.name}_sum").fill_null(0.0), pl.col(f"{m.name}_sum_after").fill_null(0.0)
        differs.append((old - new).abs() > _TOLERANCE * pl.max_horizontal(old.abs(), new.abs(), 1.0))
    for d in contract.rollup.distinct:
        old, new = (_estimate(f"{d.name}_hll{suffix}") for suffix in ("", "_after"))
        differs.append((old - new).abs() > pl.max_horizontal(0.5, _DISTINCT * old))
    return joined.filter(pl.any_horizontal(differs)).height


def _estimate(column: str) -> pl.Expr:
    estimate: Callable[[bytes], float] = lambda dumped: sketches.load_hll(dumped).get_estimate()  # noqa: E731
    return pl.col(column).map_elements(estimate, return_dtype=pl.Float64).fill_null(0.0)
