"""What the lake holds of the buckets that differ: sample event ids and single values."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from quality.reconciliation.compare import SAMPLES, Bucket
from quality.reconciliation.evidence import Evidence, Values
from quality.reconciliation.layers import CAME_IN, EVENT_ID, bucket_columns, valued
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import hour_start
from streamgauge.rollup.plan import TIME
from streamgauge.rollup.pseudonyms import Pseudonyms


@dataclass(frozen=True)
class Gathered:
    evidence: dict[Bucket, Evidence]
    came_in: dict[datetime, datetime]
    """When the first of these facts came in, by hour."""


def gather(
    contract: Contract,
    pseudonyms: Pseudonyms,
    facts: pl.LazyFrame,
    duplicates: pl.LazyFrame,
    differing: pl.DataFrame,
) -> Gathered:
    keys = bucket_columns(contract)
    width = len(keys) - 1
    measures = [m.name for m in contract.rollup.numbered]
    wanted = differing.select(keys).lazy()
    values = [pl.struct(pl.col(m), pl.col(TIME)).filter(pl.col(m).is_not_null()).sort().alias(m) for m in measures]

    def of(layer: pl.LazyFrame) -> pl.DataFrame:
        rows = valued(contract, pseudonyms, layer).join(wanted, on=keys, how="semi")
        ids = pl.col(EVENT_ID).head(SAMPLES)
        return rows.group_by(keys).agg(*values, ids, pl.col(CAME_IN).min()).collect(engine="streaming")

    left_out = {(r[0], r[1 : 1 + width]): r[1 + width :] for r in of(duplicates).iter_rows()}
    evidence: dict[Bucket, Evidence] = {}
    came_in: dict[datetime, datetime] = {}
    for row in of(facts).iter_rows():
        minute, bucket = row[0], (row[0], row[1 : 1 + width])
        *lists, ids, first = row[1 + width :]
        others = left_out.pop(bucket, ())
        evidence[bucket] = Evidence(tuple(ids), _named(measures, lists), _named(measures, others))
        hour = hour_start(minute)
        came_in[hour] = min(came_in.get(hour, first), first)
    for bucket, (*lists, ids, _) in left_out.items():
        evidence[bucket] = Evidence(tuple(ids), {}, _named(measures, lists))
    return Gathered(evidence, came_in)


def _named(measures: Sequence[str], lists: Sequence[list[dict[str, Any]]]) -> dict[str, Values]:
    return {
        m: Values([pair[m] for pair in pairs], [pair[TIME] for pair in pairs])
        for m, pairs in zip(measures, lists, strict=False)
    }
