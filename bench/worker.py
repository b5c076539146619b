"""The worker as its users start it, one process, watched from outside."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench import program
from bench.figures import Sample
from bench.program import Program
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.state.accounts import Account, read_accounts
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import Connection, connect

_EVERY_SECONDS = 0.1
_STALLED_SECONDS = 60.0


@contextmanager
def running(contract: Contract, folder: Path, environment: Mapping[str, str] | None = None) -> Generator[Program]:
    command = ("streamgauge.cli", "worker", contract.stream)
    with program.running(folder / "worker.log", *command, environment=environment) as started:
        yield started


def watch(worker: Program, contract: Contract, records: int, on_progress: Callable[[int], None]) -> list[Sample]:
    """Until `records` are committed: what was committed when, and the process's memory and CPU time at that time."""
    samples: list[Sample] = []
    changed = time.monotonic()
    with connect(Settings.for_role("reader"), autocommit=True) as connection:
        while True:
            done = sum(committed(connection, contract).values())
            now = time.monotonic()
            if not worker.running or now - changed > _STALLED_SECONDS:
                raise UserError(f"the worker stands still after {done} of {records} records:\n{worker.text}", "")
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
