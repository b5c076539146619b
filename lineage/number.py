"""Where a minute's number comes from: the commits and the run that wrote it, with their traces and log lines."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from psycopg import sql

from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import hour_start
from streamgauge.errors import UserError
from streamgauge.rollup.windows import check_dimensions
from streamgauge.settings import Settings
from streamgauge.state.commits import commits_of, run_pages
from streamgauge.stores.postgres import Connection, connect_or_explain


@dataclass(frozen=True)
class Writer:
    """A commit of the worker, of a partition's records up to some offset, or the run that made the hour final.
    `offsets`: as PARTITION:FIRST-LAST the records it read, as far as that is known.
    """

    layer: str
    count: int | None
    at: str | None
    offsets: str | None
    trace_url: str | None
    logs_url: str | None


def writers(settings: Settings, contract: Contract, minute: datetime, members: Mapping[str, str]) -> tuple[Writer, ...]:
    """Of the number of a minute, of the members of dimensions, summed over all others: the latest commit in each
    partition, and the run that made its hour final, if it is.

    Raises UserError where nothing is known of the minute, or the store of logs does not answer.
    """
    check_dimensions(contract, members)
    with connect_or_explain(settings, autocommit=True, application="streamgauge trace") as connection:
        found = (
            *_commits(settings, contract, connection, minute, members),
            *_run(settings, contract, connection, minute),
        )
    if not found:
        raise UserError(
            f"no commit and no run of the minute {minute:%Y-%m-%d %H:%M} UTC of {contract.stream} is known",
            "check the time, and that there are events of it: streamgauge rollups",
        )
    return found


def _commits(
    settings: Settings, contract: Contract, connection: Connection, minute: datetime, members: Mapping[str, str]
) -> list[Writer]:
    query = sql.SQL(
        "SELECT partition, max(upto), sum(count)::bigint FROM {} WHERE minute = %s AND {} GROUP BY 1 ORDER BY 1"
    ).format(
        sql.Identifier(contract.minutes_table),
        sql.SQL(" AND ").join([sql.SQL("true"), *(sql.SQL("{} = %s").format(sql.Identifier(d)) for d in members)]),
    )
    commits, built = commits_of(settings), list[Writer]()
    for partition, end, count in connection.execute(query, (minute, *members.values())).fetchall():
        commit = None if commits is None else commits.up_to(contract.stream, partition, end)
        if commit is None:
            built.append(Writer("speed", count, None, f"{partition}:…-{end - 1}", None, None))
        else:
            built.append(
                Writer("speed", count, commit.at.isoformat(), commit.offsets, commit.trace_url, commit.logs_url)
            )
    return built


def _run(settings: Settings, contract: Contract, connection: Connection, minute: datetime) -> list[Writer]:
    hour = hour_start(minute)
    row = connection.execute(
        "SELECT run_id, at FROM hour_revisions WHERE stream = %s AND hour = %s ORDER BY revision DESC LIMIT 1",
        (contract.stream, hour),
    ).fetchone()
    if row is None:
        return []
    read = connection.execute(
        "SELECT partition, from_offset, to_offset FROM lake_hours"
        " WHERE stream = %s AND hour = %s AND to_offset > from_offset ORDER BY partition",
        (contract.stream, hour),
    ).fetchall()
    run_id, at = row
    offsets = " ".join(f"{partition}:{first}-{end - 1}" for partition, first, end in read)
    trace_url, logs_url = run_pages(settings, run_id, at)
    return [Writer("batch", None, at.astimezone(UTC).isoformat(), offsets or None, trace_url, logs_url)]
