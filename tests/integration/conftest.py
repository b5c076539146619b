"""The real servers, as the instance `test` or the one that the environment names: fresh for each session, beside a
running demo, and gone when it ends. Tests that run side by side have an instance each, with ports of its own.
"""

import atexit
import contextlib
import fcntl
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from streamgauge.settings import PREFIX, base_port
from streamgauge.stack.control import Stack
from streamgauge.stack.layout import cache_dir
from tests.integration.own_stream import OwnStream, block
from tests.integration.running import Running
from tests.integration.workers import Workers

_INSTANCE = os.environ.get(f"{PREFIX}INSTANCE", "test")
_WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
_PORTS_EACH = 100
_FIRST_PORT = 19300
"""Behind those of the instances that platform/stack/stack.toml names."""


@pytest.fixture(scope="session")
def stack() -> Generator[Stack]:
    """`Settings.for_role(role)` leads to these servers for as long as the session lasts."""
    instance, port = _own()
    with _turn(instance), pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith(PREFIX)]:
            patch.delenv(name)
        patch.setenv(f"{PREFIX}INSTANCE", instance)
        if port is not None:
            patch.setenv(f"{PREFIX}BASE_PORT", str(port))
        # no span is made but in the tests of spans: a tracer provider is for ever, in this process too
        patch.setenv("OTEL_TRACES_EXPORTER", "none")
        built = Stack()
        built.reset()
        # pytest finishes its fixtures on Ctrl-C, and on SIGTERM only if it looks the same.
        before = signal.signal(signal.SIGTERM, _interrupt)
        # A shell starts its background jobs with SIGINT ignored, which the tests' processes would inherit.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        atexit.register(built.reset)
        try:
            built.up()
            yield built
        finally:
            built.reset()
            atexit.unregister(built.reset)
            signal.signal(signal.SIGTERM, before)


@pytest.fixture
def fresh_stack(stack: Stack) -> Stack:
    """The servers with nothing of earlier tests in them: for what reads all that an instance holds."""
    stack.reset()
    stack.up()
    return stack


@pytest.fixture
def running(stack: Stack, tmp_path: Path) -> Generator[Running]:
    """A stream that is never idle, so that what comes of its log doesn't hang on the clock."""
    own = OwnStream(tmp_path)
    with Workers([own.name], tmp_path) as workers:
        built = Running(own, workers)
        built.edit(lambda d: block(d, "time").update(idleAfterSeconds=3600))
        yield built


def _own() -> tuple[str, int | None]:
    """This process's instance, and its base port where stack.toml has none for it."""
    given = base_port()
    if not _WORKER:
        return _INSTANCE, given
    return f"{_INSTANCE}-{_WORKER}", (given or _FIRST_PORT) + _PORTS_EACH * int(_WORKER.removeprefix("gw"))


@contextlib.contextmanager
def _turn(instance: str) -> Generator[None]:
    """Two sessions at once would wipe each other's servers: the second waits for the first."""
    with (cache_dir() / f"{instance}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt
