"""Facts, dimensions and rollups from the real Kafka to the lake and Postgres: equal to the oracle, whatever happens."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from psycopg import sql

from assets.facts.asset import build
from assets.facts.build import Built
from assets.lake.load import load_hour
from assets.resources import BatchResource
from assets.rollups.asset import roll_day, roll_hours
from assets.rollups.publish import read
from assets.rollups.roll import Windows
from quality.hourly import check_facts
from quality.reconciliation.reconcile import compare
from quality.report.gather import gather
from quality.report.page import render
from streamgauge.contract.model import Contract
from streamgauge.contract.times import outside_rule
from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.rollup.pseudonyms import pseudonym_secret, pseudonyms_of
from streamgauge.rollup.reference import load_reference
from streamgauge.settings import PREFIX, Settings, batch_start
from streamgauge.stores.fact_tables import facts_table, quarantine_table
from streamgauge.stores.postgres import connect
from streaming.ledger import Ledger
from streaming.load.generate import Shape
from streaming.load.load import Plan, load
from tests.batch_layer import assert_facts, assert_rollups
from tests.batch_oracle import Batch, make
from tests.integration.own_stream import block
from tests.integration.running import Running, encoded, events, now_ms, one, schema_of
from tests.integration.workers import wait_for, wait_until_read
from tests.oracle import LogRecord, from_ledger

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(300)]

_LATE_HOURS = 3


@pytest.fixture
def stream(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """With a lake of its own: dimensions are shared by all streams of one."""
    monkeypatch.setenv(f"{PREFIX}LAKE_URL", str(tmp_path / "lake"))
    monkeypatch.setenv(f"{PREFIX}CONTRACTS_DIR", str(running.own.folder))
    running.edit(lambda d: block(d, "time").update(duplicateHorizonSeconds=2 * _LATE_HOURS * 3600))
    running.edit(lambda d: block(d, "deadLetters").update(limit=1_000_000))
    running.apply()
    yield running


def secret() -> str:
    return pseudonym_secret(Settings.for_role("batch"))


def root() -> str:
    return Settings.for_role("batch").lake


def send(running: Running, ledger: Ledger, end_ms: int, seed: int) -> None:
    """Two hours of event time up to `end_ms`; late events and duplicates reach hours back."""
    shape = Shape(users=40, duplicates=0.08, late=0.08, bad=0.06)
    plan = Plan(2_000, None, end_ms, seed, span_seconds=7200)
    load(Settings.for_role("producer"), running.contract, plan, shape, ledger=ledger)


def take(contract: Contract, log: list[LogRecord]) -> None:
    with connect(Settings.for_role("batch"), autocommit=True) as connection:
        for hour in sorted({hour_start(datetime.fromtimestamp(r.ingest_ms / 1000, UTC)) for r in log}):
            load_hour(
                Settings.for_role("batch"), contract, connection, hour,
                now=datetime.now(UTC), start=batch_start(), run_id="test",
            )  # fmt: skip


def outdated(contract: Contract) -> list[datetime]:
    with connect(Settings.for_role("batch")) as connection:
        rows = connection.execute(
            "select hour from event_hours where stream = %s and (built < touched or rolled < built) order by hour",
            (contract.stream,),
        ).fetchall()
    return [hour for (hour,) in rows]


def build_hours(contract: Contract, hours: list[datetime]) -> Sequence[Built]:
    built = build(BatchResource(), contract, hours, "test").hours
    roll_hours(BatchResource(), contract, hours, "test")
    return built


def published(contract: Contract, size: str) -> Windows:
    with connect(Settings.for_role("batch")) as connection:
        return read(connection, contract, size, datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def assert_published(contract: Contract, expected: Batch) -> None:
    assert_facts(root(), contract, expected)
    assert_rollups(contract, published(contract, "1m"), expected.minutes)
    assert_rollups(contract, published(contract, "1h"), expected.by_hour)


def assert_layers_add_up(contract: Contract) -> None:
    """Bucket by bucket: what the speed layer saw is what the batch layer saw."""
    names = sql.SQL(", ").join(map(sql.Identifier, contract.dimension_names))
    speed = sql.SQL("select minute, {n}, sum(count + late + duplicates)::bigint from {t} group by minute, {n}")
    batch = sql.SQL("select window_start, {n}, count + duplicates from {t}")
    with connect(Settings.for_role("reader")) as connection:
        seen = [
            set(connection.execute(query.format(n=names, t=sql.Identifier(table))).fetchall())
            for query, table in ((speed, contract.minutes_table), (batch, f"{contract.stream}_batch_minutes"))
        ]
    assert seen[0] == seen[1]
    assert seen[0]


def test_generated_events_with_duplicates_late_ones_and_bad_ones(stream: Running, tmp_path: Path) -> None:
    contract = stream.contract
    assert contract.reference is not None
    stream.workers.start()
    wait_until_read(contract)
    ledger = Ledger()
    end = now_ms()
    send(stream, ledger, end - 9 * 3_600_000, 1)
    first = from_ledger(ledger.frame())
    wait_until_read(contract)
    table_read = "the reference table was read"
    before = stream.workers.log().count(table_read)
    reference = tmp_path / "people.csv"
    users = [f"user_id-{i}" for i in range(0, 40, 2)]
    reference.write_text("user_id,kind,organisation\n" + "".join(f"{u},bot,acme\n" for u in users))
    with connect(Settings.for_role("admin")) as connection:
        load_reference(connection, contract.reference, reference)
        query = sql.SQL("select user_id, valid_from from {}").format(sql.Identifier(contract.reference.history_table))
        noted = dict(connection.execute(query).fetchall())
    assert sorted(noted) == sorted(users)
    wait_for(lambda: stream.workers.log().count(table_read) > before, "the worker has read the table again")
    send(stream, ledger, end, 2)
    log = from_ledger(ledger.frame())
    wait_until_read(contract)
    since = {u: int(at.timestamp() * 1000) + 1 for u, at in noted.items()}
    versions = {u: [(ms, {"kind": "bot", "organisation": "acme"})] for u, ms in since.items()}
    expected = make(contract, log, schema_of(contract), versions, secret=secret())
    assert len(expected.duplicates) > 200
    assert len(expected.quarantine) > 150
    _assert_hard(contract, log, expected)

    take(contract, first)
    hours = outdated(contract)
    assert set(hours) == {datetime.fromtimestamp(ms / 1000, UTC) for ms in expected.hours.values()}
    whole = [hours[0] + i * HOUR for i in range((hours[-1] - hours[0]) // HOUR + 1)]
    built = build_hours(contract, whole)
    assert any(b.facts + b.duplicates + b.quarantined == 0 for b in built)
    assert sum(b.facts + b.duplicates + b.quarantined for b in built) == len(log)
    assert outdated(contract) == []
    assert_published(contract, expected)
    assert_layers_add_up(contract)
    for day in sorted({h.replace(hour=0) for h in hours}):
        roll_day(BatchResource(), contract, day)
    assert_rollups(contract, published(contract, "1d"), expected.by_day)


def _assert_hard(contract: Contract, log: list[LogRecord], expected: Batch) -> None:
    """The log is what the test is meant to be about."""
    at: dict[Any, int] = {p: e[contract.event_time] for p, e in expected.facts.items()}
    latest, latenesses = 0, list[int]()
    for r in sorted(log, key=lambda r: (r.ingest_ms, r.partition, r.offset)):
        happened = at.get((r.partition, r.offset))
        if happened is not None:
            latenesses.append(latest - happened)
            latest = max(latest, happened)
    assert max(latenesses) > (_LATE_HOURS - 1) * 3_600_000
    assert sum(n > contract.lateness_ms for n in latenesses) > 100


def test_two_builds_at_once_give_what_one_gives(stream: Running) -> None:
    ledger = Ledger()
    send(stream, ledger, now_ms(), 3)
    log = from_ledger(ledger.frame())
    take(stream.contract, log)
    hours = outdated(stream.contract)
    start = threading.Barrier(2)

    def one(_: int) -> Sequence[Built]:
        start.wait()
        return build_hours(stream.contract, hours)

    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(one, range(2)))
    assert both[0] == both[1]
    assert_published(stream.contract, make(stream.contract, log, schema_of(stream.contract), secret=secret()))


_CHILD = """
import sys
from datetime import datetime
from assets.facts.asset import build
from assets.resources import BatchResource
from assets.rollups.asset import roll_hours
from streamgauge.stores.lake import LakeTable
batch = BatchResource()
replace = LakeTable.replace
def told(self, *args, **kwargs):
    done = replace(self, *args, **kwargs)
    print(self.url, flush=True)
    sys.stdin.readline()
    return done
LakeTable.replace = told
hours = [datetime.fromisoformat(h) for h in sys.argv[1:]]
build(batch, batch.contracts[0], hours, "killed")
roll_hours(batch, batch.contracts[0], hours, "killed")
"""


def killed_after(layer: str, hours: list[datetime]) -> None:
    """Killed when the first of the layer's tables is written, and nothing after it: it waits after each to be told."""
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, *(h.isoformat() for h in hours)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ,
        text=True,
        bufsize=1,
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        for line in child.stdout:
            if f"/{layer}/" in line:
                break
            child.stdin.write("\n")
        else:
            raise AssertionError("it ended before it was killed")
        child.send_signal(signal.SIGKILL)


def test_a_killed_build_shows_nothing_by_halves_and_its_rerun_repairs_it(stream: Running) -> None:
    contract = stream.contract
    ledger = Ledger()
    send(stream, ledger, now_ms() - 3 * 3_600_000, 4)
    log = from_ledger(ledger.frame())
    take(contract, log)
    hours = outdated(contract)
    build_hours(contract, hours)
    before = make(contract, log, schema_of(contract), secret=secret())
    assert_published(contract, before)
    send(stream, ledger, now_ms() - 3 * 3_600_000, 5)
    log = from_ledger(ledger.frame())
    take(contract, log)
    hours = outdated(contract)
    for layer in ("quarantine", "duplicates", "facts", "rollups"):
        killed_after(layer, hours)
        facts = facts_table(root(), contract).read().height
        assert facts in (len(before.facts), len(make(contract, log, schema_of(contract), secret=secret()).facts))
        assert_rollups(contract, published(contract, "1m"), before.minutes)
        assert outdated(contract) == hours
    build_hours(contract, hours)
    assert outdated(contract) == []
    assert_published(contract, make(contract, log, schema_of(contract), secret=secret()))


def test_a_final_hour_changes_only_with_a_revision(stream: Running) -> None:
    contract = stream.contract
    hour = hour_start(datetime.now(UTC)) - 3 * HOUR
    at = int((hour + timedelta(minutes=30)).timestamp() * 1000)
    stream.send(events(contract, 20, at=at))
    ingested = [LogRecord(0, 0, None, now_ms())]
    take(contract, ingested)
    build_hours(contract, [hour])
    with connect(Settings.for_role("batch")) as connection:
        connection.execute(
            "insert into hour_revisions (stream, hour, revision, run_id, facts, reason, checked)"
            " values (%s, %s, 1, 'test', 20, 'agrees', true)",
            (contract.stream, hour),
        )
    build_hours(contract, [hour])
    assert _revisions(contract) == [(1, 20, "agrees", True)]
    stream.send(events(contract, 3, start=20, at=at))
    take(contract, [*ingested, LogRecord(0, 0, None, now_ms())])
    build_hours(contract, [hour])
    build_hours(contract, [hour])
    assert _revisions(contract) == [(1, 20, "agrees", True), (2, 23, "3 events came after the hour was final", False)]


def _revisions(contract: Contract) -> list[tuple[Any, ...]]:
    with connect(Settings.for_role("reader")) as connection:
        return connection.execute(
            "select revision, facts, reason, checked from hour_revisions where stream = %s order by revision",
            (contract.stream,),
        ).fetchall()


def test_times_that_no_table_can_hold_are_quarantined_and_hold_nothing_back(stream: Running) -> None:
    contract = stream.contract
    now = now_ms()
    ((schema_id, schema),) = schema_of(contract).items()
    extreme = (9_300_000_000_000_000, 2**62, 253_402_300_800_000, -(2**63), 2**63 - 1)
    values = [encoded(schema, schema_id, one(contract, timestamp=at)) for at in (*extreme, 0, -1)]
    positions = stream.send_raw(*((b"k", value) for value in values))
    stream.send(events(contract, 100, at=now))
    stream.workers.start()
    wait_until_read(contract)
    ingest = datetime.fromtimestamp(now / 1000, UTC)
    hours = sorted({hour_start(ingest - timedelta(minutes=1)), hour_start(ingest), hour_start(datetime.now(UTC))})
    with connect(Settings.for_role("batch"), autocommit=True) as connection:
        for hour in hours:
            load_hour(
                Settings.for_role("batch"), contract, connection, hour,
                now=datetime.now(UTC), start=batch_start(), run_id="test",
            )  # fmt: skip
        assert sum(b.facts for b in build_hours(contract, hours)) == 100
        quarantined = quarantine_table(root(), contract).read()
        assert sorted(quarantined.select("partition", "offset").rows()) == sorted(positions)
        rule = f"contract: {outside_rule(contract.event_time)}"
        assert sorted(quarantined.filter(pl.col("rule") == rule)["record"]) == sorted(values[: len(extreme)])
        outcomes = check_facts(connection, contract, root(), hours)
        assert all(o.status == "passed" for o in outcomes["completeness"].values())
        report = gather(connection, contract, root(), hours[0].replace(hour=0))
        assert sum(r.count for r in report.quarantine) == len(values)
        assert render(report)
        assert all(
            r.passed
            for r in compare(
                connection, contract, pseudonyms_of(Settings.for_role("batch"), contract), root(), hours
            ).results
        )
        letters = connection.execute(
            "select count(*) from dead_letter_list where topic = %s", (contract.topic,)
        ).fetchone()
    assert letters == (len(values),)
