"""Everything the report of a day says, read from Postgres and the quarantine."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import polars as pl

from quality import read
from quality.checks.completeness import check_books
from quality.hourly import FACTS_CHECKS, LAKE_CHECKS
from quality.masking import Masker, no_values_in_errors
from quality.outcome import Sample
from quality.report.model import CheckLine, Hour, QuarantineRule, Report, Requeue
from quality.results import Result, latest
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import DAY_FORMAT, HOUR, hour_key
from streamgauge.stores.fact_tables import RULE, quarantine_table
from streamgauge.stores.lake import EVENT_HOUR, OFFSET, PARTITION, RECORD
from streamgauge.stores.postgres import Connection

_SAMPLES = 5
"""Of each rule."""


def gather(connection: Connection, contract: Contract, root: str, day: datetime) -> Report:
    hours = [day + i * HOUR for i in range(24)]
    results = latest(connection, contract, hours)
    with no_values_in_errors(f"the quality report of {contract.stream}"):
        table = quarantine_table(root, contract)
        quarantined = table.scan([hour_key(h) for h in hours]).drop(RECORD).collect()
        rules = _rules(connection, contract, quarantined)
    return Report(
        contract,
        day.strftime(DAY_FORMAT),
        datetime.now(UTC),
        _hours(connection, contract, hours),
        lines_of(results),
        rules,
        check_books(contract, read.read_books(connection, contract)),
    )


def lines_of(results: Iterable[Result]) -> list[CheckLine]:
    meanings = {**LAKE_CHECKS, **FACTS_CHECKS}
    order = list(meanings)
    grouped: dict[tuple[str, str], dict[str, Result]] = defaultdict(dict)
    for result in results:
        grouped[result.asset, result.check][result.partition] = result
    lines = [
        CheckLine(asset, check, max(found.values(), key=lambda r: r.at).severity, found, meanings.get(check, ""))
        for (asset, check), found in grouped.items()
    ]
    return sorted(lines, key=lambda n: (order.index(n.check) if n.check in order else len(order), n.asset, n.check))


def _hours(connection: Connection, contract: Contract, hours: Sequence[datetime]) -> list[Hour]:
    late = read.late_by_hour(connection, contract, hours)
    span = (contract.stream, min(hours), max(hours))
    rows = connection.execute(
        "SELECT e.hour, e.facts, e.duplicates, e.quarantined, e.touched > e.built, f.hour IS NOT NULL, r.unexplained"
        " FROM event_hours AS e LEFT JOIN final_hours AS f USING (stream, hour)"
        " LEFT JOIN LATERAL (SELECT unexplained FROM reconciliations WHERE stream = e.stream AND hour = e.hour"
        "  ORDER BY at DESC LIMIT 1) AS r ON true"
        " WHERE e.stream = %s AND e.hour BETWEEN %s AND %s",
        span,
    ).fetchall()
    known = {hour: (facts, dup, bad, outdated, final, apart) for hour, facts, dup, bad, outdated, final, apart in rows}
    found: list[Hour] = []
    for hour in hours:
        facts, dup, bad, outdated, final, apart = known.get(hour, (0, 0, 0, False, False, None))
        found.append(Hour(hour, facts, dup, bad, late.get(hour, 0), outdated, final, apart))
    return found


def _rules(connection: Connection, contract: Contract, quarantined: pl.DataFrame) -> list[QuarantineRule]:
    masker = Masker(contract)
    grouped = quarantined.group_by(RULE).agg(
        pl.len().alias("count"), pl.min(EVENT_HOUR).alias("first"), pl.max(EVENT_HOUR).alias("last")
    )
    found: list[QuarantineRule] = []
    for rule, count, first, last in grouped.sort("count", RULE, descending=[True, False]).rows():
        rows = quarantined.filter(pl.col(RULE) == rule).sort(EVENT_HOUR, PARTITION, OFFSET).head(_SAMPLES)
        samples = masker.samples(rows, rule)
        found.append(QuarantineRule(rule, count, first, last, samples, _requeue(connection, contract, samples)))
    return found


def _requeue(connection: Connection, contract: Contract, samples: Sequence[Sample]) -> Requeue | None:
    rows = connection.execute(
        'SELECT reason, count(requeued_at)::int FROM dead_letter_list WHERE topic = %s AND (partition, "offset") IN'
        " (SELECT * FROM unnest(%s::int[], %s::bigint[])) GROUP BY reason ORDER BY count(*) DESC LIMIT 1",
        (contract.topic, [s.partition for s in samples], [s.offset for s in samples]),
    ).fetchall()
    return Requeue(*rows[0]) if rows else None
