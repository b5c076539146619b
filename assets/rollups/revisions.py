"""The history of final hours."""

from datetime import datetime

import polars as pl

from assets.rollups.changes import change
from assets.rollups.publish import read
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR
from streamgauge.stores.postgres import Connection
from streamgauge.stores.rollup_tables import START


def note_revisions(
    connection: Connection, contract: Contract, minutes: pl.DataFrame, start: datetime, end: datetime, run_id: str
) -> dict[datetime, str]:
    """To be called before the hours' rows are replaced by `minutes`, in the same transaction. Returns why, by hour."""
    final = connection.execute(
        "SELECT hour, revision FROM final_hours WHERE stream = %s AND hour >= %s AND hour < %s",
        (contract.stream, start, end),
    ).fetchall()
    noted: dict[datetime, str] = {}
    for hour, revision in final:
        before = read(connection, contract, "1m", hour, hour + HOUR).rows
        after = minutes.filter(pl.col(START) >= hour, pl.col(START) < hour + HOUR)
        reason = change(contract, before, after)
        if reason is None:
            continue
        connection.execute(
            "INSERT INTO hour_revisions (stream, hour, revision, run_id, facts, reason)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (contract.stream, hour, revision + 1, run_id, int(after["count"].sum()), reason),
        )
        noted[hour] = reason
    return noted
