"""The worker as its users start it, one process, watched from outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.figures import Sample
from streamgauge.accounts import Account, read_accounts
from streamgauge.contracts import Contract
from streamgauge.errors import UserError
from streamgauge.kafka import admin_client
from streamgauge.postgres import Connection, connect
from streamgauge.settings import Settings

_EVERY_SECONDS = 0.1
_STALLED_SECONDS = 60.0
_STOP_SECONDS = 10.0
_LOG_CHARACTERS = 2_000


@dataclass
class Worker:
    process: psutil.Process
    log: Path

    @property
    def running(self) -> bool:
        return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE


@contextmanager
def running(contract: Contract, folder: Path) -> Generator[Worker]:
    log = folder / "worker.log"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "streamgauge.cli", "worker", contract.stream]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=os.environ)
    try:
        yield Worker(psutil.Process(process.pid), log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def watch(worker: Worker, contract: Contract, records: int, on_progress: Callable[[int], None]) -> list[Sample]:
    """Until `records` are committed: what was committed when, and the process's memory and CPU time at that time."""
    samples: list[Sample] = []
    changed = time.monotonic()
    with connect(Settings.for_role("reader"), autocommit=True) as connection:
        while True:
            done = sum(committed(connection, contract).values())
            now = time.monotonic()
            if not worker.running or now - changed > _STALLED_SECONDS:
                said = worker.log.read_text(errors="replace")[-_LOG_CHARACTERS:]
                raise UserError(f"the worker stands still after {done} of {records} records:\n{said}", "")
            cpu = worker.process.cpu_times()
            samples.append(Sample(now, done, worker.process.memory_info().rss, cpu.user + cpu.system))
            if len(samples) > 1 and done > samples[-2].done:
                on_progress(done)
                changed = now
            if done >= records:
                return samples
            time.sleep(_EVERY_SECONDS)


def committed(connection: Connection, contract: Contract) -> dict[int, int]:
    """By partition, the offset up to which the minutes in Postgres hold the log: one transaction writes both."""
    query = "SELECT partition, next_offset FROM stream_offsets WHERE topic = %s"
    return dict(connection.execute(query, (contract.topic,)).fetchall())


def account(contract: Contract) -> Account:
    with connect(Settings.for_role("reader")) as connection:
        return read_accounts(connection, admin_client(Settings.for_role("admin")), [contract])[0]
