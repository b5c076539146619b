"""The stream worker as a part of the stack: started when asked for, and kept running from then on."""

import sys
from importlib.metadata import version

import httpx

from streamgauge.stack.credentials import Credentials
from streamgauge.stack.exporters import instance_mark
from streamgauge.stack.layout import LOOPBACK
from streamgauge.stack.part import NotReady, Program


def program(credentials: Credentials) -> Program:
    port = credentials.layout.port("worker-metrics")
    return Program(
        (sys.executable, *instance_mark(credentials.layout), "-m", "streamgauge.cli", "worker"),
        # A panic's backtrace out of Rust can quote what it choked on.
        environment={"STREAMGAUGE_METRICS_PORT": str(port), "RUST_BACKTRACE": "0"},
        stop_seconds=40,
    )


def probe(credentials: Credentials) -> str:
    url = f"http://{LOOPBACK}:{credentials.layout.port('worker-metrics')}/metrics"
    try:
        httpx.get(url, timeout=2).raise_for_status()
    except httpx.HTTPError as e:
        raise NotReady(str(e) or type(e).__name__) from e
    return version("streamgauge")
