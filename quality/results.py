"""Outcomes kept in Postgres: Dagster's event log is pruned, and neither the report nor the API asks Dagster."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from psycopg.types.json import Jsonb

from quality.outcome import CheckOutcome, Status
from streamgauge.contract.model import Contract, Severity
from streamgauge.dagster.hours import hour_key
from streamgauge.dagster.keys import AssetPath
from streamgauge.stores.postgres import Connection

Checked = tuple[str, CheckOutcome]
"""The partition's key, and what was found."""


def record(
    connection: Connection, contract: Contract, asset: AssetPath, checked: Iterable[Checked], run_id: str | None
) -> None:
    rows = [
        (
            contract.stream,
            "/".join(asset),
            o.check,
            partition,
            o.status,
            o.severity,
            o.observed,
            o.expected,
            o.failing,
            o.denominator,
            Jsonb([s.as_json() for s in o.samples]),
            Jsonb(dict(o.details)),
            run_id,
        )
        for partition, o in checked
    ]
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO check_results (stream, asset, check_name, partition, status, severity, observed, expected,"
            " failing, denominator, samples, details, run_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            rows,
        )


@dataclass(frozen=True)
class Result:
    """A check of one partition, the latest time it ran."""

    asset: str
    check: str
    partition: str
    at: datetime
    status: Status
    severity: Severity
    observed: str
    expected: str
    failing: int
    denominator: int
    samples: tuple[dict[str, Any], ...]
    details: dict[str, Any]
    run_id: str | None

    @property
    def share(self) -> float:
        return self.failing / self.denominator if self.denominator else 0.0


def latest(connection: Connection, contract: Contract, hours: Iterable[datetime]) -> list[Result]:
    """Of the hourly checks, by asset, check and partition."""
    rows = connection.execute(
        "SELECT DISTINCT ON (asset, check_name, partition) asset, check_name, partition, at, status, severity,"
        " observed, expected, failing, denominator, samples, details, run_id FROM check_results"
        " WHERE stream = %s AND partition = ANY(%s)"
        " ORDER BY asset, check_name, partition, at DESC",
        (contract.stream, [hour_key(h) for h in hours]),
    ).fetchall()
    return [Result(*cast(Any, r[:10]), samples=tuple(r[10]), details=r[11], run_id=r[12]) for r in rows]
