"""Which times a record may name.

A timestamp is any long of milliseconds to Avro. Delta keeps microseconds, Python and Postgres' clients know the years 1
to 9999: a time outside of those can be stored by some layers and breaks others. So it breaks the contract, for every
timestamp field and in every layer, and where a column must hold it nevertheless it is null.
"""

from collections.abc import Iterable, Iterator

import polars as pl

from streamgauge.contract.model import Contract

EARLIEST_MS, LATEST_MS = -62_135_596_800_000, 253_402_300_799_999
"""From the first millisecond of the year 1 to the last of the year 9999, UTC."""


def outside_rule(field: str) -> str:
    """The name of the rule that such a time breaks."""
    return f"{field}: outside the years 1 to 9999"


def outside(field: str) -> pl.Expr:
    """Null where the time is."""
    return ~pl.col(field).to_physical().is_between(EARLIEST_MS, LATEST_MS)


def time_fields(contract: Contract) -> list[str]:
    return [f.name for f in contract.fields if f.type == "timestamp-millis"]


def storable(fields: Iterable[str]) -> Iterator[pl.Expr]:
    """These timestamp fields, null where the time is outside."""
    for name in fields:
        yield pl.when(~outside(name)).then(pl.col(name)).alias(name)
