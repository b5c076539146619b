"""Dagster: its code server, web pages and daemon, on Postgres in a database and with a login of its own."""

import shutil
import socket
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import httpx
import psycopg

from streamgauge.dagster.client import Dagster
from streamgauge.dagster.names import DAEMON_COLUMN, HEARTBEAT_COLUMN, HEARTBEATS_TABLE, SENSOR_DAEMON
from streamgauge.errors import UserError
from streamgauge.settings import CHECKOUT
from streamgauge.stack.credentials import DAGSTER_ROLE, Credentials
from streamgauge.stack.exporters import instance_mark
from streamgauge.stack.layout import LOOPBACK, STACK_DIR, private_folder
from streamgauge.stack.part import NotReady, Program

_WORKSPACE = str(STACK_DIR / "workspace.yaml")


def prepare(credentials: Credentials) -> None:
    home = private_folder(credentials.layout.part("dagster"))
    shutil.copyfile(CHECKOUT / "platform" / "dagster.yaml", home / "dagster.yaml")


def code(credentials: Credentials) -> Program:
    """Runs are its children, so it stops slowly: each may finish or give up cleanly."""
    arguments = ("dagster", "code-server", "start", "-s", str(_code_socket(credentials)), "-m", "definitions")
    return _program(credentials, *arguments, stop_seconds=60)


def web(credentials: Credentials) -> Program:
    port = credentials.layout.port("dagster")
    return _program(
        credentials, "assets.dagster_web", "--host", LOOPBACK, "--port", str(port), "--workspace", _WORKSPACE
    )


def daemon(credentials: Credentials) -> Program:
    return _program(credentials, "dagster._daemon", "run", "-w", _WORKSPACE)


def _program(credentials: Credentials, module: str, *arguments: str, stop_seconds: int = 20) -> Program:
    layout = credentials.layout
    return Program(
        (sys.executable, *instance_mark(layout), "-m", module, *arguments),
        directory=str(CHECKOUT),
        environment={
            "DAGSTER_HOME": str(layout.part("dagster")),
            "STREAMGAUGE_DAGSTER_POSTGRES_URL": _database(credentials),
            "STREAMGAUGE_DAGSTER_CODE_SOCKET": str(_code_socket(credentials)),
            # a range run's materializations are stored together, not one statement each
            "DAGSTER_EVENT_BATCH_SIZE": "1000",
        },
        stop_seconds=stop_seconds,
    )


def probe_code(credentials: Credentials) -> str:
    """It listens once the definitions are loaded, or are known not to load: which, the web server says once it runs."""
    try:
        with socket.socket(socket.AF_UNIX) as code:
            code.settimeout(2)
            code.connect(str(_code_socket(credentials)))
    except OSError as e:
        raise NotReady(str(e)) from e
    with suppress(UserError):
        error = Dagster(f"http://{LOOPBACK}:{credentials.layout.port('dagster')}").load_error()
        if error is not None:
            raise NotReady(f"the definitions did not load: {error}")
    return "grpc"


def probe_web(credentials: Credentials) -> str:
    try:
        answer = httpx.get(f"http://{LOOPBACK}:{credentials.layout.port('dagster')}/server_info", timeout=10)
        answer.raise_for_status()
        return str(answer.json()["dagster_webserver_version"])
    except httpx.HTTPError as e:
        raise NotReady(str(e) or type(e).__name__) from e


def probe_daemon(credentials: Credentials) -> str:
    """By the heartbeats of what runs the sensors: a daemon whose other parts live watches nothing. Dagster keeps them
    in its database (https://docs.dagster.io/deployment/execution/dagster-daemon).
    """
    try:
        with psycopg.connect(_database(credentials), connect_timeout=3) as connection:
            row = connection.execute(
                f"select max({HEARTBEAT_COLUMN}) > now() - interval '90 s' from {HEARTBEATS_TABLE}"
                f" where {DAEMON_COLUMN} = '{SENSOR_DAEMON}'"
            ).fetchone()
    except psycopg.Error as e:
        raise NotReady(str(e).strip()) from e
    if row is None or not row[0]:
        raise NotReady("what runs the sensors has not reported lately")
    return version("dagster")


def _code_socket(credentials: Credentials) -> Path:
    """In a folder that only its owner may enter: whoever reaches it can have code run."""
    return credentials.layout.part("dagster") / "code"


def _database(credentials: Credentials) -> str:
    login = f"{DAGSTER_ROLE}:{credentials.of('postgres', DAGSTER_ROLE)}"
    return f"postgresql://{login}@{LOOPBACK}:{credentials.layout.port('postgres')}/{DAGSTER_ROLE}"
