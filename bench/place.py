"""The instance `bench` of the stack: fresh servers of its own, gone when the bench ends, also by Ctrl-C or SIGTERM."""

import contextlib
import csv
import fcntl
import os
import signal
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType

from streamgauge.apply.execute import apply
from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.rollup.reference import load_reference
from streamgauge.settings import PREFIX, Settings
from streamgauge.stack.control import Stack
from streamgauge.stack.layout import cache_dir
from streamgauge.stores.postgres import connect

INSTANCE = "bench"
STREAM = "user_events"
USERS = 10_000


@contextlib.contextmanager
def servers(say: Callable[[str], None]) -> Generator[Stack]:
    """Within the block `Settings.for_role(role)` leads to these servers, in child processes too."""
    for name in [n for n in os.environ if n.startswith(PREFIX)]:
        del os.environ[name]
    os.environ[f"{PREFIX}INSTANCE"] = INSTANCE
    with _alone():
        stack = Stack()
        before = signal.signal(signal.SIGTERM, _interrupt)
        stack.reset()
        try:
            stack.up(say=say)
            yield stack
        finally:
            stack.reset()
            signal.signal(signal.SIGTERM, before)


def prepare(folder: Path) -> Contract:
    """Contracts applied, and half of the users in the reference table."""
    admin = Settings.for_role("admin")
    contracts = load_contracts(admin.contracts_dir)
    apply(admin, contracts)
    contract = find_contract(contracts, STREAM)
    if contract.reference is not None:
        file = folder / "reference.csv"
        with file.open("w", newline="") as lines:
            writer = csv.writer(lines)
            writer.writerow(["user_id", "kind", "organisation"])
            writer.writerows(
                (f"user_id-{i}", "bot" if i % 10 == 0 else "human", f"org-{i % 500}") for i in range(0, USERS, 2)
            )
        with connect(admin) as connection:
            load_reference(connection, contract.reference, file)
    return contract


@contextlib.contextmanager
def _alone() -> Generator[None]:
    with (cache_dir() / "bench.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError("another bench is running on this machine", "wait for its end") from None
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
