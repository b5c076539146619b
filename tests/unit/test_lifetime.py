"""Waiting inside a session: it is patient with servers, and never outlasts the session."""

import queue
import threading
from concurrent.futures import Future

import pytest

from streaming.worker.lifetime import TICK_SECONDS, Ended, Lifetime, Waits


def test_what_passes_is_tried_again_and_anything_else_is_not() -> None:
    lifetime, left = Lifetime("clicks"), [OSError("away"), OSError("away")]

    def attempt() -> str:
        if left:
            raise left.pop()
        return "answer"

    assert lifetime.retry(OSError, "a server", attempt) == "answer"
    left.append(OSError("away"))
    with pytest.raises(OSError):
        lifetime.retry(ValueError, "a server", attempt)


def test_a_server_that_stays_away_is_waited_for_until_the_session_ends() -> None:
    lifetime = Lifetime("clicks")

    def attempt() -> None:
        raise OSError("away")

    threading.Timer(0.2, lifetime.end).start()
    with pytest.raises(Ended):
        lifetime.retry(OSError, "a server", attempt)


def test_a_server_is_waited_for_as_long_as_given() -> None:
    def attempt() -> None:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        Lifetime("clicks").retry(OSError, "a server", attempt, 0.2)


@pytest.mark.parametrize("fails", [False, True])
def test_queues_and_results_are_waited_for_until_the_session_ends(fails: bool) -> None:
    lifetime, full, never = Lifetime("clicks"), queue.Queue[int](maxsize=1), Future[int]()
    full.put(1)
    waits = Waits()
    assert not lifetime.offer(full, 2, waits)
    assert waits.backpressured >= TICK_SECONDS and waits.idle == 0
    meanwhile: list[int] = []
    threading.Timer(0.3, (lambda: lifetime.fail(ValueError())) if fails else lifetime.end).start()
    with pytest.raises(Ended):
        lifetime.put(full, 2, waits)
    for wait in (lambda: lifetime.get(queue.Queue[int](), lambda: meanwhile.append(0), waits),
                 lambda: lifetime.result(never, lambda: meanwhile.append(0), waits)):  # fmt: skip
        with pytest.raises(Ended):
            wait()
    assert lifetime.over
    assert waits.idle >= 2 * TICK_SECONDS


def test_the_first_failure_is_the_one_that_counts() -> None:
    lifetime, first = Lifetime("clicks"), ValueError("first")

    def work() -> None:
        raise first

    lifetime.fail(Ended())
    assert not lifetime.over
    lifetime.guard("commit", work)
    lifetime.fail(ValueError("second"))
    assert lifetime.failure is first


def test_what_was_put_is_taken_and_a_result_is_given() -> None:
    lifetime, items, done = Lifetime("clicks"), queue.Queue[int](), Future[int]()
    waits = Waits()
    lifetime.put(items, 1, waits)
    done.set_result(2)
    assert (lifetime.get(items, lambda: None, waits), lifetime.result(done, lambda: None, waits)) == (1, 2)
    assert waits.idle + waits.backpressured < TICK_SECONDS
    cancelled = Future[int]()
    cancelled.cancel()
    cancelled.set_running_or_notify_cancel()
    with pytest.raises(Ended):
        lifetime.result(cancelled, lambda: None, waits)
