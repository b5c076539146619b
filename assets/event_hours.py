"""The batch layer's backlog: which hour waits for which step, as `event_hours` has it.

Each step notes the value that the step before had when it began. What comes meanwhile leaves the hour pending, and so
does a step that was run by itself: what follows it falls behind, and is made by the sensor `late_data`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import LiteralString

from psycopg import sql

from assets.facts.build import Built
from assets.resources import BatchResource
from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection

Marks = Mapping[datetime, int]


def touched(connection: Connection, contract: Contract, hours: Sequence[datetime]) -> Marks:
    """To be asked before the lake is read."""
    return _marks(connection, contract, hours, "touched")


def built(connection: Connection, contract: Contract, hours: Sequence[datetime]) -> Marks:
    """To be asked before the facts are read."""
    return _marks(connection, contract, hours, "built")


def runs(batch: BatchResource, contract: Contract, hours: Sequence[datetime]) -> list[str]:
    """The ids of the runs that built the hours' facts last."""
    with batch.connect(autocommit=True) as connection:
        rows = connection.execute(
            "SELECT DISTINCT run_id FROM event_hours WHERE stream = %s AND hour = ANY(%s) AND run_id IS NOT NULL",
            (contract.stream, list(hours)),
        )
        return [run_id for (run_id,) in rows]


def _marks(connection: Connection, contract: Contract, hours: Sequence[datetime], column: LiteralString) -> Marks:
    rows = connection.execute(
        sql.SQL("SELECT hour, {} FROM event_hours WHERE stream = %s AND hour = ANY(%s)").format(sql.Identifier(column)),
        (contract.stream, list(hours)),
    ).fetchall()
    return {**dict.fromkeys(hours, 0), **dict(rows)}


def note_built(connection: Connection, contract: Contract, marks: Marks, results: Iterable[Built], run_id: str) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO event_hours
            (stream, hour, touched, built, built_at, rolled, facts, duplicates, quarantined, run_id) VALUES
            (%(stream)s, %(hour)s, %(mark)s, %(mark)s, now(), %(mark)s - 1, %(facts)s, %(duplicates)s, %(quarantined)s,
            %(run_id)s) ON CONFLICT (stream, hour) DO UPDATE SET built = excluded.built, built_at = excluded.built_at,
            rolled = least(event_hours.rolled, excluded.rolled), facts = excluded.facts,
            duplicates = excluded.duplicates, quarantined = excluded.quarantined, run_id = excluded.run_id""",
            [{"stream": contract.stream, "mark": marks[b.hour], "run_id": run_id, **asdict(b)} for b in results],
        )


def note_rolled(connection: Connection, contract: Contract, marks: Marks) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO event_hours (stream, hour, touched, rolled, reconciled) VALUES (%s, %s, 0, %s, %s)"
            " ON CONFLICT (stream, hour) DO UPDATE SET rolled = excluded.rolled,"
            " reconciled = least(event_hours.reconciled, excluded.reconciled)",
            [(contract.stream, hour, mark, mark - 1) for hour, mark in marks.items()],
        )
