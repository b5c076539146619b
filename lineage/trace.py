"""One event's way: from its record in Kafka to the numbers that people read.

It is found by its id in the lake, or, where the lake has not taken it yet, in the log behind the lake's end.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, cast
from urllib.parse import quote, urlencode

import polars as pl
from psycopg import sql

from lineage.tail import search_log
from streamgauge.contract.model import Contract
from streamgauge.contract.rules import violations
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, HourRange, hour_key, hour_of, hour_start
from streamgauge.dagster.keys import AssetPath
from streamgauge.errors import UserError
from streamgauge.rollup.enrich import Reference
from streamgauge.rollup.plan import COUNTED, DUPLICATE, LATE, MINUTE, RollupPlan
from streamgauge.rollup.pseudonyms import pseudonyms_of
from streamgauge.settings import Settings
from streamgauge.state.commits import commits_of, trace_page
from streamgauge.stores.fact_tables import RULE, duplicates_table, facts_table, quarantine_table
from streamgauge.stores.lake import (
    ERROR,
    INGEST_HOUR,
    INGEST_TIME,
    OFFSET,
    PARTITION,
    LakeTable,
    explained,
    lake_table,
)
from streamgauge.stores.postgres import Connection, connect_or_explain
from streamgauge.stores.progress import read_progress
from streamgauge.stores.tables.batch import rollups_table
from streamgauge.text import number, plural

FACT, DUPLICATE_OF, QUARANTINED, DEAD_LETTER, OPEN = "fact", "duplicate", "quarantined", "dead letter", "open"
_TABLES = (
    (facts_table, "facts", FACT),
    (duplicates_table, "duplicates", DUPLICATE_OF),
    (quarantine_table, "quarantine", QUARANTINED),
)


@dataclass(frozen=True)
class Step:
    """What one layer made of the event. `asset` is its name in Dagster's graph."""

    layer: str
    asset: str
    description: str
    url: str | None = None
    partition: str | None = None
    run_id: str | None = None
    at: str | None = None
    """When it was done; None where nobody knows."""
    trace_url: str | None = None
    logs_url: str | None = None
    """The pages of the stores of traces and logs, where there are any."""


@dataclass(frozen=True)
class Trace:
    """One record with the id. `verdict`: fact, duplicate or quarantined, as the batch layer found; until it has built
    the record's hour, dead letter where the worker refused it, else open."""

    stream: str
    topic: str
    partition: int
    offset: int
    ingest_time: str
    event_time: str | None
    verdict: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Found:
    """For the API. `begin`: the search had time to go back to this hour of ingest, which may be later than asked."""

    traces: list[dict[str, Any]]
    begin: datetime


_HOURS_AT_ONCE = 6
"""Hours of the lake that are read together: the clock is looked at between two such readings."""


def event(
    settings: Settings,
    contracts: Sequence[Contract],
    event_id: str,
    hours: HourRange,
    seconds: float,
    connect: Callable[[], AbstractContextManager[Connection]],
) -> Found:
    """For the API, whose login may not read the log: what the lake's `hours` of ingest time have, the newest first.

    Nothing more is read from the lake after `seconds`: an id says nothing about where it may be, so a search may go
    through the whole lake. Postgres is asked only for what was found. Raises LakeError where the lake can't be read.
    """
    until = time.monotonic() + seconds
    found: list[tuple[Contract, pl.DataFrame]] = []
    keys, begin = hours.keys, hours.last + HOUR
    while keys and time.monotonic() < until:
        piece, keys = keys[-_HOURS_AT_ONCE:], keys[:-_HOURS_AT_ONCE]
        found += [(c, _in_lake(settings, c, event_id, piece)) for c in contracts]
        begin = hour_of(piece[0])
    rows = [(c, row) for c, records in found for row in _rows(records)]
    if not rows:
        return Found([], begin)
    rows.sort(key=lambda r: r[1][INGEST_TIME].item())
    with connect() as connection:
        return Found([asdict(_Walk(settings, c, connection, row).trace()) for c, row in rows], begin)


def trace(settings: Settings, contracts: Sequence[Contract], event_id: str, stream: str | None = None) -> list[Trace]:
    """Every record with this id in the lake, or else in the log, oldest first; several where it came again.

    Raises UserError where there is none, and where a server that is needed does not answer.
    """
    wanted = [c for c in contracts if stream in (None, c.stream)]
    found: list[Trace] = []
    with connect_or_explain(settings, autocommit=True, application="streamgauge trace") as connection:
        for contract in wanted:
            records = _in_lake(settings, contract, event_id)
            if records.is_empty():
                records = search_log(settings, connection, contract, event_id, _lake_ends(connection, contract))
            found += [_Walk(settings, contract, connection, row).trace() for row in _rows(records)]
    if not found:
        raise UserError(
            f"no event {event_id!r} is in the lake or in the log behind it",
            "check the id, and the stream if you named one: streamgauge streams",
        )
    return found


def _in_lake(settings: Settings, contract: Contract, event_id: str, hours: list[str] | None = None) -> pl.DataFrame:
    table = lake_table(settings.lake, contract)
    with explained(table.url):
        rows = table.scan(hours).filter(pl.col(contract.event_id) == event_id)
        return rows.sort(INGEST_TIME, PARTITION, OFFSET).collect()


def _lake_ends(connection: Connection, contract: Contract) -> dict[int, int]:
    rows = connection.execute(
        "SELECT partition, max(to_offset) FROM lake_hours WHERE stream = %s GROUP BY partition", (contract.stream,)
    )
    return dict(rows.fetchall())


def _rows(records: pl.DataFrame) -> Iterator[pl.DataFrame]:
    return (records.slice(i, 1) for i in range(records.height))


class _Walk:
    """From one record, a frame of a single row, through the layers."""

    def __init__(self, settings: Settings, contract: Contract, connection: Connection, record: pl.DataFrame) -> None:
        self._settings = settings
        self._contract = contract
        self._connection = connection
        self._record = record
        self._row = record.row(0, named=True)
        self._happened = cast(datetime | None, self._row[contract.event_time])

    def trace(self) -> Trace:
        row, c = self._row, self._contract
        verdict, batch = self._batch()
        if verdict == OPEN and self._refused is not None:
            verdict = DEAD_LETTER
        # nothing is said of a broken record's fields: what stands in the wrong one may be another's value
        broken = None if verdict in (FACT, DUPLICATE_OF) else self._broken()
        served = self._served() if verdict in (FACT, OPEN) and broken is None else ()
        steps = [self._log(), *self._speed(broken), *self._commit(), *self._lake(), *batch, *served]
        return Trace(
            c.stream,
            c.topic,
            row[PARTITION],
            row[OFFSET],
            row[INGEST_TIME].isoformat(),
            None if self._happened is None else self._happened.isoformat(),
            verdict,
            tuple(steps),
        )

    def _step(
        self,
        layer: str,
        path: AssetPath,
        description: str,
        hour: datetime | None = None,
        run_id: str | None = None,
        at: datetime | None = None,
    ) -> Step:
        base = self._settings.dagster_url
        key = None if hour is None else hour_key(hour)
        url = None if base is None else f"{base}/assets/{'/'.join(map(quote, path))}"
        if url is not None and key is not None:
            url += "?" + urlencode({"view": "partitions", "partition": key})
        trace = trace_page(self._settings.zipkin_url, None if run_id is None else run_id.replace("-", ""))
        return Step(layer, "/".join(path), description, url, key, run_id, _moment(at), trace)

    def _log(self) -> Step:
        row = self._row
        place = f"partition {row[PARTITION]}, offset {row[OFFSET]}, appended {row[INGEST_TIME]:%Y-%m-%d %H:%M:%S} UTC"
        return self._step("log", asset_keys.kafka(self._contract), place, at=row[INGEST_TIME])

    def _commit(self) -> Iterator[Step]:
        """Of the worker, where there is a store of logs that tells of it."""
        commits, c = commits_of(self._settings), self._contract
        if commits is None or not self._read_by_worker():
            return
        asset = "/".join(asset_keys.minutes(c))
        try:
            found = commits.of(c.stream, self._row[PARTITION], self._row[OFFSET], self._row[INGEST_TIME])
        except UserError as e:
            yield Step("commit", asset, f"{e.what}: {e.hint}")
            return
        if found is None:
            yield Step("commit", asset, "the store of logs has no line of it")
            return
        message = f"with the records {found.offsets}, and readable from then on"
        yield Step("commit", asset, message, at=_moment(found.at), trace_url=found.trace_url, logs_url=found.logs_url)

    def _broken(self) -> str | None:
        """The first rule of the contract that the record breaks; None where it breaks none, or can't be decoded."""
        if self._row[ERROR] is not None:
            return None
        return next((r.name for r in violations(self._contract) if self._record.select(r.expr).item()), None)

    def _speed(self, broken: str | None) -> Iterator[Step]:
        """A dead letter, or the bucket that the worker put it in, whatever its verdict was."""
        c = self._contract
        if self._refused is not None:
            reason, detail, requeued = self._refused
            why = f"{reason}: {detail}" if detail else reason
            again = f", sent again {requeued:%Y-%m-%d %H:%M} UTC" if requeued else ""
            yield self._step("speed", asset_keys.minutes(c), f"a dead letter, counted nowhere ({why}){again}")
            return
        if self._happened is None or self._row[ERROR] is not None:
            yield self._step("speed", asset_keys.minutes(c), "not read yet")
            return
        if broken is not None:
            message = f"breaks its contract ({broken}), and is counted nowhere"
            yield self._step("speed", asset_keys.minutes(c), message)
            return
        minute, bucket = self._bucket()
        counts = self._sum(c.minutes_table, "minute", ("count", "late", "duplicates"), minute, bucket)
        message = ", ".join(f"{d} {v}" for d, v in bucket.items())
        path = asset_keys.minutes(c)
        if counts is None:
            missing = "its minute is no longer kept" if self._read_by_worker() else "not read yet"
            yield self._step("speed", path, f"minute {minute:%Y-%m-%d %H:%M}, {message}: {missing}")
            return
        count, late, duplicates = counts
        numbers = f"{number(count)} counted, {number(late)} late, {plural(duplicates, 'duplicate')}"
        yield self._step("speed", path, f"minute {minute:%Y-%m-%d %H:%M}, {message}: {numbers}")

    @cached_property
    def _refused(self) -> tuple[str, str | None, datetime | None] | None:
        """Reason and detail of the dead letter that the worker made of it, and when that was sent again."""
        return self._connection.execute(
            "SELECT reason, detail, requeued_at FROM dead_letter_list"
            ' WHERE topic = %s AND partition = %s AND "offset" = %s',
            (self._contract.topic, self._row[PARTITION], self._row[OFFSET]),
        ).fetchone()

    def _read_by_worker(self) -> bool:
        topic = self._contract.topic
        progress = read_progress(self._connection, [topic])[topic]
        return any(p.partition == self._row[PARTITION] and self._row[OFFSET] < p.next for p in progress)

    def _bucket(self) -> tuple[datetime, dict[str, str]]:
        c = self._contract
        record = self._record
        if c.reference is not None:
            record = self._reference().enrich(record)
        flags = (pl.lit(True).alias(name) for name in (COUNTED, LATE, DUPLICATE))
        row = RollupPlan(c, pseudonyms_of(self._settings, c)).inputs(record.with_columns(*flags)).row(0, named=True)
        minute = datetime.fromtimestamp(row[MINUTE] / 1000, UTC)
        return minute, {d: row[d] for d in c.dimension_names}

    def _reference(self) -> Reference:
        spec = self._contract.reference
        assert spec is not None
        query = sql.SQL("SELECT {} FROM {} WHERE {} = %s").format(
            sql.SQL(", ").join(map(sql.Identifier, (spec.key, *spec.columns))),
            sql.Identifier(spec.table),
            sql.Identifier(spec.key),
        )
        rows = self._connection.execute(query, (self._row[spec.key],)).fetchall()
        schema = dict.fromkeys(["key", *spec.columns], pl.String)
        return Reference(spec, pl.DataFrame(rows, schema=schema, orient="row"))

    def _sum(
        self, table: str, start: str, columns: Sequence[str], moment: datetime, bucket: dict[str, str]
    ) -> tuple[int, ...] | None:
        query = sql.SQL("SELECT {sums} FROM {table} WHERE {start} = %s AND {same} HAVING count(*) > 0").format(
            sums=sql.SQL(", ").join(sql.SQL("sum({})::bigint").format(sql.Identifier(c)) for c in columns),
            table=sql.Identifier(table),
            start=sql.Identifier(start),
            same=sql.SQL(" AND ").join(
                [sql.SQL("true"), *(sql.SQL("{} = %s").format(sql.Identifier(d)) for d in bucket)]
            ),
        )
        return self._connection.execute(query, (moment, *bucket.values())).fetchone()

    def _lake(self) -> Iterator[Step]:
        key = self._row.get(INGEST_HOUR)
        if key is None:
            yield self._step("lake", asset_keys.lake(self._contract), "not in the lake yet: its hour is still to come")
            return
        table = lake_table(self._settings.lake, self._contract)
        same = (pl.col(PARTITION) == self._row[PARTITION]) & (pl.col(OFFSET) == self._row[OFFSET])
        opened = table.open()
        files = [] if opened is None else opened.file_uris(partition_filters=[(INGEST_HOUR, "=", key)])
        file = next((f for f in files if self._holds(f, same)), "?")
        found = self._connection.execute(
            "SELECT run_id, written_at FROM lake_hours WHERE stream = %s AND hour = %s AND partition = %s",
            (self._contract.stream, hour_of(key), self._row[PARTITION]),
        ).fetchone()
        path = asset_keys.lake(self._contract)
        run_id, at = found or (None, None)
        yield self._step("lake", path, f"file {file}", hour_of(key), run_id, at)

    def _holds(self, file: str, same: pl.Expr) -> bool:
        options = dict(lake_table(self._settings.lake, self._contract).options) or None
        return not pl.scan_parquet(file, storage_options=options).filter(same).select(OFFSET).collect().is_empty()

    def _batch(self) -> tuple[str, list[Step]]:
        """What facts made of the record, and the hours made of it."""
        c = self._contract
        came_in = hour_start(self._row[INGEST_TIME])
        hours = [came_in] if self._happened is None else [hour_start(self._happened), came_in]
        for table, kind, verdict in _TABLES:
            for hour in dict.fromkeys(hours):
                row = self._find(table(self._settings.lake, c), hour)
                if row is None:
                    continue
                built = self._connection.execute(
                    "SELECT run_id, built_at FROM event_hours WHERE stream = %s AND hour = %s", (c.stream, hour)
                ).fetchone()
                reason = f": {row[RULE]}" if verdict == QUARANTINED else ""
                text = f"a row of {kind}/{c.stream} ({verdict}{reason})"
                step = self._step("facts", asset_keys.facts(c), text, hour, *(built or (None, None)))
                return verdict, [step, *(self._numbers(hour) if verdict == FACT else ())]
        return OPEN, [self._step("facts", asset_keys.facts(c), "its hour has not been built since it came", hours[0])]

    def _find(self, table: LakeTable, hour: datetime) -> dict[str, Any] | None:
        same = (pl.col(PARTITION) == self._row[PARTITION]) & (pl.col(OFFSET) == self._row[OFFSET])
        with explained(table.url):
            rows = table.scan([hour_key(hour)]).filter(same).collect()
        return None if rows.is_empty() else rows.row(0, named=True)

    def _numbers(self, hour: datetime) -> Iterator[Step]:
        c = self._contract
        minute, bucket = self._bucket()
        for window, path, start in (
            ("1m", asset_keys.rollups_hourly(c), minute),
            ("1h", asset_keys.rollups_hourly(c), hour),
            ("1d", asset_keys.rollups_daily(c), hour.replace(hour=0)),
        ):
            found = self._sum(rollups_table(c, window), "window_start", ("count",), start, bucket)
            if found is not None:
                yield self._step(
                    "rollups", path, f"one of {number(found[0])} in its window of {window} from {start:%H:%M}", hour
                )
        checked = self._connection.execute(
            "SELECT passed, run_id, at FROM reconciliations WHERE stream = %s AND hour = %s ORDER BY at DESC LIMIT 1",
            (c.stream, hour),
        ).fetchone()
        if checked is not None:
            message = "both layers agree" if checked[0] else "the layers differ: streamgauge reconcile"
            yield self._step("reconciliation", asset_keys.reconciliation(c), message, hour, *checked[1:])

    def _served(self) -> Iterator[Step]:
        if self._happened is None or self._row[ERROR] is not None:
            return
        c = self._contract
        minute, bucket = self._bucket()
        final = self._connection.execute(
            "SELECT revision, revised_at FROM final_hours WHERE stream = %s AND hour = %s",
            (c.stream, hour_start(minute)),
        ).fetchone()
        message = "provisional" if final is None else f"final, revision {final[0]}"
        ends = {"from": _iso(minute), "to": _iso(minute + timedelta(minutes=1)), "window": "1m"}
        query = urlencode(
            [*ends.items(), ("group_by", ",".join(bucket)), *(("where", f"{d}:{v}") for d, v in bucket.items())]
        )
        base = self._settings.api_url
        url = None if base is None else f"{base}/v1/streams/{c.stream}/rollups?{query}"
        at = None if final is None else _moment(final[1])
        text = f"part of the number served for its minute, which is {message}"
        yield Step("serving", f"{c.stream} 1m", text, url, at=at)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
