"""From valid records to rows of the star: enriched, and with the keys of their dimensions."""

from dataclasses import dataclass

import polars as pl

from assets.dims.history import VERSION_KEY, History
from assets.dims.keys import keys_of
from assets.dims.members import date_key
from streamgauge.contract.model import NO_VALUE, Contract
from streamgauge.dagster.hours import HOUR_FORMAT
from streamgauge.rollup.enrich import REFERENCE
from streamgauge.rollup.plan import Sources
from streamgauge.stores.fact_tables import DATE_KEY, HOUR_KEY, facts_schema, key_column
from streamgauge.stores.lake import EVENT_HOUR


@dataclass(frozen=True)
class Star:
    """`rows` as facts and duplicates are stored; `members` are the values of each dimension that they lead to."""

    rows: pl.DataFrame
    members: dict[str, pl.Series]


def star(valid: pl.DataFrame, contract: Contract, history: History | None) -> Star:
    enriched = history.enrich(valid) if history is not None else valid
    sources = Sources(contract, (d.source for d in contract.star))
    known = sources.add(enriched)
    keys: list[pl.Series] = []
    members: dict[str, pl.Series] = {}
    for dimension in contract.star:
        value = sources.text(dimension).fill_null(NO_VALUE).alias(dimension.name)
        values = known.select(value).to_series()
        members[dimension.name] = values.unique()
        key = keys_of(values).alias(key_column(dimension.name))
        if contract.attributes(dimension):
            key = enriched.select(pl.coalesce(VERSION_KEY, key)).to_series().alias(key.name)
        keys.append(key)
    at = pl.col(contract.event_time)
    named = {REFERENCE + c: c for c in (contract.reference.columns if contract.reference else ())}
    rows = enriched.with_columns(
        *keys,
        date_key(at.dt.date()).alias(DATE_KEY),
        at.dt.hour().cast(pl.Int32).alias(HOUR_KEY),
        at.dt.strftime(HOUR_FORMAT).alias(EVENT_HOUR),
    ).rename(named)
    return Star(rows.select(list(facts_schema(contract))), members)
