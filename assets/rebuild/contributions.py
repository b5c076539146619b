"""What one partition's records add to its minute rollups, computed anew: late events are counted like all others."""

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from assets.dims.history import History
from streamgauge.contract.model import Contract
from streamgauge.rollup.plan import COUNTED, DUPLICATE, LATE, RollupPlan
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.rollup.sketched import sketched_minutes, sketched_tops
from streamgauge.stores.lake import OFFSET, PARTITION


@dataclass(frozen=True)
class Contributions:
    """Rows as in the minutes and top tables, `minute` in epoch ms, without `upto`."""

    minutes: pl.DataFrame
    tops: pl.DataFrame


def contributions(
    contract: Contract,
    pseudonyms: Pseudonyms,
    records: pl.DataFrame,
    start: datetime,
    end: datetime,
    history: History | None,
) -> Contributions:
    """`records`: those of one partition that the worker took as valid, for the minutes from `start` up to `end`, and
    as far around them as the contract remembers event ids. Attributes are as of their ingest time, as facts have them.
    """
    repeated = duplicates(contract, records)
    at = pl.col(contract.event_time)
    classified = records.with_columns(
        pl.col(OFFSET).is_in(repeated.implode()).alias(DUPLICATE), pl.lit(False).alias(LATE)
    ).filter(at >= start, at < end)
    classified = classified.with_columns((~pl.col(DUPLICATE)).alias(COUNTED), pl.col(PARTITION).cast(pl.Int64))
    rolled = RollupPlan(contract, pseudonyms).roll_up(history.enrich(classified) if history else classified)
    return Contributions(sketched_minutes(contract, rolled), sketched_tops(contract, rolled))


def duplicates(contract: Contract, records: pl.DataFrame) -> pl.Series:
    """Offsets of the records before which another with the same event id came, its event time within the contract's
    horizon.
    """
    name, at = contract.event_id, contract.event_time
    rows = records.select(name, pl.col(at).to_physical().alias("at"), OFFSET).sort(OFFSET)
    again = pl.struct(name, "at").is_first_distinct().not_()
    same = rows.filter(again)[OFFSET]
    first = rows.filter(~again)
    # another event time under the same id is rare: only such ids are joined with themselves
    several = first.filter(pl.len().over(name) > 1)
    pairs = several.join(several, on=name, suffix="_other")
    horizon = contract.time.duplicateHorizonSeconds * 1000
    near = pairs.filter(
        pl.col(f"{OFFSET}_other") < pl.col(OFFSET), (pl.col("at") - pl.col("at_other")).abs() <= horizon
    )
    return pl.concat([same, near[OFFSET].unique()])
