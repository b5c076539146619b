"""Dagster's web server as another site's page, a proxy's callers and holders of keys meet it."""

import json
import os
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlencode

import grpc
import httpx
import psutil
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as connect_websocket

from streamgauge.apply.execute import apply
from streamgauge.audit.log import latest
from streamgauge.dagster.client import Dagster
from streamgauge.errors import UserError
from streamgauge.settings import PREFIX, Settings
from streamgauge.stack import dagster
from streamgauge.stack.control import Stack
from streamgauge.stack.credentials import credentials
from streamgauge.state import api_keys
from streamgauge.state.api_keys import PERSONAL, READ_ALL
from streamgauge.stores.postgres import connect
from tests.chart import chart
from tests.http_server import listening
from tests.integration.browser import chromium, opened
from tests.integration.dagster_processes import DagsterProcesses
from tests.integration.free_port import free_port
from tests.integration.own_stream import OwnStream
from tests.integration.serving_client import proxied
from tests.integration.workers import wait_for

pytestmark = [pytest.mark.timeout(300)]

_SENSOR = """{ sensorOrError(sensorSelector: {
  repositoryLocationName: "streamgauge", repositoryName: "__repository__", sensorName: "alerts"
}) { ... on Sensor { id sensorState { status } } } }"""
_STOP = 'mutation { stopSensor(id: "%s") { __typename } }'
_START = """mutation { startSensor(sensorSelector: {
  repositoryLocationName: "streamgauge", repositoryName: "__repository__", sensorName: "alerts"
}) { __typename } }"""


@pytest.fixture(scope="module")
def url(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    folder = tmp_path_factory.mktemp("contracts")
    own = OwnStream(folder)
    apply(own.settings(), (own.contract,))
    with DagsterProcesses(stack, folder) as running:
        yield running.url


@pytest.fixture(scope="module")
def guarded_url(stack: Stack, url: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A second web server over the same Dagster, as it is started where there is no local stack."""
    program = dagster.web(credentials(stack.layout))
    port = str(free_port())
    command = [port if word == str(stack.layout.port("dagster")) else word for word in program.command]
    environment = {**os.environ, **program.environment, f"{PREFIX}API_ANONYMOUS": "off"}
    log = tmp_path_factory.mktemp("web") / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=program.directory, env=environment, stdout=out, stderr=out)
    built = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return httpx.get(f"{built}/server_info", timeout=5).is_success
        except httpx.TransportError:
            return False

    try:
        wait_for(answers, "the guarded web server answers")
        yield built
    finally:
        process.terminate()
        process.wait(30)


def _ask(url: str, query: str, **headers: str) -> Any:
    answer = httpx.post(f"{url}/graphql", json={"query": query}, headers=headers, timeout=30)
    return answer.raise_for_status().json()["data"]


def _sensor(url: str, **headers: str) -> tuple[str, str]:
    found = _ask(url, _SENSOR, **headers)["sensorOrError"]
    return found["id"], found["sensorState"]["status"]


def _recorded() -> tuple[str, str, str]:
    """What the audit log says of the latest change."""
    with connect(Settings.for_role("batch")) as connection:
        (entry,) = latest(connection, 1, action="dagster.change", subject=None, since=None)
    return entry.fields["subject"], entry.fields["actor"], entry.fields["address"]


def _bearer(*scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {_key(*scopes)}"}


def _key(*scopes: str) -> str:
    with connect(Settings.for_role("admin")) as connection:
        return api_keys.create(connection, "test", scopes)[0]


def _attacks(stop: str) -> dict[str, tuple[str, str, dict[str, str], bytes | None]]:
    get = f"/graphql?{urlencode({'query': stop})}"
    body = json.dumps({"query": stop}).encode()
    as_json = {"Content-Type": "application/json"}
    return {
        "an image": ("GET", get, {}, None),
        "an image by HEAD": ("HEAD", get, {}, None),
        "an image, as a browser of today": ("GET", get, {"Sec-Fetch-Site": "cross-site"}, None),
        "a link": (
            "GET",
            get,
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
            None,
        ),
        "a form": ("POST", "/graphql", {"Content-Type": "text/plain", "Origin": "http://evil.example"}, body),
        "a form without an origin": ("POST", get, {"Content-Type": "application/x-www-form-urlencoded"}, b""),
        "a form that names JSON": ("POST", "/graphql", {"Content-Type": "text/plain; x=application/json"}, body),
        "GraphQL's own type": ("POST", "/graphql", {"Content-Type": "application/graphql"}, stop.encode()),
        "fetch": ("POST", "/graphql", as_json | {"Origin": "http://evil.example"}, body),
        "fetch from nowhere": ("POST", "/graphql", as_json | {"Origin": "null"}, body),
        "fetch from another port of this machine": (
            "POST",
            "/graphql",
            as_json | {"Origin": "http://127.0.0.1:1", "Sec-Fetch-Site": "same-site"},
            body,
        ),
        "fetch of a browser that names no origin": (
            "POST",
            "/graphql",
            as_json | {"Sec-Fetch-Site": "same-site"},
            body,
        ),
        "a name that was bound again": ("POST", "/graphql", as_json | {"Host": "rebound.example"}, body),
        "a name that looks like ours": ("POST", "/graphql", as_json | {"Host": "127.0.0.1.rebound.example"}, body),
        "a rebound name and its origin": (
            "POST",
            "/graphql",
            as_json | {"Host": "rebound.example", "Origin": "http://rebound.example", "Sec-Fetch-Site": "same-origin"},
            body,
        ),
    }


@pytest.mark.parametrize("attack", _attacks(""))
def test_no_page_elsewhere_stops_a_sensor(url: str, attack: str) -> None:
    sensor, before = _sensor(url)
    assert before == "RUNNING"
    method, path, headers, body = _attacks(_STOP % sensor)[attack]
    answer = httpx.request(method, f"{url}{path}", headers=headers, content=body, timeout=30)
    assert answer.status_code in (403, 405, 415), answer.text
    assert _sensor(url)[1] == "RUNNING"


def test_its_own_page_stops_it(url: str) -> None:
    """What the attacks lack is nothing but the right origin."""
    sensor, _ = _sensor(url)
    own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    try:
        assert _ask(url, _STOP % sensor, **own)["stopSensor"]["__typename"] == "StopSensorMutationResult"
        assert _sensor(url)[1] == "STOPPED"
        assert _recorded() == ("stopSensor", "anonymous", "127.0.0.1")
    finally:
        _ask(url, _START)
    assert _sensor(url)[1] == "RUNNING"
    assert _recorded() == ("startSensor", "anonymous", "127.0.0.1"), "what only asks is not recorded"


def test_runless_events_are_not_reported_by_a_form(url: str) -> None:
    path = f"{url}/report_asset_materialization/foo?{urlencode({'metadata': '{}'})}"
    assert httpx.post(path, timeout=30).status_code == 415
    assert httpx.post(path, json={}, headers={"Sec-Fetch-Site": "cross-site"}, timeout=30).status_code == 403


def test_a_socket_is_opened_for_its_own_page_only(url: str) -> None:
    address = f"{url.replace('http', 'ws')}/graphql"
    with connect_websocket(address, origin=url, subprotocols=["graphql-ws"]) as socket:  # pyright: ignore
        socket.send(json.dumps({"type": "connection_init"}))
        assert json.loads(socket.recv(10))["type"] == "connection_ack"
    for foreign in ("http://evil.example", "null", "http://127.0.0.1:1"):
        with pytest.raises(InvalidStatus, match="403"):
            connect_websocket(address, origin=foreign, subprotocols=["graphql-ws"])  # pyright: ignore


def test_in_a_browser_its_pages_work_and_another_sites_do_not_reach_it(url: str) -> None:
    sensor, _ = _sensor(url)
    with _another_site(url, _STOP % sensor) as site, chromium() as browser:
        built = browser.new_page()
        built.goto(site)
        built.wait_for_function("window.tried === 4")
        # the frame shows nothing of Dagster: clicks in it would go to Dagster's buttons
        assert all("Overview" not in frame.content() for frame in built.frames)
        built.close()
        assert _sensor(url)[1] == "RUNNING"
        with opened(browser, f"{url}/locations") as shown:
            shown.get_by_text("streamgauge", exact=True).first.wait_for(timeout=30_000)


@contextmanager
def _another_site(url: str, stop: str) -> Generator[str]:
    get = f"{url}/graphql?{urlencode({'query': stop})}"
    body = json.dumps({"query": stop})
    page = f"""<!doctype html><iframe src="{url}/automation"></iframe><script>
      window.tried = 0; const tried = () => window.tried++;
      const image = new Image(); image.onerror = image.onload = tried; image.src = {json.dumps(get)};
      const how = {{method: "POST", mode: "no-cors", body: {json.dumps(body)}}};
      fetch("{url}/graphql", how).then(tried, tried);
      const json = {{...how, mode: "cors", headers: {{"Content-Type": "application/json"}}}};
      fetch("{url}/graphql", json).then(tried, tried);
      const socket = new WebSocket("{url.replace("http", "ws")}/graphql", "graphql-ws");
      socket.onerror = tried; socket.onopen = () => socket.send("{{}}");
    </script>"""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page.encode())

    with listening(Site) as port:
        yield f"http://localhost:{port}/"


def test_the_code_server_listens_for_its_owner_alone(stack: Stack, url: str) -> None:
    """Whoever reaches it can have code run: it has no port, and other users can't enter its socket's folder."""
    socket = stack.layout.part("dagster") / "code"
    assert socket.is_socket()
    assert socket.parent.stat().st_mode & 0o077 == 0
    own = {p.pid for p in psutil.process_iter() if str(socket) in " ".join(_command(p))}
    children = {c.pid for p in own for c in psutil.Process(p).children(recursive=True)}
    listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert own
    assert not [c for c in listening if c.pid in own | children]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_without_a_local_stack_a_key_is_needed(guarded_url: str) -> None:
    for path in ("/", "/graphql", "/logs/x/y.out", "/download_debug/x", "/_next/x.js"):
        answer = httpx.get(f"{guarded_url}{path}", timeout=30)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Basic realm="Dagster"'), path
    assert httpx.post(f"{guarded_url}/graphql", json={"query": _SENSOR}, timeout=30).status_code == 401
    wrong = f"sg_{'0' * 12}_{'A' * 43}"
    for headers in ({"Authorization": f"Bearer {wrong}"}, {"Authorization": "Basic ="}, {"Authorization": "Digest x"}):
        assert httpx.get(guarded_url, headers=headers, timeout=30).status_code == 401
    for scopes in (("operations",), (READ_ALL, PERSONAL), ("dagster",)):
        assert httpx.get(guarded_url, headers=_bearer(*scopes), timeout=30).status_code == 403
    assert httpx.get(f"{guarded_url}/server_info", timeout=30).status_code == 200
    with pytest.raises(InvalidStatus, match="403"):
        connect_websocket(f"{guarded_url.replace('http', 'ws')}/graphql", subprotocols=["graphql-ws"])  # pyright: ignore
    with pytest.raises(UserError, match="API key is needed"):
        Dagster(guarded_url).load_error()


def test_behind_a_proxy_nobody_reads_without_a_key(guarded_url: str) -> None:
    with proxied(guarded_url) as proxy:
        assert httpx.get(f"{proxy}/locations", headers={"Host": "dagster.example"}, timeout=30).status_code == 401


def test_a_key_changes_only_what_its_scopes_say(url: str, guarded_url: str) -> None:
    reading, changing = _bearer(READ_ALL, "operations"), _bearer(READ_ALL, "operations", "dagster")
    sensor, _ = _sensor(guarded_url, **reading)
    assert _ask(guarded_url, _STOP % sensor, **reading)["stopSensor"]["__typename"] == "UnauthorizedError"
    report = f"{guarded_url}/report_asset_materialization/foo"
    assert not httpx.post(report, json={}, headers=reading, timeout=30).is_success
    assert _sensor(url)[1] == "RUNNING"
    try:
        assert _ask(guarded_url, _STOP % sensor, **changing)["stopSensor"]["__typename"] == "StopSensorMutationResult"
        assert _sensor(url)[1] == "STOPPED"
        assert _recorded() == ("stopSensor", changing["Authorization"].split("_")[1], "127.0.0.1")
    finally:
        _ask(url, _START)


def test_a_revoked_key_ends_at_once(guarded_url: str) -> None:
    headers = _bearer(READ_ALL, "operations")
    assert _sensor(guarded_url, **headers)[1] == "RUNNING"
    with connect(Settings.for_role("admin")) as connection:
        assert api_keys.revoke(connection, headers["Authorization"].split("_")[1])
    assert httpx.get(guarded_url, headers=headers, timeout=30).status_code == 401


def test_in_a_browser_the_key_is_the_password(guarded_url: str) -> None:
    login = {"username": "anybody", "password": _key(READ_ALL, "operations")}
    with chromium() as browser, opened(browser, f"{guarded_url}/locations", http_credentials=login) as shown:
        shown.get_by_text("streamgauge", exact=True).first.wait_for(timeout=30_000)


def test_the_charts_probe_of_the_pages_passes_the_guard(guarded_url: str) -> None:
    """The kubelet asks by the pod's address, which is no name that people find it under."""
    probe = chart().container("dagster-web")["livenessProbe"]["httpGet"]
    headers = {header["name"]: header["value"] for header in probe["httpHeaders"]}
    assert httpx.get(f"{guarded_url}{probe['path']}", headers=headers).status_code == 200
    assert httpx.get(f"{guarded_url}{probe['path']}", headers={"Host": "10.1.2.3:3000"}).status_code == 403


def test_the_charts_probe_of_the_code_server_is_answered(stack: Stack, url: str) -> None:
    probe = chart().container("dagster-code")["livenessProbe"]["grpc"]
    socket = stack.layout.part("dagster") / "code"
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        asked: Any = HealthStub(channel)
        answer = asked.Check(HealthCheckRequest(service=probe["service"]), timeout=10)
        assert answer.status == HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError):
            asked.Check(HealthCheckRequest(service="another"), timeout=10)
