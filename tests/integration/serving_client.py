"""The API in this process, or as one of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
from starlette.testclient import TestClient

from serving.app import create_app
from serving.config import ApiConfig
from serving.services import make_services
from streamgauge.settings import PREFIX, Settings
from tests.http_server import listening

LOOPBACK = "127.0.0.1"


@contextmanager
def in_process(
    contracts: Path, client: str = LOOPBACK, settings: Mapping[str, object] | None = None, **config: object
) -> Generator[TestClient]:
    """`client`: the address that asks."""
    changed = Settings.for_role("api").model_copy(update={"contracts_dir": contracts, **(settings or {})})
    services = make_services(changed, ApiConfig(**{"requests_per_second": 10_000, "burst": 10_000, **config}))  # pyright: ignore
    app = create_app(services)
    with TestClient(app, base_url=f"http://{LOOPBACK}", client=(client, 50000), raise_server_exceptions=False) as built:
        yield built


class Served:
    def __init__(self, url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.url = url
        self.process = process
        self.log = log
        self.client = httpx.Client(base_url=url, timeout=20)


@contextmanager
def served(contracts: Path, folder: Path, **environment: str) -> Generator[Served]:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    log = folder / "api.log"
    own = {f"{PREFIX}CONTRACTS_DIR": str(contracts), f"{PREFIX}API_PORT": str(port)}
    own |= {f"{PREFIX}API_{name.upper()}": value for name, value in environment.items()}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamgauge.cli", "api"], env={**os.environ, **own}, stderr=out, stdout=out
        )
    built = Served(f"http://{LOOPBACK}:{port}", process, log)
    try:
        deadline = time.monotonic() + 60
        while not _answers(built.client):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield built
    finally:
        built.client.close()
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/v1/health/ready").status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def proxied(url: str) -> Generator[str]:
    """A proxy on this machine as nginx's `proxy_pass` is by default: it asks under the name that it has for the server,
    and says of nobody that it asks for him."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
            answer = httpx.get(f"{url}{self.path}", headers=kept, timeout=20)
            self.send_response(answer.status_code)
            self.end_headers()
            self.wfile.write(answer.content)

    with listening(Proxy) as port:
        yield f"http://{LOOPBACK}:{port}"
