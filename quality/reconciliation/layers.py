"""A stream's minutes as each layer tells them: a row per minute and dimensions, with the figures that compare.

Sketches are left out: they are estimates, and are made of the same events that the figures here are counts of.
"""

from collections.abc import Sequence

import polars as pl

from streamgauge.contract.measures import StoredColumn
from streamgauge.contract.model import Contract
from streamgauge.rollup.enrich import REFERENCE
from streamgauge.rollup.measure_kinds import rolled
from streamgauge.rollup.plan import COUNTED, DUPLICATE, LATE, MINUTE, TIME, RollupPlan
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.stores.owning_hour import INGEST_TIME

MINUTE_TYPE = pl.Datetime("us", "UTC")
EVENT_ID, CAME_IN, DUPLICATES = "__event_id", "__came_in", "duplicates"


def figures(contract: Contract) -> list[str]:
    return ["count", *(c.name for c in compared(contract))]


def compared(contract: Contract) -> list[StoredColumn]:
    """The columns of measures that hold no sketches."""
    return [c for c in contract.rollup.columns if c.merge]


def bucket_columns(contract: Contract) -> list[str]:
    return [MINUTE, *contract.dimension_names]


def schema(contract: Contract, counters: Sequence[str]) -> pl.Schema:
    """`counters`: count and, as far as the layer knows them, late and duplicates."""
    columns: dict[str, pl.DataType] = {MINUTE: MINUTE_TYPE}
    columns |= dict.fromkeys(contract.dimension_names, pl.String())
    columns |= dict.fromkeys(counters, pl.Int64())
    columns |= {c.name: c.polars for c in compared(contract)}
    return pl.Schema(columns)


SPEED_COUNTERS = ("count", "late", DUPLICATES)
BATCH_COUNTERS = ("count", DUPLICATES)


def valued(contract: Contract, pseudonyms: Pseudonyms, facts: pl.LazyFrame) -> pl.LazyFrame:
    """Each fact's or duplicate's bucket, time, numbers, event id and ingest time, by the plan that the worker rolls up
    by.
    """
    reference = contract.reference
    held = facts.rename({c: REFERENCE + c for c in reference.columns}) if reference else facts
    verdicts = (pl.lit(True).alias(COUNTED), pl.lit(False).alias(LATE), pl.lit(False).alias(DUPLICATE))
    named = (pl.col(contract.event_id).alias(EVENT_ID), pl.col(INGEST_TIME).alias(CAME_IN))
    return (
        RollupPlan(contract, pseudonyms)
        .inputs(held.with_columns(verdicts), *named)
        .select(
            pl.col(MINUTE).cast(pl.Datetime("ms", "UTC")).cast(MINUTE_TYPE),
            *contract.dimension_names,
            TIME,
            *(m.name for m in contract.rollup.numbered),
            EVENT_ID,
            CAME_IN,
        )
    )


def rolled_up(
    contract: Contract, pseudonyms: Pseudonyms, facts: pl.LazyFrame, duplicates: pl.LazyFrame
) -> pl.LazyFrame:
    """The batch layer's minutes, made again from what the lake holds."""
    keys = bucket_columns(contract)
    aggregates: list[pl.Expr] = [pl.len().cast(pl.Int64).alias("count")]
    for m in contract.rollup.numbered:
        aggregates += rolled(m, pl.col(m.name), pl.col(TIME))
    counted = valued(contract, pseudonyms, facts).group_by(keys).agg(aggregates)
    left_out = valued(contract, pseudonyms, duplicates).group_by(keys).agg(pl.len().cast(pl.Int64).alias(DUPLICATES))
    wanted = schema(contract, BATCH_COUNTERS)
    joined = counted.join(left_out, on=keys, how="full", coalesce=True)
    zero = [*BATCH_COUNTERS, *(c.name for c in compared(contract) if c.counter)]
    return joined.with_columns(pl.col(zero).fill_null(0)).select(pl.col(n).cast(t) for n, t in wanted.items())
