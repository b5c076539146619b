"""The batch layer's rollups of a generation, made of facts as they always are."""

from collections.abc import Callable, Sequence
from datetime import datetime

from assets.generations.progress import Progress
from assets.locks import partition_lock
from assets.resources import BatchResource
from assets.rollups.daily import publish_day
from assets.rollups.hourly import roll, store
from assets.rollups.publish import replace
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, hour_key
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.state.pseudonyms import keep_values
from streamgauge.stores.fact_tables import facts_table
from streamgauge.stores.postgres import Connection


def without_facts(batch: BatchResource, connection: Connection, contract: Contract) -> list[datetime]:
    """Hours that had facts which are kept no longer: their rollups can't be made again."""
    stored = facts_table(batch.settings.lake, contract).stored()
    rows = connection.execute("SELECT hour FROM event_hours WHERE stream = %s AND facts > 0", (contract.stream,))
    return [hour for (hour,) in rows if hour_key(hour) not in stored]


def roll_hours(
    batch: BatchResource,
    connection: Connection,
    contract: Contract,
    progress: Progress,
    hours: Sequence[datetime],
    done: Callable[[Sequence[datetime]], None],
) -> None:
    root, pseudonyms = batch.settings.lake, pseudonyms_of(batch.settings, contract)
    # facts and duplicates of one build must be read together
    with partition_lock(batch, asset_keys.facts(contract), hours) as lock:
        built_at = progress.built_at(connection, hours)
        for group in roll(root, contract, pseudonyms, hours):
            lock.check()
            store(root, contract, group)
            start, end = group.hours[0], group.hours[-1] + HOUR
            with connection.transaction():
                replace(connection, contract, "1m", group.minutes, start, end)
                replace(connection, contract, "1h", group.hourly, start, end)
                keep_values(connection, contract.stream, pseudonyms, group.personal)
                progress.note_rolled(connection, {h: built_at[h] for h in group.hours})
                lock.check()
            done(group.hours)


def roll_days(batch: BatchResource, connection: Connection, contract: Contract, hours: Sequence[datetime]) -> None:
    """The days of these hours."""
    for day in sorted({h.replace(hour=0) for h in hours}):
        with connection.transaction():
            publish_day(connection, batch.settings.lake, contract, day)
