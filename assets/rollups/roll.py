"""From facts to rollups by minute, hour and day. Frames in, frames out.

Minutes are made from facts; every longer window is a merge of shorter ones, so its counts and sums are theirs added
up, and its sketches theirs merged.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from streamgauge.contract.measures import counter
from streamgauge.contract.model import Contract
from streamgauge.rollup import sketches
from streamgauge.rollup.enrich import REFERENCE
from streamgauge.rollup.measure_kinds import merged_sketches, merging
from streamgauge.rollup.plan import COUNTED, DUPLICATE, LATE, MINUTE, PARTITION, RollupPlan
from streamgauge.rollup.sketched import sketched_minutes, sketched_tops
from streamgauge.stores.lake import MILLISECONDS
from streamgauge.stores.rollup_tables import COUNTS, START, window_schema

TOP, SKETCH = "top", "sketch"


@dataclass(frozen=True)
class Windows:
    """`rows`: as the tables of windows have them. `tops`: `window_start`, `top` and `sketch`."""

    rows: pl.DataFrame
    tops: pl.DataFrame


def source_columns(contract: Contract) -> list[str]:
    """What of the facts a rollup reads."""
    parts = [read.partition(".") for read in contract.rollup_reads]
    read = [tail if head == "reference" else head for head, _, tail in parts]
    return list(dict.fromkeys((contract.event_time, *read)))


def minutes(contract: Contract, facts: pl.DataFrame, duplicates: pl.DataFrame) -> Windows:
    """Duplicates count in their own minute and dimensions, as the speed layer counts them."""
    named = {c: REFERENCE + c for c in (contract.reference.columns if contract.reference else ()) if c in facts.columns}
    classified = pl.concat((_as(facts, COUNTED), _as(duplicates, DUPLICATE))).rename(named)
    # the plan is of one partition's events: here all are one
    rolled = RollupPlan(contract).roll_up(classified.with_columns(pl.lit(0, pl.Int64).alias(PARTITION)))
    started = pl.col(MINUTE).cast(MILLISECONDS).alias(START)
    rows = sketched_minutes(contract, rolled).with_columns(started).select(list(window_schema(contract)))
    tops = sketched_tops(contract, rolled).select(started, TOP, SKETCH)
    return Windows(rows, tops.sort(START, TOP))


def _as(events: pl.DataFrame, verdict: str) -> pl.DataFrame:
    return events.with_columns(pl.lit(v == verdict).alias(v) for v in (COUNTED, LATE, DUPLICATE))


def merged(contract: Contract, parts: Windows, size: str) -> Windows:
    """Windows of `size`, such as 1h or 1d, from shorter ones."""
    start = pl.col(START).dt.truncate(size)
    columns = [*map(counter, COUNTS), *contract.rollup.columns]
    keys = [START, *contract.dimension_names]
    # in the order of time: sums of floats are then the same each time
    ordered = parts.rows.sort(keys).with_columns(start)
    rows = ordered.group_by(keys, maintain_order=True).agg(c.merged() for c in columns)
    rows = rows.with_columns(merged_sketches(contract.rollup)).sort(keys)
    tops = parts.tops.sort(START, TOP).with_columns(start).group_by(START, TOP, maintain_order=True)
    return Windows(
        rows.select(pl.col(n).cast(t) for n, t in window_schema(contract).items()),
        tops.agg(SKETCH).with_columns(merging(SKETCH, _merged_frequent)).sort(START, TOP),
    )


def _merged_frequent(dumped: Iterable[bytes]) -> bytes:
    return sketches.dump_frequent(sketches.merge_frequent(map(sketches.load_frequent, dumped)))
