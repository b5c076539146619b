"""One writer at a time for each hour of an asset."""

import threading
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
import pytest

from assets.locks import partition_lock
from assets.resources import BatchResource
from streamgauge.dagster.hours import HOUR
from streamgauge.stack.control import Stack

FIRST = datetime(2026, 11, 5, tzinfo=UTC)
LAKE, FACTS = ("lake", "locked"), ("facts", "locked")


@pytest.fixture
def batch(stack: Stack) -> BatchResource:
    return BatchResource()


def acquired(batch: BatchResource, path: tuple[str, str], *hours: datetime, within: float) -> bool:
    """Whether another run gets the lock within this time."""
    got = threading.Event()

    def take() -> None:
        with partition_lock(batch, path, hours):
            got.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return got.wait(within)


def test_the_same_hour_is_waited_for_and_others_are_not(batch: BatchResource) -> None:
    waiting = partial(acquired, batch, LAKE)
    with partition_lock(batch, LAKE, [FIRST, FIRST + HOUR]):
        assert not waiting(FIRST + HOUR, FIRST + 2 * HOUR, within=1)
        assert waiting(FIRST + 3 * HOUR, within=10)
        assert acquired(batch, FACTS, FIRST, within=10)
    assert waiting(FIRST, FIRST + HOUR, FIRST + 2 * HOUR, within=10)


def test_runs_that_want_the_same_hours_in_different_order_both_end(batch: BatchResource) -> None:
    count = 20
    done: list[int] = []

    def take(hours: list[datetime]) -> None:
        for _ in range(count):
            with partition_lock(batch, LAKE, hours):
                done.append(1)

    hours = [FIRST + i * HOUR for i in range(10)]
    threads = [threading.Thread(target=take, args=(h,), daemon=True) for h in (hours, hours[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 2 * count


def test_a_run_that_lost_its_connection_knows_it(batch: BatchResource) -> None:
    with pytest.raises(psycopg.OperationalError), partition_lock(batch, LAKE, [FIRST]) as lock:
        lock.check()
        _cut(batch)
        lock.check()
    assert acquired(batch, LAKE, FIRST, within=10)


def _cut(batch: BatchResource) -> None:
    found: list[Any] = []
    with batch.connect(autocommit=True) as connection:
        found = connection.execute(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid()"
        ).fetchall()
    assert found
