"""Old rows in Postgres."""

from collections.abc import Iterable
from datetime import datetime

from assets.housekeeping.policy import DELAYS_KEPT, KeptChunks
from streamgauge.stores.postgres import Connection


def drop_chunks(connection: Connection, kept: Iterable[KeptChunks]) -> dict[str, int]:
    """How many chunks of each table are gone (rows, without TimescaleDB). A chunk goes when all of it is over."""
    dropped: dict[str, int] = {}
    for chunks in kept:
        row = connection.execute("SELECT drop_old(%s, %s, %s)", (chunks.table, chunks.time, chunks.first)).fetchone()
        dropped[chunks.table] = row[0] if row else 0
    return dropped


def delete_arrivals(connection: Connection, now: datetime) -> int:
    return connection.execute("DELETE FROM stream_arrivals WHERE slot < %s", (now - DELAYS_KEPT,)).rowcount


def delete_readers(connection: Connection, before: datetime) -> int:
    return connection.execute("DELETE FROM stream_readers WHERE day < %s", (before.date(),)).rowcount


def delete_delays(connection: Connection, now: datetime) -> int:
    return connection.execute("DELETE FROM stream_delays WHERE minute < %s", (now - DELAYS_KEPT,)).rowcount
