"""Minutes made again from the lake while the worker takes in late events for them."""

import random
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest
from confluent_kafka import TopicPartition

from assets.rebuild.contributions import Contributions, contributions
from assets.rebuild.job import definitions
from assets.rebuild.rebuild import Rebuilt, rebuild
from assets.rebuild.tables import replace as replace_rows
from assets.resources import BatchResource
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, HourRange, hour_start
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import Connection, connect
from tests.integration.batch_layer import fill_lake
from tests.integration.expectation import assert_as_expected, expected_of
from tests.integration.own_stream import block
from tests.integration.running import Running, events, same_tops, stored
from tests.integration.workers import account_of, wait_for, wait_until_read
from tests.oracle import Expected

FIRST = 12_000
PIECE = 400
TIMES = 3
MINUTE_MS = 60_000


def _hours() -> HourRange:
    """Two hours that are over, whatever the time is."""
    now = hour_start(datetime.now(UTC))
    return HourRange(now - 3 * HOUR, now - 2 * HOUR)


def _spread(running: Running, numbers: range, start: datetime, end: datetime) -> None:
    """Events with these numbers, evenly over the time."""
    frame = events(running.contract, len(numbers), start=numbers.start)
    step = (end - start) / len(numbers)
    times = [int((start + i * step).timestamp() * 1000) for i in range(len(numbers))]
    column = running.contract.event_time
    running.send(frame.with_columns(pl.Series(column, times).cast(frame.schema[column])))


def _rebuild(contract: Contract, hours: HourRange) -> list[Rebuilt]:
    done: list[Rebuilt] = []
    rebuild(Settings.for_role("batch"), contract, hours, done.append)
    return done


def _with_late_counted(contract: Contract, hours: HourRange) -> Expected:
    """The oracle's answer, in which the events of the hours are never late."""
    expected = expected_of(contract)
    time = contract.time.model_copy(update={"allowedLatenessSeconds": 10**7})
    never_late = expected_of(replace(contract, time=time))
    first, end = (int(t.timestamp() * 1000) for t in (hours.first, hours.last + HOUR))
    for key, row in never_late.minutes.items():
        if first <= key[0] < end:
            totals = expected.partitions[key[2]]
            totals.counted += expected.minutes[key].late
            totals.late -= expected.minutes[key].late
            expected.minutes[key] = row
    for key, counts in never_late.tops.items():
        if first <= key[0] < end:
            expected.tops[key] = counts
    return expected


@pytest.mark.timeout(200)
def test_rebuilt_while_late_events_come(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(*arguments: Any) -> Contributions:
        """So that the worker has something to commit meanwhile."""
        time.sleep(0.15)
        return contributions(*arguments)

    monkeypatch.setattr("assets.rebuild.rebuild.contributions", slowly)
    running.edit(lambda d: block(d, "time").update(duplicateHorizonSeconds=86_400))
    running.apply()
    contract, hours = running.contract, _hours()
    now = hour_start(datetime.now(UTC))
    running.workers.start()
    _spread(running, range(FIRST), hours.first, now)
    wait_until_read(contract)
    assert fill_lake(contract) == FIRST

    over = threading.Event()
    failures: list[BaseException] = []

    def send() -> None:
        """New events of now, late ones of the hours, and some of both again."""
        rng, number = random.Random(4), FIRST
        try:
            while not over.is_set():
                fresh = range(number, number + PIECE)
                _spread(running, fresh, datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC))
                late = range(fresh.stop, fresh.stop + PIECE)
                _spread(running, late, hours.first, hours.last + HOUR)
                number = late.stop
                again = rng.randrange(0, FIRST - 50)
                step = (now - hours.first) / FIRST
                at = hours.first + again * step
                _spread(running, range(again, again + 50), at, at + 50 * step)
        except BaseException as e:
            failures.append(e)

    sending = threading.Thread(target=send, name="send")
    sending.start()
    rebuilt: list[list[Rebuilt]] = []
    try:
        rebuilt = [_rebuild(contract, hours) for _ in range(TIMES)]
    finally:
        over.set()
        sending.join(60)
    assert not failures, failures
    account = wait_until_read(contract)
    assert account.late > 0 and account.duplicates > 0
    assert sum(r.late for each in rebuilt for r in each) > 0

    # each found what the one before and the worker had left, and nothing was missing from it
    assert all(r.repaired == 0 for each in rebuilt for r in each)
    last = _rebuild(contract, hours)
    assert all(r.repaired == 0 for r in last)
    assert sum(r.late for r in last) == account.late
    expected = _with_late_counted(contract, hours)
    assert_as_expected(contract, expected)
    assert [(r.late, r.repaired) for r in _rebuild(contract, hours)] == [(0, 0), (0, 0)]
    assert_as_expected(contract, expected)
    after = account_of(contract)
    assert after.adds_up and after.late == 0
    assert after.counted == account.counted + account.late
    wait_for(lambda: same_tops(contract), "Redis has what Postgres has")


def _by_job(contract: Contract, hours: HourRange) -> int:
    """As from Dagster's pages; returns how many rows it repaired."""
    merged = dg.Definitions.merge(definitions([contract]), dg.Definitions(resources={"batch": BatchResource()}))
    job: Any = merged.resolve_job_def(f"{contract.stream}_rebuild_minutes")
    config = {"ops": {f"{contract.stream}_rebuild": {"config": {"first": hours.keys[0], "last": hours.keys[-1]}}}}
    result = job.execute_in_process(run_config=config)
    observations = [
        e.event_specific_data.asset_observation.metadata
        for e in result.all_events
        if e.event_type == dg.DagsterEventType.ASSET_OBSERVATION
    ]
    assert [m["rebuilt hour"].value for m in observations] == hours.keys
    return sum(m["repaired rows"].value for m in observations)


def test_damaged_rows_are_put_right(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.apply()
    contract, hours = running.contract, _hours()
    running.workers.start()
    _spread(running, range(500), hours.first, hour_start(datetime.now(UTC)))
    wait_until_read(contract)
    fill_lake(contract)
    expected = expected_of(contract)
    with connect(Settings.for_role("admin")) as connection:
        table = contract.minutes_table
        connection.execute(f"update {table} set count = count + 7 where minute = %s".encode(), (hours.first,))
        connection.execute(f"delete from {table} where minute = %s".encode(), (hours.last,))
    with pytest.raises(AssertionError):
        assert_as_expected(contract, expected)

    def dies(connection: Connection, of: Contract, partition: int, *rest: Any) -> pl.DataFrame:
        if partition == 3:
            raise RuntimeError("killed")
        return replace_rows(connection, of, partition, *rest)

    damaged = stored(contract, "window_start, event_type, count, late, duplicates")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr("assets.rebuild.rebuild.replace", dies)
        _rebuild(contract, hours)
    assert sorted(stored(contract, "window_start, event_type, count, late, duplicates")) == sorted(damaged)

    assert sum(r.repaired for r in _rebuild(contract, hours)) > 1
    assert_as_expected(contract, expected)
    with connect(Settings.for_role("admin")) as connection:
        connection.execute(f"update {table} set count = 0 where minute = %s".encode(), (hours.first,))
    assert _by_job(contract, hours) > 0
    assert_as_expected(contract, expected)


def test_an_open_hour_and_lost_records_are_refused(running: Running) -> None:
    running.apply()
    contract, hours = running.contract, _hours()
    running.workers.start()
    _spread(running, range(300), hours.first, hour_start(datetime.now(UTC)))
    wait_until_read(contract)
    now = hour_start(datetime.now(UTC))
    with pytest.raises(UserError, match="still open"):
        _rebuild(contract, HourRange(now - HOUR, now - HOUR))
    assert [r.repaired for r in _rebuild(contract, hours)] == [0, 0]

    admin: Any = admin_client(Settings.for_role("admin"))
    for deleted in admin.delete_records([TopicPartition(contract.topic, 0, 10)]).values():
        deleted.result()
    with pytest.raises(UserError, match="neither the lake nor Kafka has the offsets 0 to 9"):
        _rebuild(contract, hours)
