"""One writer at a time for each hour of an asset."""

import threading
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
import pytest

from assets.locks import partition_lock
from assets.resources import Ground
from streamgauge.dagster.hours import HOUR
from streamgauge.stack.control import Stack

FIRST = datetime(2026, 11, 5, tzinfo=UTC)
LAKE, FACTS = ("lake", "locked"), ("facts", "locked")


@pytest.fixture
def ground(stack: Stack) -> Ground:
    return Ground()


def taken(ground: Ground, path: tuple[str, str], *hours: datetime, within: float) -> bool:
    """Whether another run gets the lock within this time."""
    got = threading.Event()

    def take() -> None:
        with partition_lock(ground, path, hours):
            got.set()

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    return got.wait(within)


def test_the_same_hour_is_waited_for_and_others_are_not(ground: Ground) -> None:
    waiting = partial(taken, ground, LAKE)
    with partition_lock(ground, LAKE, [FIRST, FIRST + HOUR]):
        assert not waiting(FIRST + HOUR, FIRST + 2 * HOUR, within=1)
        assert waiting(FIRST + 3 * HOUR, within=10)
        assert taken(ground, FACTS, FIRST, within=10)
    assert waiting(FIRST, FIRST + HOUR, FIRST + 2 * HOUR, within=10)


def test_runs_that_want_the_same_hours_in_different_order_both_end(ground: Ground) -> None:
    count = 20
    done: list[int] = []

    def take(hours: list[datetime]) -> None:
        for _ in range(count):
            with partition_lock(ground, LAKE, hours):
                done.append(1)

    hours = [FIRST + i * HOUR for i in range(10)]
    threads = [threading.Thread(target=take, args=(h,), daemon=True) for h in (hours, hours[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 2 * count


def test_a_run_that_lost_its_connection_knows_it(ground: Ground) -> None:
    with pytest.raises(psycopg.OperationalError), partition_lock(ground, LAKE, [FIRST]) as lock:
        lock.check()
        _cut(ground)
        lock.check()
    assert taken(ground, LAKE, FIRST, within=10)


def _cut(ground: Ground) -> None:
    found: list[Any] = []
    with ground.connect(autocommit=True) as connection:
        found = connection.execute(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and pid <> pg_backend_pid()"
        ).fetchall()
    assert found
