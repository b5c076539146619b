"""One event's way: from its record in Kafka to the numbers that people read.

It is found by its id in the lake, or, where the lake has not taken it yet, in the log behind the lake's end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote, urlencode

import polars as pl
from psycopg import sql

from lineage.tail import search_log
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import hour_key, hour_of, hour_start
from streamgauge.dagster.keys import AssetPath
from streamgauge.errors import UserError
from streamgauge.rollup.enrich import Reference
from streamgauge.rollup.plan import COUNTED, DUPLICATE, LATE, MINUTE, RollupPlan
from streamgauge.settings import Settings
from streamgauge.stores.fact_tables import duplicates_table, facts_table, quarantine_table
from streamgauge.stores.lake import (
    ERROR,
    INGEST_HOUR,
    INGEST_TIME,
    OFFSET,
    PARTITION,
    LakeTable,
    lake_table,
)
from streamgauge.stores.postgres import Connection, connect
from streamgauge.stores.tables.batch import ROLLUPS

_TABLES = (
    (facts_table, "facts", "fact"),
    (duplicates_table, "duplicates", "duplicate"),
    (quarantine_table, "quarantine", "quarantined"),
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


@dataclass(frozen=True)
class Trace:
    """One record with the id. `verdict`: fact, duplicate, quarantined, or open until the batch layer has its hour."""

    stream: str
    topic: str
    partition: int
    offset: int
    ingest_time: str
    event_time: str | None
    verdict: str
    steps: tuple[Step, ...]


def event(settings: Settings, contracts: Sequence[Contract], event_id: str, stream: str | None) -> list[dict[str, Any]]:
    """For the API: what the lake has. Its login may not read the log."""
    return [asdict(t) for t in trace(settings, contracts, event_id, stream, log=False)]


def trace(
    settings: Settings, contracts: Sequence[Contract], event_id: str, stream: str | None = None, *, log: bool = True
) -> list[Trace]:
    """Every record with this id, oldest first; several where it came again. Raises UserError where there is none."""
    wanted = [c for c in contracts if stream in (None, c.stream)]
    found: list[Trace] = []
    with connect(settings, autocommit=True, application="streamgauge trace") as connection:
        for contract in wanted:
            records = _in_lake(settings, contract, event_id)
            if log and records.is_empty():
                records = search_log(settings, connection, contract, event_id, _lake_ends(connection, contract))
            found += [_Walk(settings, contract, connection, row).trace() for row in _rows(records)]
    if not found:
        where = "the lake or in the log behind it" if log else "the lake"
        raise UserError(
            f"no event {event_id!r} is in {where}", "check the id, and the stream if you named one: streamgauge streams"
        )
    return found


def _in_lake(settings: Settings, contract: Contract, event_id: str) -> pl.DataFrame:
    rows = lake_table(settings.lake, contract).scan().filter(pl.col(contract.event_id) == event_id)
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
        steps = [self._log(), *self._speed(), *self._lake(), *batch, *self._served()]
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
        self, layer: str, path: AssetPath, description: str, hour: datetime | None = None, run_id: str | None = None
    ) -> Step:
        base = self._settings.dagster_url
        key = None if hour is None else hour_key(hour)
        url = None if base is None else f"{base}/assets/{'/'.join(map(quote, path))}"
        if url is not None and key is not None:
            url += "?" + urlencode({"view": "partitions", "partition": key})
        return Step(layer, "/".join(path), description, url, key, run_id)

    def _log(self) -> Step:
        row = self._row
        place = f"partition {row[PARTITION]}, offset {row[OFFSET]}, appended {row[INGEST_TIME]:%Y-%m-%d %H:%M:%S} UTC"
        return self._step("log", asset_keys.kafka(self._contract), place)

    def _speed(self) -> Iterator[Step]:
        """The bucket that the worker put it in, whatever its verdict was."""
        c = self._contract
        if self._happened is None or self._row[ERROR] is not None:
            found = self._connection.execute(
                'SELECT reason FROM dead_letters WHERE topic = %s AND partition = %s AND "offset" = %s',
                (c.topic, self._row[PARTITION], self._row[OFFSET]),
            ).fetchone()
            if found is not None:
                yield self._step("speed", asset_keys.minutes(c), f"a dead letter: {found[0]}")
            return
        minute, bucket = self._bucket()
        counts = self._sum(c.minutes_table, "minute", ("count", "late", "duplicates"), minute, bucket)
        said = ", ".join(f"{d} {v}" for d, v in bucket.items())
        path = asset_keys.minutes(c)
        if counts is None:
            yield self._step("speed", path, f"minute {minute:%Y-%m-%d %H:%M}, {said}: not counted yet")
            return
        count, late, duplicates = counts
        numbers = f"{count:,} counted, {late:,} late, {duplicates:,} duplicates"
        yield self._step("speed", path, f"minute {minute:%Y-%m-%d %H:%M}, {said}: {numbers}")

    def _bucket(self) -> tuple[datetime, dict[str, str]]:
        c = self._contract
        record = self._record
        if c.reference is not None:
            record = self._reference().enrich(record)
        flags = (pl.lit(True).alias(name) for name in (COUNTED, LATE, DUPLICATE))
        row = record.with_columns(*flags).select(RollupPlan(c).inputs).row(0, named=True)
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
            "SELECT run_id FROM lake_hours WHERE stream = %s AND hour = %s AND partition = %s",
            (self._contract.stream, hour_of(key), self._row[PARTITION]),
        ).fetchone()
        path = asset_keys.lake(self._contract)
        yield self._step("lake", path, f"file {file}", hour_of(key), None if found is None else found[0])

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
                if self._stands_in(table(self._settings.lake, c), hour):
                    made = self._connection.execute(
                        "SELECT run_id FROM event_hours WHERE stream = %s AND hour = %s", (c.stream, hour)
                    ).fetchone()
                    said = f"a row of {kind}/{c.stream} ({verdict})"
                    step = self._step("facts", asset_keys.facts(c), said, hour, None if made is None else made[0])
                    return verdict, [step, *(self._numbers(hour) if verdict == "fact" else ())]
        return "open", [self._step("facts", asset_keys.facts(c), "its hour has not been built since it came", hours[0])]

    def _stands_in(self, table: LakeTable, hour: datetime) -> bool:
        rows = table.scan([hour_key(hour)])
        same = (pl.col(PARTITION) == self._row[PARTITION]) & (pl.col(OFFSET) == self._row[OFFSET])
        return not rows.filter(same).select(OFFSET).collect().is_empty()

    def _numbers(self, hour: datetime) -> Iterator[Step]:
        c = self._contract
        minute, bucket = self._bucket()
        for window, path, start in (
            ("1m", asset_keys.rollups_hourly(c), minute),
            ("1h", asset_keys.rollups_hourly(c), hour),
            ("1d", asset_keys.rollups_daily(c), hour.replace(hour=0)),
        ):
            found = self._sum(f"{c.stream}_{ROLLUPS[window]}", "window_start", ("count",), start, bucket)
            if found is not None:
                yield self._step(
                    "rollups", path, f"one of {found[0]:,} in its window of {window} from {start:%H:%M}", hour
                )
        checked = self._connection.execute(
            "SELECT passed, run_id FROM reconciliations WHERE stream = %s AND hour = %s ORDER BY at DESC LIMIT 1",
            (c.stream, hour),
        ).fetchone()
        if checked is not None:
            said = "both layers agree" if checked[0] else "the layers differ: streamgauge reconcile"
            yield self._step("reconciliation", asset_keys.reconciliation(c), said, hour, checked[1])

    def _served(self) -> Iterator[Step]:
        if self._happened is None or self._row[ERROR] is not None:
            return
        c = self._contract
        minute, bucket = self._bucket()
        final = self._connection.execute(
            "SELECT revision FROM final_hours WHERE stream = %s AND hour = %s", (c.stream, hour_start(minute))
        ).fetchone()
        said = "provisional" if final is None else f"final, revision {final[0]}"
        ends = {"from": _iso(minute), "to": _iso(minute + timedelta(minutes=1)), "window": "1m"}
        query = urlencode(
            [*ends.items(), ("group_by", ",".join(bucket)), *(("where", f"{d}:{v}") for d, v in bucket.items())]
        )
        base = self._settings.api_url
        url = None if base is None else f"{base}/v1/streams/{c.stream}/rollups?{query}"
        yield Step("serving", f"{c.stream} 1m", f"part of the number served for its minute, which is {said}", url)


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
