"""Programs as their users start them, each in a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

_STOP_SECONDS = 10.0
_LOG_CHARACTERS = 2_000


@dataclass
class Program:
    process: psutil.Process
    log: Path

    @property
    def running(self) -> bool:
        return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE

    @property
    def text(self) -> str:
        return self.log.read_text(errors="replace")[-_LOG_CHARACTERS:]


@contextmanager
def running(
    log: Path, module: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> Generator[Program]:
    """`python -m module`, stopped when the block ends."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=file,
            stderr=subprocess.STDOUT,
            # what traces cost is measured apart
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none", **(environment or {})},
        )
    try:
        yield Program(psutil.Process(process.pid), log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
