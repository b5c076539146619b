"""A worker's word on itself."""

import queue
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from streaming.worker import health
from streaming.worker.health import Health
from streaming.worker.heartbeats import Heartbeats
from streaming.worker.lifetime import Lifetime, Waits


def _health(lifetime: Lifetime, process: Heartbeats | None = None) -> Health:
    session: Any = SimpleNamespace(heartbeats=lifetime.heartbeats)
    return Health(process or Heartbeats(), {"clicks"}, {"clicks": session})


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_thread_that_hangs_ends_the_life_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "HANGING_SECONDS", 1.0)
    lifetime, hanging = Lifetime("clicks"), threading.Event()
    thread = threading.Thread(target=lifetime.guard, args=("commit", hanging.wait), daemon=True)
    thread.start()
    asked = _health(lifetime)
    assert not asked.alive()
    _until(lambda: asked.alive() == ["the thread clicks_commit is silent"])
    hanging.set()
    thread.join()
    assert not asked.alive()


def test_a_thread_that_waits_for_work_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "HANGING_SECONDS", 1.0)
    lifetime, rounds = Lifetime("clicks"), list[None]()

    def work() -> None:
        lifetime.get(queue.Queue[int](), lambda: rounds.append(None), Waits())

    thread = threading.Thread(target=lifetime.guard, args=("commit", work), daemon=True)
    thread.start()
    asked = _health(lifetime)
    _until(lambda: len(rounds) > 15)
    assert not asked.alive()
    assert not asked.ready()
    lifetime.end()
    thread.join()


def test_a_thread_that_waits_for_a_server_lives_and_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "HANGING_SECONDS", 5.0)
    lifetime, away = Lifetime("clicks"), threading.Event()
    away.set()

    def attempt() -> None:
        if away.is_set():
            raise OSError("refused")

    def work() -> None:
        lifetime.retry(OSError, "Postgres", attempt)
        lifetime.get(queue.Queue[int](), lambda: None, Waits())

    thread = threading.Thread(target=lifetime.guard, args=("commit", work), daemon=True)
    thread.start()
    asked = _health(lifetime)
    _until(lambda: asked.ready() == ["clicks waits for Postgres"])
    assert not asked.alive()
    away.clear()
    _until(lambda: not asked.ready())
    lifetime.end()
    thread.join()


def test_a_stream_without_a_session_is_not_ready() -> None:
    assert Health(Heartbeats(), {"clicks"}, {}).ready() == ["clicks has no session"]
    assert Health(Heartbeats(), set(), {}).ready() == ["no stream is applied"]
    assert not Health(Heartbeats(), set(), {}).alive()
