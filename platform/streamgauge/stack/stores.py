"""Stores of traces that a person can open. What they take long to fetch and to start, nothing waits for."""

import os
import subprocess
import sys

import httpx

from streamgauge.errors import UserError
from streamgauge.stack.credentials import Credentials
from streamgauge.stack.installed import java, server_user, zipkin_jar
from streamgauge.stack.layout import LOOPBACK, STACK_DIR, Layout, fresh_folder, private_folder
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


def install() -> None:
    """Fetches what is missing, which takes up to some minutes. Raises UserError where that fails."""
    done = subprocess.run([str(STACK_DIR / "install_stores.sh")], check=False)
    if done.returncode != 0:
        raise UserError("the stores could not be fetched; why stands above", "again: `streamgauge stack stores`")


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
