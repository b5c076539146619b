"""A program that runs for the length of a block."""

import subprocess
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

_STOP_SECONDS = 20
"""It is killed then: what hangs would keep its port from the next test."""


@contextmanager
def running_program(command: Sequence[str], log: Path, folder: Path, user: str | None = None) -> Generator[None]:
    """Runs it in the folder, as this user or another one, with all its output in the log."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, user=user)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
