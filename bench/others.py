"""What else can read the topic: raw `consume()`, a plain loop with Confluent's deserializer, and Quix Streams."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.stack.layout import cache_dir
from streamgauge.stores.kafka import client_config, consumer_config

_HERE = Path(__file__).parent
_LOCK = _HERE / "quix.lock"
_TIMEOUT = 600.0
FETCHES: tuple[dict[str, int], ...] = (
    {},
    {"max.partition.fetch.bytes": 1 << 20, "queued.max.messages.kbytes": 64 << 10},
    {"max.partition.fetch.bytes": 4 << 20, "queued.max.messages.kbytes": 256 << 10},
)
"""What is tried for the limit beside the worker's own fetch settings, which keep its memory small."""


How = Literal["whole", "bare"]
"""Quix with its changelog, which is its default, or without, so that a crash loses its state."""


@dataclass(frozen=True)
class Rate:
    records: int
    seconds: float
    cpu: float | None = None

    @property
    def per_second(self) -> float:
        return self.records / self.seconds


def raw(settings: Settings, contract: Contract, records: int) -> Rate:
    """The fastest of several fetch settings, so that the limit is one."""
    found = [_loop(sys.executable, settings, contract, records, fetch, False) for fetch in FETCHES]
    return max(found, key=lambda r: r.per_second)


def plain(settings: Settings, contract: Contract, records: int) -> Rate:
    return _loop(str(environment()), settings, contract, records, {}, True)


def quix(settings: Settings, contract: Contract, records: int, folder: Path, how: How) -> Rate:
    group = f"bench-quix-{how}"
    job = {
        "connection": _sayable(client_config(settings)),
        "consumer": {"fetch.queue.backoff.ms": 5, "fetch.max.bytes": 50 * 1024 * 1024},
        "group": group,
        "changelog": how != "bare",
        "state_dir": str(folder / group),
        "topic": contract.topic,
        "records": records,
        "registry_url": settings.registry_url,
        "time_field": contract.event_time,
    }
    return _run(str(environment()), "quix.py", job)


def environment() -> Path:
    """The Python of the environment that bench/quix.lock describes: Quix needs another confluent-kafka than we do."""
    name = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    folder = cache_dir() / f"quix-{name}"
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = Path(sys.executable).parent / "uv"
    # uv doesn't read pip's configuration, so it is given a mirror as in install.sh.
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    index = os.environ.get("PIP_INDEX_URL") or subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    known = {"UV_SYSTEM_CERTS": "true", **({"UV_DEFAULT_INDEX": index} if index else {})}
    for command in (
        [str(uv), "venv", "-q", "--python", sys.executable, str(folder)],
        [str(uv), "pip", "sync", "-q", "--python", str(python), "--require-hashes", str(_LOCK)],
    ):
        done = subprocess.run(command, env={**known, **os.environ}, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(
                f"the environment of Quix Streams can't be made: {done.stderr.strip()}", "see bench/quix.in"
            )
    (folder / "complete").touch()
    return python


def _loop(
    python: str, settings: Settings, contract: Contract, records: int, fetch: dict[str, int], deserialize: bool
) -> Rate:
    consumer = {**consumer_config(settings, "bench-loop"), "auto.offset.reset": "earliest", **fetch}
    job = {
        "consumer": _sayable(consumer),
        "topic": contract.topic,
        "records": records,
        "deserialize": deserialize,
        "registry_url": settings.registry_url,
    }
    return _run(python, "loop.py", job)


def _run(python: str, script: str, job: dict[str, Any]) -> Rate:
    try:
        done = subprocess.run(
            [python, str(_HERE / "children" / script)],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise UserError(f"{script} takes more than {_TIMEOUT:.0f} s", "try fewer --events") from e
    if done.returncode:
        raise UserError(f"{script} failed: {done.stderr.strip()[-2000:]}", "")
    return Rate(**json.loads(done.stdout.splitlines()[-1]))


def _sayable(config: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in config.items() if k != "logger"}
