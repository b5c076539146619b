"""Workers as processes of their own, and waiting for what they do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from streamgauge.contract.model import Contract
from streamgauge.settings import PREFIX, Settings
from streamgauge.state.accounts import Account, read_accounts
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import connect

_STOP_SECONDS = 10.0
_LOG_CHARACTERS = 20_000


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:.0f} s still not: {what}"
        time.sleep(0.1)


class Workers:
    """Workers for streams of one contracts folder (all of them if none is named), which also gets their logs.

    Leaving the block ends those that still run.
    """

    def __init__(self, streams: Sequence[str], contracts_dir: Path, *, logs: Path | None = None) -> None:
        self._streams = streams
        self._contracts_dir = contracts_dir
        self._logs = logs or contracts_dir
        self._started = 0
        self.running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.running:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in list(self.running):
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(_STOP_SECONDS)
        self.running.clear()
        if error is not None:
            print(self.log()[-_LOG_CHARACTERS:])  # noqa: T201  pytest shows it with the failure

    def start(self) -> subprocess.Popen[bytes]:
        self._started += 1
        with self._file(self._started).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "streamgauge.cli", "worker", *self._streams],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, f"{PREFIX}CONTRACTS_DIR": str(self._contracts_dir)},
            )
        self.running.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(_STOP_SECONDS)
        self.running.remove(process)

    def stop(self, process: subprocess.Popen[bytes]) -> float:
        """By SIGTERM; returns the seconds it took."""
        began = time.monotonic()
        process.terminate()
        assert process.wait(_STOP_SECONDS) == 0
        self.running.remove(process)
        return time.monotonic() - began

    def log(self) -> str:
        """Of all workers, in the order they were started."""
        files = (self._file(n) for n in range(1, self._started + 1))
        return "".join(f.read_text(errors="replace") for f in files)

    def _file(self, number: int) -> Path:
        return self._logs / f"worker-{number}.log"


def account_of(contract: Contract) -> Account:
    with connect(Settings.for_role("reader")) as connection:
        return read_accounts(connection, admin_client(Settings.for_role("admin")), [contract])[0]


def wait_until_read(contract: Contract, seconds: float = 120.0) -> Account:
    """Waits until all that is in the log is committed. Nothing else may be sending."""
    deadline = time.monotonic() + seconds
    while (account := account_of(contract)).lag:
        assert time.monotonic() < deadline, f"after {seconds:.0f} s {account.lag} records are not committed: {account}"
        time.sleep(0.2)
    assert account.adds_up, account
    return account
