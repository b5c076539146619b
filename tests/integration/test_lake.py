"""Hours taken from the real Kafka into a lake: exactly their offsets, whatever happens meanwhile."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import TopicPartition

from assets.lake.load import LoadedHour, load_hour
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.errors import UserError
from streamgauge.records.log_spans import LogSpans
from streamgauge.settings import Settings
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.lake import LakeTable, lake_table
from streamgauge.stores.postgres import connect
from tests.integration.log import read_log
from tests.integration.running import Running, events, now_ms

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(180)]

_START = datetime(2020, 1, 1, tzinfo=UTC).date()


def batch() -> Settings:
    return Settings.for_role("batch")


def take(contract: Contract, hour: datetime, *, now: datetime | None = None) -> LoadedHour:
    with connect(batch(), autocommit=True) as connection:
        at = now or datetime.now(UTC)
        return load_hour(batch(), contract, connection, hour, now=at, start=_START, run_id="test")


def this_hour() -> datetime:
    return hour_start(datetime.now(UTC))


@pytest.fixture
def hour(running: Running) -> Iterator[datetime]:
    """Not one that ends within the test."""
    while datetime.now(UTC) + timedelta(seconds=60) > this_hour() + HOUR:
        time.sleep(1)
    running.apply()
    yield this_hour()


def table(contract: Contract) -> LakeTable:
    return lake_table(batch().lake, contract)


def positions(rows: pl.DataFrame) -> list[tuple[int, int]]:
    return rows.select("partition", "offset").sort("partition", "offset").rows()


def in_log(contract: Contract) -> list[tuple[int, int]]:
    return [(m.partition() or 0, m.offset() or 0) for m in read_log(Settings.for_role("worker"), contract)]


def touched(contract: Contract) -> dict[datetime, int]:
    with connect(batch()) as connection:
        rows = connection.execute("select hour, touched from event_hours where stream = %s", (contract.stream,))
        return dict(rows.fetchall())


def test_every_record_of_the_hour_once(running: Running, hour: datetime) -> None:
    running.send(events(running.contract, 500))
    running.send_raw((b"k", b"text"), (b"k", None))
    loaded = take(running.contract, hour)
    rows = table(running.contract).read()
    assert positions(rows) == in_log(running.contract)
    assert loaded.stored.rows == rows.height == 502
    assert rows["error"].is_not_null().sum() == 2
    assert rows.filter(pl.col("error").is_not_null())["record"].to_list() in ([b"text", None], [None, b"text"])
    assert not loaded.closed


def test_taken_again_it_is_the_same_and_then_has_what_came_meanwhile(running: Running, hour: datetime) -> None:
    now = now_ms()
    running.send(events(running.contract, 300, at=now))
    take(running.contract, hour)
    first, once = table(running.contract).read(), touched(running.contract)
    take(running.contract, hour)
    again = table(running.contract).read()
    assert again.sort("partition", "offset").equals(first.sort("partition", "offset"))
    # nothing is built again for records that were there before
    assert touched(running.contract) == once
    running.send(events(running.contract, 10, start=300, at=now - 3 * 3_600_000))
    loaded = take(running.contract, hour, now=hour + HOUR + timedelta(minutes=1))
    assert loaded.closed
    assert positions(table(running.contract).read()) == in_log(running.contract)
    old = hour_start(datetime.fromtimestamp(now / 1000, UTC) - timedelta(hours=3))
    assert set(loaded.event_hours) <= {old - HOUR, old, old + HOUR}
    newly = {h for h, n in touched(running.contract).items() if n != once.get(h, 0)}
    assert newly == set(loaded.event_hours)


def test_an_hour_without_records_is_an_empty_partition(running: Running, hour: datetime) -> None:
    loaded = take(running.contract, hour - 2 * HOUR)
    assert (loaded.stored.rows, loaded.closed) == (0, True)
    assert table(running.contract).read().is_empty()


def test_what_kafka_lost_is_refused_and_what_the_lake_has_stays(running: Running, hour: datetime) -> None:
    running.send(events(running.contract, 400))
    take(running.contract, hour)
    before = positions(table(running.contract).read())
    with LogSpans(batch(), running.contract, {}) as log:
        gone = [TopicPartition(running.contract.topic, p, end // 2) for p, (_, end) in log.ends().items()]
    admin: Any = admin_client(Settings.for_role("admin"))
    for future in admin.delete_records(gone).values():
        future.result(10)
    with pytest.raises(UserError, match=f"no longer holds the whole hour {hour_key(hour)}"):
        take(running.contract, hour)
    assert positions(table(running.contract).read()) == before


_TAKE = """
import os, signal, sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
import assets.lake.load as load
from streamgauge.contract.load import load_contract
from streamgauge.dagster.hours import hour_of
from streamgauge.stores.postgres import connect
from streamgauge.settings import Settings
frames = load._Writing.frames
def killed(self):
    for frame in frames(self):
        yield frame
        os.kill(os.getpid(), signal.SIGKILL)
load._Writing.frames = killed
settings = Settings.for_role("batch")
with connect(settings, autocommit=True) as connection:
    load.load_hour(settings, load_contract(Path(sys.argv[1])), connection, hour_of(sys.argv[2]),
        now=datetime.now(UTC), start=date(2020, 1, 1), run_id="killed")
"""


def test_killed_while_it_writes_nothing_is_to_be_seen_and_the_next_run_repairs_it(
    running: Running, hour: datetime
) -> None:
    running.send(events(running.contract, 500))
    take(running.contract, hour)
    before = positions(table(running.contract).read())
    running.send(events(running.contract, 100, start=500))
    command = [sys.executable, "-c", _TAKE, str(running.own.file), hour_key(hour)]
    done = subprocess.run(command, check=False, env=os.environ, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    assert positions(table(running.contract).read()) == before
    take(running.contract, hour)
    assert positions(table(running.contract).read()) == in_log(running.contract)
