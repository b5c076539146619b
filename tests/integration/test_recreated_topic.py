"""A topic that is deleted and created again loses no record that the new one acknowledged, and the accounts add up."""

from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from assets.lake.load import load_hour
from quality.reconciliation.coverage import Missing
from quality.reconciliation.read import read_snapshot
from streamgauge.dagster.hours import hour_start
from streamgauge.errors import UserError
from streamgauge.settings import Settings, batch_start
from streamgauge.state.accounts import Account, read_accounts
from streamgauge.stores.kafka import admin_client, topic_id
from streamgauge.stores.lake import OFFSET, PARTITION, lake_table
from streamgauge.stores.postgres import connect
from tests.integration.running import Running, events, rows_of, started, stored
from tests.integration.workers import wait_for


@pytest.fixture
def admin() -> AdminClient:
    return admin_client(Settings.for_role("admin"))


def recreate(running: Running, admin: AdminClient) -> None:
    """Deleted, and applied as soon as the broker has forgotten it."""
    before = topic_id(admin, running.contract.topic)
    untyped: Any = admin
    untyped.delete_topics([running.contract.topic])[running.contract.topic].result(20)

    def is_new() -> bool:
        try:
            running.apply()
            return topic_id(admin, running.contract.topic) not in (None, before)
        except UserError:
            return False

    wait_for(is_new, "the topic is there again")


def account(running: Running, admin: AdminClient) -> Account:
    with connect(Settings.for_role("reader"), autocommit=True) as connection:
        return read_accounts(connection, admin, [running.contract])[0]


def topics(running: Running) -> set[str]:
    return {topic for (topic,) in rows_of("stream_topics", "topic_id", running.contract)}


def wait_until_counted(running: Running, admin: AdminClient, acknowledged: int) -> Account:
    wait_for(
        lambda: account(running, admin).acknowledged >= acknowledged and account(running, admin).lag == 0, "all is read"
    )
    found = account(running, admin)
    assert found.adds_up, found
    return found


def test_while_a_worker_runs(running: Running, admin: AdminClient) -> None:
    running.apply()
    started(running)
    running.send(events(running.contract, 201))
    running.send_raw((b"bad", b"not Avro"))
    wait_until_counted(running, admin, 202)
    recreate(running, admin)
    # many more than there were: the worker's old position is within the new log at once
    running.send(events(running.contract, 3000, start=1000))
    running.send_raw((b"bad", b"not Avro either"))
    found = wait_until_counted(running, admin, 3203)
    assert (found.counted, found.dead_letters, found.lost, found.late, found.duplicates) == (3201, 2, 0, 0, 0)
    assert stored(running.contract) == [(3201,)]
    assert len(topics(running)) == 2
    positions = rows_of("dead_letters", 'partition, "offset"', running.contract)
    assert len(set(positions)) == 2
    assert "was deleted and created again" in running.workers.log()


def test_while_no_worker_runs(running: Running, admin: AdminClient) -> None:
    """The new log is longer than the committed offset of the old one, which looks as if nothing had happened."""
    running.apply()
    process = started(running)
    running.send(events(running.contract, 202))
    wait_until_counted(running, admin, 202)
    running.workers.stop(process)
    recreate(running, admin)
    running.send(events(running.contract, 900, start=1000))
    waiting = account(running, admin)
    assert (waiting.lag, waiting.adds_up) == (900, True)
    running.workers.start()
    found = wait_until_counted(running, admin, 1102)
    assert (found.counted, found.lost) == (1102, 0)


def test_known_records_that_nobody_read_are_lost_and_say_so(running: Running, admin: AdminClient) -> None:
    running.apply()
    process = started(running)
    running.send(events(running.contract, 100))
    wait_until_counted(running, admin, 100)
    running.workers.stop(process)
    with connect(Settings.for_role("admin")) as connection:
        # as a worker notes it that falls behind
        connection.execute(
            "update stream_offsets set end_offset = next_offset + 7 where topic = %s", (running.contract.topic,)
        )
    recreate(running, admin)
    running.send(events(running.contract, 50, start=1000))
    running.workers.start()
    partitions = running.contract.topic_spec.partitions
    found = wait_until_counted(running, admin, 150 + 7 * partitions)
    assert (found.counted, found.lost) == (150, 7 * partitions)


def test_the_lake_keeps_what_it_has_and_takes_the_new(running: Running, admin: AdminClient) -> None:
    hour = hour_start(datetime.now(UTC))
    running.apply()
    process = started(running)
    running.send(events(running.contract, 80))
    wait_until_counted(running, admin, 80)
    take(running, hour)
    running.workers.stop(process)
    recreate(running, admin)
    running.send(events(running.contract, 40, start=1000))
    with pytest.raises(UserError, match="created anew, and no worker has claimed it"):
        take(running, hour)
    running.workers.start()
    wait_until_counted(running, admin, 120)
    for _ in range(2):
        take(running, hour)
        rows = lake_table(Settings.for_role("batch").lake, running.contract).read()
        assert rows["event_id"].n_unique() == len(rows) == 120
        assert rows.select(PARTITION, OFFSET).n_unique() == 120


def test_what_the_lake_had_not_taken_is_known_to_be_gone(running: Running, admin: AdminClient) -> None:
    hour = hour_start(datetime.now(UTC))
    running.apply()
    started(running)
    running.send(events(running.contract, 80))
    wait_until_counted(running, admin, 80)
    recreate(running, admin)
    running.send(events(running.contract, 40, start=1000))
    wait_until_counted(running, admin, 120)
    take(running, hour)
    with connect(Settings.for_role("batch"), autocommit=True) as connection:
        found = read_snapshot(connection, running.contract, [hour])
    assert found.missing == Missing(deleted=80)
    assert found.settled.lake == found.settled.worker


def take(running: Running, begun: datetime) -> None:
    """From the hour in which the test began: another one may have begun since."""
    settings, now = Settings.for_role("batch"), datetime.now(UTC)
    with connect(settings, autocommit=True) as connection:
        for hour in sorted({begun, hour_start(now)}):
            load_hour(settings, running.contract, connection, hour, now=now, start=batch_start(), run_id="test")
