"""Generations of rollups that were replaced: their tables go after the grace time, in Postgres and in the lake."""

from collections.abc import Iterator

from streamgauge.state.generations import Generation, read_generations
from streamgauge.stores.lake import LakeTable, explained
from streamgauge.stores.postgres import Connection
from streamgauge.stores.rollup_tables import daily_table, hourly_table


def drop_generations(connection: Connection, root: str) -> Iterator[Generation]:
    """Those that are over; each is yielded when it is gone."""
    for generation in (g for found in read_generations(connection).values() for g in found if g.retired_at is not None):
        row = connection.execute("SELECT drop_generation(%s, %s)", (generation.stream, generation.number)).fetchone()
        now = row is not None and row[0] > 0
        if now or generation.dropped_at is not None:
            contract = generation.as_contract()
            for table in (hourly_table(root, contract), daily_table(root, contract)):
                _empty(table)
        if now:
            yield generation


def _empty(table: LakeTable) -> None:
    """Of a table that nobody reads any more its log alone is left."""
    opened = table.open()
    if opened is not None and opened.file_uris():
        with explained(table.url):
            opened.delete()
            opened.vacuum(0, dry_run=False, enforce_retention_duration=False)
