"""What a worker does while something else is away, slow or told to stop."""

import json
import signal
import threading
import time
from itertools import count
from typing import Any

import psutil
import psycopg
import pytest
from psycopg import sql

from streamgauge.records.avro import avro_schema
from streamgauge.records.registry import registry
from streamgauge.settings import Settings
from streamgauge.stack.control import Stack
from streamgauge.stores.postgres import connect
from streamgauge.stores.redis import redis_client
from streaming.load.generate import Shape
from streaming.load.load import Plan, load
from streaming.worker.claims import Claims
from streaming.worker.connection import connect_worker
from tests.integration.expectation import assert_as_expected, expected_of
from tests.integration.running import Running, encoded, events, now_ms, one, rows_of, same_tops
from tests.integration.workers import wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(180)]

SHAPE = Shape(users=1000)
"""Few enough that every top-N is exact."""


def test_redis_away_wiped_and_back(running: Running, stack: Stack) -> None:
    running.apply()
    contract = running.contract
    running.send(events(contract, 1000))
    running.workers.start()
    wait_until_read(contract)
    wait_for(lambda: same_tops(contract), "Redis has the top-N")
    stack.stop_program("redis")
    try:
        running.send(events(contract, 1000, start=1000))
        assert wait_until_read(contract).counted == 2000
    finally:
        stack.start_program("redis")
    wait_for(lambda: same_tops(contract), "Redis has caught up")

    redis = redis_client(Settings.for_role("admin"))
    keys = [contract.redis_minutes_key, *(contract.redis_top_key(t.name, "5m") for t in contract.rollup.top)]
    assert redis.delete(*keys) == len(keys)
    wait_for(lambda: same_tops(contract) and bool(redis.exists(contract.redis_minutes_key)), "Redis is rebuilt")
    held: Any = redis.get(contract.redis_minutes_key)
    assert sum(m["count"] for m in json.loads(held)["minutes"]) == 2000


def test_an_unknown_schema_waits_for_the_registry(running: Running, stack: Stack) -> None:
    running.apply()
    contract = running.contract
    newer = {**avro_schema(contract), "doc": "Not seen by the worker so far."}
    newer_id = registry(Settings.for_role("admin")).register(f"{contract.topic}-newer", newer)
    running.send(events(contract, 100))
    running.workers.start()
    wait_until_read(contract)
    stack.stop_program("registry")
    try:
        running.send_raw(*((str(i).encode(), encoded(newer, newer_id, one(contract))) for i in range(10)))
        wait_for(lambda: "waiting for the schema registry" in running.workers.log(), "the worker waits")
        assert not rows_of("dead_letters", "reason", contract)
    finally:
        stack.start_program("registry")
    account = wait_until_read(contract)
    assert (account.counted, account.dead_letters) == (110, 0)
    assert "the schema registry is back" in running.workers.log()


def test_postgres_slow(running: Running) -> None:
    """A lock holds every commit up, while more is sent than may be held in memory."""
    running.apply()
    contract = running.contract
    running.send(events(contract, 1000))
    process = running.workers.start()
    wait_until_read(contract)
    memory = psutil.Process(process.pid)
    highest = 0
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("lock table stream_offsets in share row exclusive mode")
        until = time.monotonic() + 15
        load(Settings.for_role("producer"), contract, Plan(150_000, None, now_ms(), seed=1, span_seconds=5), SHAPE)
        while time.monotonic() < until:
            highest = max(highest, memory.memory_info().rss)
            time.sleep(0.2)
        assert rows_of("stream_offsets", "sum(counted) over ()", contract)[0] == (1000,)
    assert wait_until_read(contract).acknowledged == 151_000
    assert highest < 500 << 20
    log = running.workers.log()
    assert log.count("assigned partitions") == 1, "it stays in the group"
    assert "session ended" not in log
    assert_as_expected(contract, expected_of(contract))


def test_partitions_change_hands_while_postgres_is_slow(running: Running) -> None:
    """What the first worker holds for them is of no use any more, and they are read again although it paused them."""
    running.apply()
    contract = running.contract
    running.send(events(contract, 1000))
    running.workers.start()
    wait_until_read(contract)
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("lock table stream_offsets in share row exclusive mode")
        load(Settings.for_role("producer"), contract, Plan(60_000, None, now_ms(), seed=1, span_seconds=5), SHAPE)
        # nothing tells that the reader has begun to wait for the pipeline
        time.sleep(3)
        running.workers.start()
        wait_for(lambda: running.workers.log().count("assigned partitions") == 3, "both have their share")
    assert wait_until_read(contract).acknowledged == 61_000
    assert_as_expected(contract, expected_of(contract))


def test_sigterm_under_load(running: Running) -> None:
    running.apply()
    contract = running.contract
    failures: list[BaseException] = []
    stopped = threading.Event()

    def send() -> None:
        try:
            for seed in count():
                load(Settings.for_role("producer"), contract, Plan(6_000, 6000, now_ms(), seed=seed), SHAPE)
                if stopped.is_set():
                    break
        except BaseException as e:
            failures.append(e)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        for _ in range(2):
            before = sum(n for (n,) in rows_of("stream_offsets", "next_offset", contract))
            process = running.workers.start()
            wait_for(
                lambda before=before: sum(n for (n,) in rows_of("stream_offsets", "next_offset", contract)) > before,
                "it counts",
            )
            assert running.workers.stop(process) < 5
    finally:
        stopped.set()
    sending.join(60)
    assert not sending.is_alive() and not failures
    assert "session ended" not in running.workers.log()
    running.workers.start()
    wait_until_read(contract)
    assert_as_expected(contract, expected_of(contract))


def test_a_worker_frozen_inside_a_transaction_lets_its_partition_go(running: Running) -> None:
    running.apply()
    contract, settings = running.contract, Settings.for_role("worker")
    with connect_worker(settings) as frozen, connect_worker(settings) as successor:
        Claims(contract, "frozen").claim(frozen, 0, "an id", 0, 10)
        frozen.execute("begin")
        frozen.execute("update stream_offsets set next_offset = 5 where topic = %s", (contract.topic,))
        progress = Claims(contract, "successor").claim(successor, 0, "an id", 0, 10).progress
        assert (progress.next_offset, progress.epoch) == (0, 2)
        with pytest.raises(psycopg.Error):
            frozen.execute("commit")


def test_a_worker_frozen_while_it_copies_lets_its_partitions_go(running: Running) -> None:
    """Postgres doesn't count such a transaction as idle."""
    running.apply()
    contract, settings = running.contract, Settings.for_role("worker")
    running.send(events(contract, 100))
    process = running.workers.start()
    wait_until_read(contract)
    running.workers.stop(process)
    with connect_worker(settings) as frozen, frozen.cursor() as cursor:
        cursor.execute("begin")
        cursor.execute("update stream_offsets set next_offset = 50 where topic = %s", (contract.topic,))
        with (
            pytest.raises(psycopg.OperationalError),
            cursor.copy(sql.SQL("copy {} from stdin").format(sql.Identifier(contract.minutes_table))) as copy,
        ):
            running.send(events(contract, 100, start=1_000))
            running.workers.start()
            assert wait_until_read(contract).counted == 200
            copy.write("x")
    assert "it is cut off" in running.workers.log()
    assert_as_expected(contract, expected_of(contract))


def test_a_publisher_that_stands_still_is_succeeded(running: Running) -> None:
    """Its connections stay open, so only their silence can end its lock."""
    running.apply()
    contract = running.contract
    running.send(events(contract, 100))
    frozen = running.workers.start()
    wait_until_read(contract)

    def all_published() -> bool:
        return all(p == n for p, n in rows_of("stream_offsets", "published_offset, next_offset", contract))

    wait_for(all_published, "the first worker publishes")
    frozen.send_signal(signal.SIGSTOP)
    try:
        running.send(events(contract, 100, start=1_000))
        running.workers.start()
        assert wait_until_read(contract).counted == 200
        wait_for(all_published, "the second worker publishes")
    finally:
        frozen.send_signal(signal.SIGCONT)
