"""Which hour answers for a record of the lake.

The lake names the hours that its new rows touch, and facts are built hour by hour: both must mean the same hour, or a
record is in no hour's build. A record whose event time can't be used (there is none, it breaks the contract, or it is
further ahead than the contract tolerates) belongs to the hour in which it came in; every other one to the hour in
which it happened.
"""

from datetime import UTC, date, datetime

import polars as pl

from streamgauge.contract.model import Contract

HOUR_MS = 3_600_000
INGEST_TIME = "ingest_time"
OWNING_HOUR_TYPE = pl.Datetime("ms", "UTC")


def owning_hour(contract: Contract, start: date) -> pl.Expr:
    """From the contract's event time and `ingest_time`, both in milliseconds. `start`: the batch layer's first day."""
    happened = pl.col(contract.event_time).to_physical()
    came_in = pl.col(INGEST_TIME).to_physical()
    chosen = pl.when(usable(contract, start)).then(happened).otherwise(came_in)
    return chosen.floordiv(HOUR_MS).mul(HOUR_MS).cast(OWNING_HOUR_TYPE)


def usable(contract: Contract, start: date) -> pl.Expr:
    """Never null. A record from before the batch layer's first day has no hour of its own either."""
    field = contract.field[contract.event_time]
    happened = pl.col(contract.event_time).to_physical()
    bounds = [happened >= start_ms(start), ~future(contract)]
    if field.minimum is not None:
        bounds.append(happened >= field.minimum)
    if field.maximum is not None:
        bounds.append(happened <= field.maximum)
    return pl.all_horizontal(bounds).fill_null(False)


def future(contract: Contract) -> pl.Expr:
    """Further ahead of its ingest time than the contract tolerates."""
    tolerated = contract.time.futureToleranceSeconds * 1000
    return pl.col(contract.event_time).to_physical() > pl.col(INGEST_TIME).to_physical() + tolerated


def start_ms(start: date) -> int:
    return int(datetime(start.year, start.month, start.day, tzinfo=UTC).timestamp()) * 1000
