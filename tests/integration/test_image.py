"""The image holds what its services need: each of compose.yaml's commands runs in it, against the real servers."""

import os
import signal
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from streamgauge.contract.load import load_contract
from streamgauge.producer.producer import EventProducer
from streamgauge.settings import CHECKOUT, CONTRACTS, PREFIX, Role, Settings
from streamgauge.stack.control import Stack
from streamgauge.stack.credentials import credentials
from streamgauge.stack.layout import layout
from tests.integration.free_port import free_port
from tests.integration.image import Container, built_image
from tests.integration.running import events, stored
from tests.integration.workers import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="building an image in a chroot needs root")

SERVICES: dict[str, Any] = yaml.safe_load((CHECKOUT / "platform" / "deploy" / "compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Generator[Container]:
    with built_image(tmp_path_factory.mktemp("image")) as built:
        yield built


@pytest.fixture(scope="module")
def applied(stack: Stack, image: Container) -> None:
    """By the image's own `apply`, from the contracts in it."""
    image.run(*SERVICES["apply"]["command"], environment=_settings("admin"))


def _settings(role: Role) -> dict[str, str]:
    return {f"{PREFIX}{name.upper()}": value for name, value in credentials(layout()).values(role).items() if value}


@contextmanager
def _service(
    image: Container, name: str, log: Path, environment: Mapping[str, str], **replaced: str
) -> Generator[subprocess.Popen[bytes]]:
    """A service's own command; `replaced` are words of it, where compose's port is not this machine's."""
    service = SERVICES[name]
    command: list[str] = service["command"]
    words = [replaced.get(f"p{word}", word) for word in command]
    started = image.command(*words, environment=environment, folder=service.get("working_dir", "/tmp"))
    with log.open("wb") as file:
        process = subprocess.Popen(
            started,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


def test_the_worker_counts(applied: None, image: Container, tmp_path: Path) -> None:
    contract = load_contract(CONTRACTS / "user_events.yaml")
    before = stored(contract)[0][0] or 0
    with _service(image, "worker", tmp_path / "log", _settings("worker")) as worker:
        with EventProducer(Settings.for_role("producer"), contract) as producer:
            assert not producer.send(events(contract, 100, start=os.getpid() * 1000))

        def counted() -> bool:
            assert worker.poll() is None, (tmp_path / "log").read_text()
            return (stored(contract)[0][0] or 0) >= before + 100

        wait_for(counted, "the events are counted")


def test_the_api_serves_the_page_with_its_library(applied: None, image: Container, tmp_path: Path) -> None:
    port = free_port()
    with (
        _service(image, "api", tmp_path / "log", {**_settings("api"), f"{PREFIX}API_PORT": str(port)}) as api,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=5) as client,
    ):

        def answers() -> bool:
            assert api.poll() is None, (tmp_path / "log").read_text()
            try:
                return client.get("/v1/health/ready").is_success
            except httpx.TransportError:
                return False

        wait_for(answers, "the API is ready")
        page = client.get("/").text
        for path in ("/static/uplot/uPlot.esm.js", "/static/uplot/uPlot.min.css"):
            assert path in page
            assert client.get(path).raise_for_status().content
        assert "stopped committing" in client.get("/docs/runbooks/worker-stopped.md").raise_for_status().text
        assert client.get("/v1/streams").raise_for_status()


def test_dagster_loads_the_definitions(applied: None, image: Container, tmp_path: Path) -> None:
    port = str(free_port())
    environment = {**_settings("batch"), "DAGSTER_HOME": "", f"{PREFIX}LAKE_URL": "/tmp/lake"}
    with _service(image, "dagster-code", tmp_path / "log", environment, p4000=port) as code:

        def serves() -> bool:
            assert code.poll() is None, (tmp_path / "log").read_text()
            return subprocess.run(
                image.command("dagster", "api", "grpc-health-check", "-p", port),
                env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
                capture_output=True,
                check=False,
            ).returncode == 0  # fmt: skip

        wait_for(serves, "the code server answers", 90)


def test_nothing_in_it_is_writable_or_runs_as_root(image: Container) -> None:
    assert image.run("id", "-un") == "streamgauge"
    found = image.run("find", "/app", "/contracts", "/dagster/dagster.yaml", "-writable", "-not", "-type", "l")
    assert found == ""
