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
from streamgauge.rollup.plan import COUNTED, DUPLICATE, LATE, MINUTE, PARTITION, RollupPlan, Sources
from streamgauge.rollup.pseudonyms import Pseudonyms
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


def minutes(contract: Contract, pseudonyms: Pseudonyms, facts: pl.DataFrame, duplicates: pl.DataFrame) -> Windows:
    """Duplicates count in their own minute and dimensions, as the speed layer counts them."""
    classified = _enriched(contract, pl.concat((_as(facts, COUNTED), _as(duplicates, DUPLICATE))))
    # the plan is of one partition's events: here all are one
    whole = classified.with_columns(pl.lit(0, pl.Int64).alias(PARTITION))
    rolled = RollupPlan(contract, pseudonyms).roll_up(whole)
    started = pl.col(MINUTE).cast(MILLISECONDS).alias(START)
    rows = sketched_minutes(contract, rolled).with_columns(started).select(list(window_schema(contract)))
    tops = sketched_tops(contract, rolled).select(started, TOP, SKETCH)
    return Windows(rows, tops.sort(START, TOP))


def personal_values(contract: Contract, facts: pl.DataFrame, duplicates: pl.DataFrame) -> set[str]:
    """Those that are pseudonyms in the minutes and top lists of these events."""
    parts = [part for part in (*contract.rollup.dimensions, *contract.rollup.top) if contract.is_personal(part)]
    if not parts:
        return set()
    sources = Sources(contract, [read for part in parts for read in part.reads])
    events = sources.add(_enriched(contract, pl.concat((facts, duplicates))))
    return {v for part in parts for v in events.select(sources.text(part).unique()).to_series() if v is not None}


def _enriched(contract: Contract, events: pl.DataFrame) -> pl.DataFrame:
    """With the reference's columns as a plan knows them."""
    columns = contract.reference.columns if contract.reference else ()
    return events.rename({c: REFERENCE + c for c in columns if c in events.columns})


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
