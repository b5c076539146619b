"""What a rebuild moves in a partition's counters.

Late events become counted ones. The sum of counted, late and duplicates never changes, so the stream's accounts add up
before and after; rows that had been damaged are put right and leave the counters, which were right, alone.
"""

from dataclasses import dataclass

import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.rollup.plan import MINUTE


@dataclass(frozen=True)
class Moved:
    """Added to the partition's counters. `repaired` counts the rows that did not hold their records' number."""

    counted: int
    late: int
    duplicates: int
    repaired: int


def moved(contract: Contract, before: pl.DataFrame, after: pl.DataFrame) -> Moved:
    """Both have a minute, the dimensions, `count`, `late` and `duplicates`."""
    counters = ["count", "late", "duplicates"]
    keys = [MINUTE, *contract.dimension_names]
    rows = before.select(*keys, *counters).join(
        after.select(*keys, *counters), on=keys, how="full", coalesce=True, suffix="_after"
    )
    rows = rows.with_columns(pl.col(*counters, *(f"{c}_after" for c in counters)).fill_null(0))
    held = pl.sum_horizontal(counters)
    records = pl.sum_horizontal(f"{c}_after" for c in counters)
    sound = rows.filter(held == records)
    # of a damaged row its late events are taken as they stand, as far as there can be so many
    late = pl.when(held == records).then("late").otherwise(pl.min_horizontal("late", "count_after"))
    left_late = int(rows.select(late.sum()).item())
    duplicates = int(sound.select((pl.col("duplicates_after") - pl.col("duplicates")).sum()).item())
    return Moved(left_late - duplicates, -left_late, duplicates, rows.height - sound.height)
