"""What a comparison leaves behind: its result, the buckets that differ, and the hours it makes final."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from psycopg.types.json import Jsonb

from quality.reconciliation.read import Progress
from quality.reconciliation.verdict import HourResult
from streamgauge.contract.model import Contract
from streamgauge.state.generations import hold_generation
from streamgauge.stores.postgres import Connection

Status = Literal["provisional", "final"]

RECONCILED = "reconciled with the speed layer"
"""Why revision 1 is there."""


@dataclass(frozen=True)
class HourStatus:
    """An hour after its comparison. `accepted`: a person accepted just these differences."""

    status: Status
    revision: int | None = None
    finalized: bool = False
    accepted: bool = False


def write(
    connection: Connection,
    contract: Contract,
    results: Sequence[HourResult],
    progress: Mapping[datetime, Progress],
    run_id: str,
) -> dict[datetime, HourStatus]:
    """One transaction for all hours. The caller keeps their facts and rollups from changing since they were read."""
    stream, hours = contract.stream, [r.hour for r in results]
    with connection.transaction():
        hold_generation(connection, contract)
        _results(connection, stream, results, run_id)
        connection.execute(
            "DELETE FROM reconciliation_differences WHERE stream = %s AND hour = ANY(%s)", (stream, hours)
        )
        _differences(connection, contract, results)
        standings = _revise(connection, stream, results, run_id)
        with connection.cursor() as cursor:
            cursor.executemany(
                """INSERT INTO event_hours
                (stream, hour, touched, reconciled, compared_at, passed, waits_for, differences)
                VALUES (%s, %s, 0, %s, clock_timestamp(), %s, %s, %s) ON CONFLICT (stream, hour) DO UPDATE SET
                reconciled = excluded.reconciled, compared_at = excluded.compared_at, passed = excluded.passed,
                waits_for = excluded.waits_for, differences = excluded.differences""",
                [
                    (stream, r.hour, progress.get(r.hour, Progress()).rolled, r.passed, r.waits_for, r.fingerprint)
                    for r in results
                ],
            )
    return standings


def _results(connection: Connection, stream: str, results: Sequence[HourResult], run_id: str) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO reconciliations (stream, hour, at, run_id, passed, buckets, explained, unexplained, facts,
            counted, late, duplicates, batch_duplicates, waits_for)
            VALUES (%s, %s, clock_timestamp(), %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
            [
                (
                    stream,
                    r.hour,
                    run_id,
                    r.passed,
                    r.buckets,
                    r.explained,
                    r.unexplained,
                    r.facts,
                    r.counted,
                    r.late,
                    r.duplicates,
                    r.batch_duplicates,
                    r.waits_for,
                )
                for r in results
            ],
        )


def _differences(connection: Connection, contract: Contract, results: Sequence[HourResult]) -> None:
    copy_in = (
        "COPY reconciliation_differences (stream, hour, minute, dimensions, measure, speed, batch, late, duplicates,"
        " batch_duplicates, explained, explanation, sample_event_ids) FROM STDIN"
    )
    with connection.cursor() as cursor, cursor.copy(copy_in) as copy:
        for r in results:
            for d in r.differences:
                minute, values = d.bucket
                copy.write_row(
                    (
                        contract.stream,
                        r.hour,
                        minute,
                        Jsonb(dict(zip(contract.dimension_names, values, strict=True))),
                        d.measure,
                        d.speed,
                        d.batch,
                        d.late,
                        d.duplicates,
                        d.batch_duplicates,
                        d.explained,
                        d.explanation,
                        list(d.sample_event_ids),
                    )
                )


def _revise(
    connection: Connection, stream: str, results: Sequence[HourResult], run_id: str
) -> dict[datetime, HourStatus]:
    """A final hour stays final, and its latest revision says whether it has been checked."""
    rows = connection.execute(
        "SELECT hour, revision FROM final_hours WHERE stream = %s AND hour = ANY(%s)",
        (stream, [r.hour for r in results]),
    ).fetchall()
    final: dict[datetime, int] = dict(rows)
    accepted = _accepted(connection, stream, results)
    good = {r.hour for r in results if r.passed} | accepted.keys()
    built = {r.hour for r in results if r.hour not in final and r.hour in good and r.waits_for is None}
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO hour_revisions (stream, hour, revision, run_id, facts, reason, checked)
            VALUES (%s, %s, 1, %s, %s, %s, true)""",
            [(stream, r.hour, run_id, r.facts, accepted.get(r.hour, RECONCILED)) for r in results if r.hour in built],
        )
        cursor.executemany(
            "UPDATE hour_revisions SET checked = %s WHERE stream = %s AND hour = %s AND revision = %s",
            [(r.hour in good, stream, r.hour, final[r.hour]) for r in results if r.hour in final],
        )
    return {
        r.hour: HourStatus("final", final.get(r.hour, 1), r.hour in built, r.hour in accepted)
        if r.hour in final or r.hour in built
        else HourStatus("provisional", accepted=r.hour in accepted)
        for r in results
    }


def _accepted(connection: Connection, stream: str, results: Sequence[HourResult]) -> dict[datetime, str]:
    """Hours whose very differences a person accepted, and in words who and why."""
    failed = {r.hour: r.fingerprint for r in results if not r.passed}
    rows = connection.execute(
        "SELECT hour, differences, accepted_by, reason FROM accepted_differences WHERE stream = %s AND hour = ANY(%s)",
        (stream, list(failed)),
    ).fetchall()
    return {hour: accepted_words(by, why) for hour, found, by, why in rows if failed[hour] == found}


def accepted_words(by: str, reason: str) -> str:
    """As a revision's reason."""
    return f"accepted by {by}: {reason}"
