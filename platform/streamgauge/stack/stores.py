"""Stores of traces and logs that a person can open. They take long to fetch and to start: nothing waits for them."""

import os
import subprocess
import sys

import httpx

from streamgauge.errors import UserError
from streamgauge.stack import installed
from streamgauge.stack.credentials import LOGS_KEY, LOGS_USER, Credentials
from streamgauge.stack.installed import java, server_user, zipkin_jar
from streamgauge.stack.layout import (
    LOOPBACK,
    STACK_DIR,
    Layout,
    fresh_folder,
    private_folder,
    stack_file,
    write_private,
)
from streamgauge.stack.part import NotReady, Program
from streamgauge.stack.supervisor import MARK

_LOW_PRIORITY = ("nice", "-n", "10")
"""They are no part of a number: on a busy machine they wait for what makes numbers."""
_MOST_SPANS = 100_000
_HEAP = "320m"
"""For so many spans, about 2 KB each; the oldest traces go first. Without a bound Zipkin would fill the memory."""


def prepare_zipkin(credentials: Credentials) -> None:
    if not zipkin_jar().exists():
        raise UserError(f"Zipkin is missing: there is no {zipkin_jar()}", "fetch it by `streamgauge stack stores`")
    fresh_folder(private_folder(credentials.layout.part("zipkin"), server_user()) / "tmp", server_user())


def zipkin(credentials: Credentials) -> Program:
    layout = credentials.layout
    port = layout.port("zipkin")
    # compiled once and quickly, it starts with half of the work
    options = (f"-Xmx{_HEAP}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
    temporary = f"-Djava.io.tmpdir={layout.part('zipkin') / 'tmp'}"
    settings = {
        "armeria.ports[0].ip": LOOPBACK,
        "armeria.ports[0].port": port,
        "armeria.ports[0].protocols": "http",
        "zipkin.storage.mem.max-spans": _MOST_SPANS,
        # by default a browser lets every site's page read it
        "zipkin.query.allowed-origins": f"http://{LOOPBACK}:{port}",
        "logging.level.root": "WARN",
    }
    return Program(
        (
            *_LOW_PRIORITY,
            str(java()),
            *options,
            temporary,
            "-jar",
            str(zipkin_jar()),
            *(f"--{name}={value}" for name, value in settings.items()),
        ),
        user=server_user(),
    )


def probe_zipkin(credentials: Credentials) -> str:
    try:
        answer = httpx.get(f"http://{LOOPBACK}:{credentials.layout.port('zipkin')}/info", timeout=5)
        return str(answer.raise_for_status().json()["zipkin"]["version"])
    except (httpx.HTTPError, KeyError) as e:
        raise NotReady(str(e) or type(e).__name__) from e


def prepare_victoria_logs(credentials: Credentials) -> None:
    if not installed.victoria_logs().exists():
        raise UserError(
            f"VictoriaLogs is missing: there is no {installed.victoria_logs()}",
            "build it by `streamgauge stack stores`",
        )
    folder = private_folder(credentials.layout.part("victoria-logs"), server_user())
    write_private(folder / "password", credentials.passwords[LOGS_KEY], server_user())


def victoria_logs(credentials: Credentials) -> Program:
    layout = credentials.layout
    folder = layout.part("victoria-logs")
    return Program(
        (
            *_LOW_PRIORITY,
            str(installed.victoria_logs()),
            f"-storageDataPath={folder / 'data'}",
            f"-httpListenAddr={LOOPBACK}:{layout.port('victoria-logs')}",
            "-retentionPeriod=7d",
            # the oldest day goes first; without a bound a talkative day would fill the disk, and the queries' memory
            "-retention.maxDiskSpaceUsageBytes=1GiB",
            "-memory.allowedBytes=128MiB",
            f"-httpAuth.username={LOGS_USER}",
            f"-httpAuth.password=file://{folder / 'password'}",
            # by default a browser lets every site's page read it
            "-http.disableCORS",
            "-loggerLevel=WARN",
        ),
        user=server_user(),
    )


def probe_victoria_logs(credentials: Credentials) -> str:
    try:
        httpx.get(f"http://{LOOPBACK}:{credentials.layout.port('victoria-logs')}/health", timeout=5).raise_for_status()
    except httpx.HTTPError as e:
        raise NotReady(str(e) or type(e).__name__) from e
    return stack_file().versions["victoria-logs"]


def install(name: str) -> None:
    """Fetches or builds it where it is missing, which may take minutes. Raises UserError where that fails."""
    done = subprocess.run([str(STACK_DIR / "install_stores.sh"), name], check=False)
    if done.returncode != 0:
        raise UserError(f"{name} could not be fetched; why stands above", "again: `streamgauge stack stores`")


def join(layout: Layout) -> None:
    """Lets `streamgauge stack stores` fetch and start them behind all else; its words are in the log of `stores`."""
    command = [*_LOW_PRIORITY, sys.executable, "-m", "streamgauge.cli", "stack", "stores"]
    with layout.log("stores").open("w") as log:
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # by which `down` finds it
            env={**os.environ, MARK: str(layout.root)},
            start_new_session=True,
        )
