"""What one record can do to a worker that nobody foresaw, staged in Postgres: it is set aside, and no other is."""

# confluent_kafka.admin documents these names as its own, and doesn't list them in __all__.
# pyright: reportPrivateImportUsage=false

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from streamgauge.settings import Settings
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import connect
from tests.integration.running import Running, events, read_topic, rows_of, started, stored
from tests.integration.workers import wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(600)]


@contextmanager
def refused(running: Running, condition: str) -> Generator[None]:
    """Postgres takes no minute row for which this is false."""
    table = running.contract.minutes_table
    with connect(Settings.for_role("admin"), autocommit=True) as connection:
        connection.execute(f'alter table "{table}" add constraint staged check ({condition})'.encode())
        yield
        connection.execute(f'alter table "{table}" drop constraint staged'.encode())


def test_the_record_that_ends_every_session_becomes_a_dead_letter(running: Running) -> None:
    running.apply()
    with refused(running, "event_type <> 'PoisonEvent'"):
        running.send(events(running.contract, 5_000))
        running.send(events(running.contract, 2, start=5_000, event_type="PoisonEvent"))
        running.send(events(running.contract, 5_000, start=6_000))
        process = running.workers.start()
        wait_for(lambda: _dead_letters(running) == [("unexpected", "CheckViolation")] * 2, "both are set aside", 300)
        assert "PoisonEvent" not in running.workers.log()
        assert process.poll() is None
        account = wait_until_read(running.contract)
        assert (account.counted, account.dead_letters, account.adds_up) == (10_000, 2, True)
        running.workers.stop(process)
        # what was set aside stays so when the log is read again for its event ids
        running.workers.start()
        running.send(events(running.contract, 100, start=20_000))
        assert wait_until_read(running.contract).counted == 10_100
        assert len(_dead_letters(running)) == 2


def test_what_is_beyond_a_limit_of_postgres_is_no_outage(running: Running) -> None:
    """A key that is too long for an index: psycopg has it as an operational error, as it has a server that is gone.

    No contract allows so long a key; an index that somebody added by hand may make one of it.
    """
    running.apply()
    long = "A" * 64
    key = " || ".join(f"md5(event_type || '{i}')" for i in range(150))
    with connect(Settings.for_role("admin"), autocommit=True) as connection:
        expression = f"(case when length(event_type) = {len(long)} then {key} else '' end)"
        connection.execute(f'create index on "{running.contract.minutes_table}" ({expression})'.encode())
    running.send(events(running.contract, 200))
    running.send(events(running.contract, 1, start=200, event_type=long))
    running.send(events(running.contract, 200, start=201))
    running.workers.start()
    wait_for(lambda: _dead_letters(running) == [("unexpected", "Permanent")], "it is set aside", 300)
    account = wait_until_read(running.contract)
    assert (account.counted, account.dead_letters) == (400, 1)
    assert "waiting for Postgres" not in running.workers.log()


def test_a_dead_letter_that_is_too_large_for_its_topic_does_not_hold_up_the_others(running: Running) -> None:
    running.apply()
    _limit(admin_client(Settings.for_role("admin")), running.contract.dead_letter_topic, 10_000)
    running.send_raw((b"large", os.urandom(100_000)), (b"small", b"not Avro"))
    started(running)
    wait_for(
        lambda: all(done for (done,) in rows_of("dead_letters", "forwarded", running.contract)), "both are forwarded"
    )
    sent = read_topic(running.contract.dead_letter_topic, running.contract.group)
    values = {m.value(): dict(m.headers() or []) for m in sent}
    assert values.keys() == {None, b"not Avro"}
    assert values[None]["dead_letter_too_large"] == b"true"
    with connect(Settings.for_role("admin")) as connection:
        query = "select length(value) from dead_letters where topic = %s and key = 'large'"
        assert connection.execute(query, (running.contract.topic,)).fetchone() == (100_000,)


def test_the_reference_table_is_taken_up_before_the_first_event(running: Running) -> None:
    """It is loaded while a worker waits that has never committed."""
    running.apply()
    running.workers.start()
    wait_for(lambda: bool(rows_of("stream_offsets", "partition", running.contract)), "the partitions are claimed")
    table = f"reference_{running.own.name}"
    with connect(Settings.for_role("admin"), autocommit=True) as connection:
        insert = f"insert into {table} select 'u' || i, 'known', 'acme' from generate_series(0, 49) i"
        connection.execute(insert.encode())
    wait_for(lambda: running.workers.log().count("the reference table was read") > 1, "the worker has seen it")
    running.send(events(running.contract, 500))
    wait_until_read(running.contract)
    assert stored(running.contract, "min(actor_kind), max(actor_kind), sum(count)::bigint") == [("known", "known", 500)]


def _dead_letters(running: Running) -> list[tuple[Any, ...]]:
    return sorted((reason, detail) for reason, detail in rows_of("dead_letters", "reason, detail", running.contract))


def _limit(admin: AdminClient, topic: str, size: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    untyped: Any = admin
    for future in untyped.incremental_alter_configs([resource]).values():
        future.result(10)
