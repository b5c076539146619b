"""A real Alertmanager and Prometheus for a test, and a webhook that notes what it is told."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from string import Template
from typing import Any

import httpx

from streamgauge.settings import CHECKOUT
from streamgauge.stack.layout import LOOPBACK
from tests.http_server import listening

TEMPLATES = CHECKOUT / "platform" / "observability"
_READY_SECONDS = 20.0


def free_port() -> int:
    with socket.socket() as s:
        s.bind((LOOPBACK, 0))
        return s.getsockname()[1]


@dataclass
class Receiver:
    """What arrived, in order. While `away` it answers 503 and keeps nothing."""

    url: str
    bodies: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    away: bool = False

    def reported(self) -> list[tuple[str, str, str]]:
        """(alert, status, severity) of each."""
        return [
            (a["labels"]["alertname"], a["status"], a["labels"]["severity"]) for b in self.bodies for a in b["alerts"]
        ]


@contextmanager
def receiver() -> Generator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not built.away:
                built.bodies.append(json.loads(body))
            self.send_response(503 if built.away else 200)
            self.end_headers()

    with listening(Handler) as port:
        built = Receiver(f"http://{LOOPBACK}:{port}/")
        yield built


def fill(name: str, edit: Callable[[str], str] = lambda text: text, **values: str) -> str:
    """A template as the stack fills it in; what the test has no part for points to a closed port."""
    ports = dict.fromkeys(
        ("WORKER_METRICS", "PRODUCER_METRICS", "SERVING", "PROMETHEUS", "ALERTMANAGER"), str(free_port())
    )
    known = {f"{name}_PORT": port for name, port in ports.items()} | {"HOST": LOOPBACK, "LOGIN": ""} | values
    return Template(edit((TEMPLATES / name).read_text())).substitute(known)


@contextmanager
def alertmanager(folder: Path, config: str) -> Generator[str]:
    """Its URL. `folder` must not be the contracts' one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alertmanager.yaml").write_text(config)
    port = free_port()
    command = [
        "prometheus-alertmanager",
        f"--config.file={folder / 'alertmanager.yaml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--cluster.listen-address=",
    ]
    with _server(command, folder / "alertmanager.log", f"http://{LOOPBACK}:{port}") as url:
        yield url


@contextmanager
def prometheus(folder: Path, config: str) -> Generator[str]:
    """Its URL. `folder` must not be the contracts' one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yaml").write_text(config)
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={LOOPBACK}:{port}",
    ]
    with _server(command, folder / "prometheus.log", f"http://{LOOPBACK}:{port}") as url:
        yield url


@contextmanager
def _server(command: list[str], log: Path, url: str) -> Generator[str]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not _ready(url):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=1).is_success
    except httpx.HTTPError:
        return False
