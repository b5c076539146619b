"""The image holds what its services need: each of compose.yaml's commands runs in it, against the real servers, with
the rights that the Helm chart gives it.
"""

import os
import signal
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml
from kubernetes.utils import parse_quantity  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from streamgauge.contract.load import load_contract
from streamgauge.producer.producer import EventProducer
from streamgauge.settings import CHECKOUT, CONTRACTS, PREFIX, Role, Settings
from streamgauge.stack import dagster
from streamgauge.stack.control import Stack
from streamgauge.stack.credentials import credentials
from streamgauge.stack.layout import layout
from streamgauge.stack.part import NotReady
from tests.chart import OWN_NAMES, chart
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
    rendered, process_name = chart(), OWN_NAMES.get(name, name)
    pod, container = rendered.pods[process_name]["spec"], rendered.container(process_name)
    empty = {v["name"] for v in pod["volumes"] if "emptyDir" in v}
    started = image.read_only(
        *words,
        environment=environment,
        folder=service.get("working_dir", "/"),
        writable=[m["mountPath"] for m in container["volumeMounts"] if m["name"] in empty],
        user=pod["securityContext"]["runAsUser"],
    )
    with log.open("wb") as file:
        process = subprocess.Popen(
            started,
            stdout=file,
            stderr=file,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        yield process
        asked = int(parse_quantity(container["resources"]["requests"]["memory"]))
        used = psutil.Process(process.pid).memory_info().rss
        assert used < asked, f"{process_name} asks for {asked} bytes of memory and has {used}"
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


def test_the_api_serves_the_page_with_its_libraries(applied: None, image: Container, tmp_path: Path) -> None:
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
        page, reference = client.get("/").text, client.get("/api").text
        libraries = {
            "uplot/uPlot.esm.js": page,
            "uplot/uPlot.min.css": page,
            "swagger-ui/swagger-ui-bundle.js": reference,
            "swagger-ui/swagger-ui.css": reference,
        }
        for name, used_by in libraries.items():
            assert f"/static/{name}" in used_by
            assert client.get(f"/static/{name}").raise_for_status().content
        assert "stopped committing" in client.get("/docs/runbooks/worker-stopped.md").raise_for_status().text
        assert client.get("/v1/streams").raise_for_status()


def test_dagster_loads_the_definitions_shows_them_and_watches(applied: None, image: Container, tmp_path: Path) -> None:
    code_port, web_port = str(free_port()), str(free_port())
    database = f"{PREFIX}DAGSTER_POSTGRES_URL"
    environment = {
        **_settings("batch"),
        "DAGSTER_HOME": "/dagster",
        database: dagster.code(credentials(layout())).environment[database],
        f"{PREFIX}DAGSTER_CODE_HOST": "127.0.0.1",
        f"{PREFIX}DAGSTER_CODE_PORT": code_port,
        f"{PREFIX}LAKE_URL": "/tmp/lake",
    }
    logs = {name: tmp_path / name for name in ("dagster-code", "dagster", "dagster-daemon")}
    with _service(image, "dagster-code", logs["dagster-code"], environment, p4000=code_port) as code:

        def serves() -> bool:
            assert code.poll() is None, logs["dagster-code"].read_text()
            return subprocess.run(
                image.command("dagster", "api", "grpc-health-check", "-p", code_port),
                env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
                capture_output=True,
                check=False,
            ).returncode == 0  # fmt: skip

        wait_for(serves, "the code server answers", 90)
        of_api = {**environment, **_settings("api")}
        with (
            _service(image, "dagster", logs["dagster"], of_api, p3000=web_port) as web,
            _service(image, "dagster-daemon", logs["dagster-daemon"], environment) as daemon,
        ):

            def shows_and_watches() -> bool:
                for process, name in ((web, "dagster"), (daemon, "dagster-daemon")):
                    assert process.poll() is None, logs[name].read_text()
                try:
                    dagster.probe_daemon(credentials(layout()))
                    return httpx.get(f"http://127.0.0.1:{web_port}/server_info", timeout=5).is_success
                except (httpx.TransportError, NotReady):
                    return False

            wait_for(shows_and_watches, "the pages answer and the sensors are looked after", 120)


def test_runs_can_be_jobs_of_kubernetes(image: Container) -> None:
    assert image.run("python", "-c", "import dagster_k8s; print(dagster_k8s.K8sRunLauncher.__name__)")


def test_nothing_in_it_is_writable_or_runs_as_root(image: Container) -> None:
    assert image.run("id", "-un") == "streamgauge"
    user: int = chart().pods["worker"]["spec"]["securityContext"]["runAsUser"]
    assert image.run("id", "-u") == str(user)
    for place, status in (("/tmp", 0), ("/dagster/storage", 1)):
        touch = image.read_only("touch", f"{place}/new", environment={}, folder="/", writable=["/tmp"], user=user)
        assert subprocess.run(touch, capture_output=True, check=False).returncode == status, place
    found = image.run("find", "/app", "/contracts", "/dagster/dagster.yaml", "-writable", "-not", "-type", "l")
    assert found == ""
