"""Rollups of hours: from facts, a bounded part at a time, to the lake and to Postgres."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from assets import event_hours
from assets.event_hours import Marks
from assets.facts.lake_rows import grouped
from assets.rollups.publish import replace
from assets.rollups.revisions import note_revisions
from assets.rollups.roll import Windows, merged, minutes, personal_values, source_columns
from assets.rollups.tables import hourly_rows
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.state.generations import hold_generation
from streamgauge.state.pseudonyms import keep_values
from streamgauge.stores.fact_tables import duplicates_table, facts_table
from streamgauge.stores.postgres import Connection
from streamgauge.stores.rollup_tables import START, hourly_table


@dataclass(frozen=True)
class Rolled:
    hour: datetime
    buckets: int
    facts: int
    revision: str | None = None
    """Why a final hour's numbers changed."""


@dataclass(frozen=True)
class HourGroup:
    """Some contiguous hours."""

    hours: list[datetime]
    minutes: Windows
    hourly: Windows
    personal: set[str]
    """The values that are pseudonyms in them."""


def roll(root: str, contract: Contract, pseudonyms: Pseudonyms, hours: Sequence[datetime]) -> Iterator[HourGroup]:
    facts, duplicates = facts_table(root, contract), duplicates_table(root, contract)
    keys = {hour_key(h): h for h in hours}
    counts = {keys[k]: s.rows for k, s in facts.stored(list(keys)).items()}
    columns = source_columns(contract)
    for contiguous in grouped(hours, counts):
        names = [hour_key(h) for h in contiguous]
        events = facts.read(names, columns), duplicates.read(names, columns)
        by_minute = minutes(contract, pseudonyms, *events)
        personal = personal_values(contract, *events)
        yield HourGroup(contiguous, by_minute, merged(contract, by_minute, "1h"), personal)


def store(root: str, contract: Contract, group: HourGroup) -> None:
    table = hourly_table(root, contract)
    names = [hour_key(h) for h in group.hours]
    rows = hourly_rows(group.minutes.rows, group.hourly.rows)
    if not rows.is_empty() or table.stored(names):
        table.replace(names, rows)


def publish(
    connection: Connection,
    contract: Contract,
    pseudonyms: Pseudonyms,
    group: HourGroup,
    marks: Marks,
    run_id: str,
    check: Callable[[], None],
) -> list[Rolled]:
    """All in one transaction: a reader sees the hours as they were, or as they are now."""
    start, end = group.hours[0], group.hours[-1] + HOUR
    with connection.transaction():
        hold_generation(connection, contract)
        revised = note_revisions(connection, contract, group.minutes.rows, start, end, run_id)
        replace(connection, contract, "1m", group.minutes, start, end)
        replace(connection, contract, "1h", group.hourly, start, end)
        keep_values(connection, contract.stream, pseudonyms, group.personal)
        event_hours.note_rolled(connection, contract, {h: marks[h] for h in group.hours})
        check()
    sums = group.hourly.rows.group_by(START).agg(pl.col("count").sum())
    facts = dict(sums.rows())
    buckets = dict(group.minutes.rows.group_by(pl.col(START).dt.truncate("1h")).len().rows())
    return [Rolled(h, buckets.get(h, 0), facts.get(h, 0), revised.get(h)) for h in group.hours]
