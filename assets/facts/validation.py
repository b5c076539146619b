"""What becomes of the lake's records: fact, duplicate or quarantine. Frames in, frames out.

A record is a duplicate if one that came earlier, by (ingest time, partition, offset), is valid too, has the same event
id, and happened within the contract's duplicate horizon of it. The verdict hangs on nothing else, so it is the same
whichever hours are built together, and in whatever order.
"""

from dataclasses import dataclass
from datetime import date

import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.contract.rules import violations
from streamgauge.stores.fact_tables import RULE
from streamgauge.stores.lake import ERROR, INGEST_HOUR, INGEST_TIME, OFFSET, PARTITION
from streamgauge.stores.owning_hour import future, start_ms

_POSITION = (PARTITION, OFFSET)
FUTURE, TOO_OLD = "future", "before the batch layer's first day"
_ID, _AT, _ORDER, _FIRST = "__id", "__at", "__order", "__first"


@dataclass(frozen=True)
class Validated:
    """`valid` has all of the lake's columns; `broken` has them and the failed `rule`."""

    valid: pl.DataFrame
    broken: pl.DataFrame


class Rules:
    """The worker's verdict on a record by itself: an error of decoding, then the contract's rules, then the future."""

    def __init__(self, contract: Contract, start: date) -> None:
        rules = violations(contract)
        ahead = future(contract).fill_null(False)
        # the worker has no first day; the record is kept, and is a fact once the batch layer begins earlier
        old = (pl.col(contract.event_time).to_physical() < start_ms(start)).fill_null(False)
        self._broken = pl.any_horizontal(pl.col(ERROR).is_not_null(), *(r.expr for r in rules), ahead, old)
        named = [pl.when(r.expr).then(pl.lit(r.name)) for r in rules]
        last = [pl.when(ahead).then(pl.lit(FUTURE)), pl.when(old).then(pl.lit(TOO_OLD))]
        self._rule = pl.coalesce(pl.col(ERROR), *named, *last).alias(RULE)

    def valid(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.filter(~self._broken)

    def validate(self, rows: pl.DataFrame) -> Validated:
        broken = rows.select(self._broken.alias(RULE)).to_series()
        if not broken.any():
            return Validated(rows, rows.clear().with_columns(pl.lit(None, pl.String).alias(RULE)))
        return Validated(rows.filter(~broken), rows.filter(broken).with_columns(self._rule))


def arrival(contract: Contract) -> tuple[str, ...]:
    """What orders records as they came. Where producers say the time, it may go back within a partition; the hours of
    the lake don't.
    """
    return (INGEST_TIME if contract.source is None else INGEST_HOUR, *_POSITION)


def split_duplicates(
    valid: pl.DataFrame, neighbours: pl.DataFrame, contract: Contract
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The facts and the duplicates among `valid`. `neighbours` are the valid records of the hours around: of them only
    event id, event time and the columns of `arrival` are looked at.
    """
    slim = [
        pl.col(contract.event_id).alias(_ID),
        pl.col(contract.event_time).to_physical().alias(_AT),
        *arrival(contract),
    ]
    known = pl.concat((valid.select(slim), neighbours.select(slim)))
    # hashes first: nearly no event id comes twice, and comparing texts is what costs
    candidates = known.filter(known[_ID].hash().is_duplicated())
    if candidates.is_empty():
        return valid, valid.clear()
    ordered = candidates.sort(arrival(contract)).with_row_index(_ORDER)
    firsts = ordered.group_by(_ID, _AT).agg(pl.col(_ORDER).min()).sort(_ID, _AT)
    horizon = contract.time.duplicateHorizonSeconds * 1000
    nearest = firsts.rolling(_AT, period=f"{2 * horizon}i", offset=f"{-horizon}i", closed="both", group_by=_ID).agg(
        pl.col(_ORDER).min().alias(_FIRST)
    )
    repeated = ordered.join(nearest, on=[_ID, _AT], how="left").filter(pl.col(_FIRST) < pl.col(_ORDER))
    position = list(_POSITION)
    return (
        valid.join(repeated, on=position, how="anti", maintain_order="left"),
        valid.join(repeated, on=position, how="semi", maintain_order="left"),
    )
