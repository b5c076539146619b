"""The three tables that records of the lake end in: each is in exactly one of them."""

import polars as pl

from streamgauge.contract.model import CALENDAR, Contract
from streamgauge.stores.lake import (
    EVENT_HOUR,
    INGEST_TIME,
    MILLISECONDS,
    OFFSET,
    PARTITION,
    RECORD,
    LakeTable,
    contract_columns,
    table_at,
)

RULE = "rule"


def key_column(dimension: str) -> str:
    """Of the facts and of the dimension itself."""
    return f"{dimension}_key"


DATE_KEY, HOUR_KEY = map(key_column, CALENDAR)


def facts_schema(contract: Contract) -> pl.Schema:
    """Reference columns go by their own names here."""
    added = contract.reference.columns if contract.reference else ()
    return pl.Schema(
        {
            **contract_columns(contract),
            **dict.fromkeys(added, pl.String()),
            **_POSITION,
            **{key_column(d.name): pl.Int64() for d in contract.star},
            DATE_KEY: pl.Int32(),
            HOUR_KEY: pl.Int32(),
            EVENT_HOUR: pl.String(),
        }
    )


def quarantine_schema(contract: Contract) -> pl.Schema:
    columns = {RULE: pl.String(), **contract_columns(contract), **_POSITION, RECORD: pl.Binary()}
    return pl.Schema({**columns, EVENT_HOUR: pl.String()})


_POSITION = {PARTITION: pl.Int32(), OFFSET: pl.Int64(), INGEST_TIME: MILLISECONDS}


def facts_table(root: str, contract: Contract) -> LakeTable:
    about = f"{contract.stream}: each event once, valid and enriched, by hour of event time"
    return table_at(root, f"facts/{contract.stream}", facts_schema(contract), EVENT_HOUR, about)


def duplicates_table(root: str, contract: Contract) -> LakeTable:
    about = f"{contract.stream}: valid records of events that are facts already, by hour of event time"
    return table_at(root, f"duplicates/{contract.stream}", facts_schema(contract), EVENT_HOUR, about)


def quarantine_table(root: str, contract: Contract) -> LakeTable:
    about = f"{contract.stream}: records that break the contract, with the rule, by the hour that answers for them"
    return table_at(root, f"quarantine/{contract.stream}", quarantine_schema(contract), EVENT_HOUR, about)
