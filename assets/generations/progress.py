"""How far a generation is filled, kept in Postgres: a fill that was killed goes on where it stood."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from psycopg import sql

from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection

# An hour without facts has no rollups to be made.
_NEW_HOURS = """INSERT INTO generation_hours (stream, generation, hour, minutes, rolled)
SELECT %(stream)s, %(generation)s, hour, bool_and(NOT speed), bool_and(NOT batch) FROM (
    SELECT DISTINCT date_trunc('hour', minute, 'UTC') AS hour, true AS speed, false AS batch FROM {minutes}
    UNION ALL SELECT hour, false, true FROM event_hours WHERE stream = %(stream)s AND facts + duplicates > 0
) AS found GROUP BY hour ON CONFLICT (stream, generation, hour) DO NOTHING"""

_STALE = """SELECT e.hour FROM event_hours e LEFT JOIN generation_hours h
ON h.stream = e.stream AND h.generation = %(generation)s AND h.hour = e.hour
WHERE e.stream = %(stream)s AND (e.facts + e.duplicates > 0 OR h.built_at IS NOT NULL)
AND (h.hour IS NULL OR NOT h.rolled OR h.built_at IS DISTINCT FROM e.built_at) ORDER BY e.hour"""


class Progress:
    """Of the generation of `following`, which is made beside that of `present`."""

    def __init__(self, present: Contract, following: Contract) -> None:
        self._present = present
        self._of = {"stream": following.stream, "generation": following.generation}

    def begin(self, connection: Connection) -> None:
        """Notes from which positions on records may be missing in what is made from now on, and what is to be made."""
        with connection.transaction():
            begun = connection.execute(
                "SELECT FROM generation_positions WHERE stream = %(stream)s AND generation = %(generation)s", self._of
            ).fetchone()
            if begun is None:
                connection.execute(
                    "INSERT INTO generation_positions (stream, generation, partition, position)"
                    " SELECT %(stream)s, %(generation)s, partition, next_offset FROM stream_offsets"
                    " WHERE topic = %(topic)s",
                    {**self._of, "topic": self._present.topic},
                )
            query = sql.SQL(_NEW_HOURS).format(minutes=sql.Identifier(self._present.minutes_table))
            connection.execute(query, self._of)

    def positions(self, connection: Connection) -> dict[int, int]:
        """Every minute made holds each partition's records before them."""
        rows = connection.execute(
            "SELECT partition, position FROM generation_positions WHERE stream = %(stream)s"
            " AND generation = %(generation)s",
            self._of,
        )
        return dict(rows.fetchall())

    def note_positions(self, connection: Connection, positions: Mapping[int, int]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO generation_positions (stream, generation, partition, position) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (stream, generation, partition) DO UPDATE SET position = excluded.position",
                [(self._of["stream"], self._of["generation"], p, at) for p, at in sorted(positions.items())],
            )

    def hours_without_minutes(self, connection: Connection) -> list[datetime]:
        rows = connection.execute(
            "SELECT hour FROM generation_hours WHERE stream = %(stream)s AND generation = %(generation)s"
            " AND NOT minutes ORDER BY hour",
            self._of,
        )
        return [hour for (hour,) in rows]

    def note_minutes(self, connection: Connection, hours: Iterable[datetime]) -> None:
        connection.execute(
            "UPDATE generation_hours SET minutes = true WHERE stream = %(stream)s AND generation = %(generation)s"
            " AND hour = ANY(%(hours)s)",
            {**self._of, "hours": list(hours)},
        )

    def stale_hours(self, connection: Connection) -> list[datetime]:
        """Whose rollups are not of the facts as they are."""
        return [hour for (hour,) in connection.execute(_STALE, self._of)]

    def built_at(self, connection: Connection, hours: Sequence[datetime]) -> dict[datetime, datetime | None]:
        """When the hours' facts were built: to be asked before they are read."""
        rows = connection.execute(
            "SELECT hour, built_at FROM event_hours WHERE stream = %s AND hour = ANY(%s)",
            (self._of["stream"], list(hours)),
        )
        return dict(rows.fetchall())

    def note_rolled(self, connection: Connection, built_at: Mapping[datetime, datetime | None]) -> None:
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO generation_hours (stream, generation, hour, minutes, rolled, built_at)"
                " VALUES (%s, %s, %s, true, true, %s) ON CONFLICT (stream, generation, hour)"
                " DO UPDATE SET rolled = true, built_at = excluded.built_at",
                [(self._of["stream"], self._of["generation"], hour, at) for hour, at in built_at.items()],
            )

    def hours(self, connection: Connection) -> list[datetime]:
        rows = connection.execute(
            "SELECT hour FROM generation_hours WHERE stream = %(stream)s AND generation = %(generation)s ORDER BY hour",
            self._of,
        )
        return [hour for (hour,) in rows]

    def rolled_hours(self, connection: Connection) -> list[datetime]:
        """Those that have facts."""
        rows = connection.execute(
            "SELECT h.hour FROM generation_hours h JOIN event_hours e USING (stream, hour) WHERE stream = %(stream)s"
            " AND generation = %(generation)s AND h.rolled AND e.facts + e.duplicates > 0 ORDER BY hour",
            self._of,
        )
        return [hour for (hour,) in rows]

    def forget(self, connection: Connection) -> None:
        """Once the generation is the present one, nobody asks how far it is."""
        for table in ("generation_positions", "generation_hours"):
            connection.execute(
                f"DELETE FROM {table} WHERE stream = %(stream)s AND generation = %(generation)s".encode(), self._of
            )
