"""The lake in an object store: the same table as in a folder, and safe with two writers at once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from assets.lake.load import load_hour
from streamgauge.dagster.hours import hour_key, hour_start
from streamgauge.settings import Settings
from streamgauge.stores.lake import LakeTable, lake_table, table_at
from streamgauge.stores.postgres import connect
from streamgauge.stores.reports import Reports
from tests.integration.log import read_log
from tests.integration.object_store import BUCKET, object_store
from tests.integration.running import Running, events

pytestmark = pytest.mark.timeout(180)

ROOT = f"s3://{BUCKET}/somewhere"
SCHEMA = pl.Schema({"key": pl.String, "writer": pl.Int64, "n": pl.Int64})
COMMITS = 15

_WRITER = """
import sys
import polars as pl
from tests.integration.test_lake_s3 import COMMITS, own_table
who, how = int(sys.argv[1]), sys.argv[2]
table = own_table()
for n in range(COMMITS):
    if how == "append":
        table.append(pl.DataFrame({"key": ["both"], "writer": [who], "n": [n]}))
    else:
        key = f"{who}-{n % 5}" if how == "own" else f"{n % 5}"
        table.replace([key], pl.DataFrame({"key": [key] * 3, "writer": [who] * 3, "n": [n] * 3}))
"""


def own_table() -> LakeTable:
    return table_at(ROOT, "lake/two_writers", SCHEMA, "key")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with object_store(tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield


def two_writers(how: str) -> pl.DataFrame:
    """What is there when both are done; the table is made by whoever comes first."""
    command = [sys.executable, "-c", _WRITER]
    started = [
        subprocess.Popen([*command, str(who), how], env=os.environ, cwd=Path(__file__).parents[2]) for who in (1, 2)
    ]
    assert [process.wait(120) for process in started] == [0, 0]
    return own_table().read()


@pytest.mark.usefixtures("store")
def test_two_writers_at_once_lose_no_commit() -> None:
    rows = two_writers("append").group_by("writer").agg(pl.len(), pl.n_unique("n")).sort("writer")
    assert rows.rows() == [(1, COMMITS, COMMITS), (2, COMMITS, COMMITS)]


@pytest.mark.usefixtures("store")
def test_two_writers_at_once_replace_partitions_of_their_own() -> None:
    rows = two_writers("own").sort("key")
    last = {f"{who}-{n % 5}": (who, n) for who in (1, 2) for n in range(COMMITS)}
    assert rows.rows() == [(key, *last[key]) for key in sorted(last) for _ in range(3)]


@pytest.mark.usefixtures("store")
def test_two_writers_at_once_replace_the_same_partitions() -> None:
    whole = (
        two_writers("same")
        .group_by("key")
        .agg(pl.len(), pl.struct("writer", "n").n_unique().alias("commits"), pl.max("n"))
    )
    # each partition is what one commit put there, and one of the last two
    assert whole.sort("key").rows() == [(str(i), 3, 1, COMMITS - 5 + i) for i in range(5)]


@pytest.mark.usefixtures("store", "stack")
def test_an_hour_of_kafka(running: Running) -> None:
    running.apply()
    running.send(events(running.contract, 500))
    settings = Settings.for_role("batch").model_copy(update={"lake_url": ROOT})
    before = hour_start(datetime.now(UTC))
    with connect(settings, autocommit=True) as connection:
        for hour in {before, hour_start(datetime.now(UTC))}:
            now = datetime.now(UTC)
            load_hour(settings, running.contract, connection, hour, now=now, start=date(2020, 1, 1), run_id="test")
    table = lake_table(ROOT, running.contract)
    rows = table.read(columns=["partition", "offset", "event_id"]).sort("partition", "offset")
    log = [(m.partition(), m.offset()) for m in read_log(Settings.for_role("worker"), running.contract)]
    assert rows.select("partition", "offset").rows() == log
    assert set(rows["event_id"]) == {f"e{i}" for i in range(500)}
    assert hour_key(before) in table.stored()


@pytest.mark.usefixtures("store")
def test_reports_lie_beside_it() -> None:
    reports = Reports(ROOT)
    reports.write("user_events", "2026-01-01", "<p>first</p>")
    reports.write("user_events", "2026-01-01", "<p>second</p>")
    assert reports.read("user_events", "2026-01-01") == "<p>second</p>"
    assert reports.days("user_events") == ["2026-01-01"]
