"""The serving API, with its live page, as a part of the stack."""

import sys
from importlib.metadata import version

import httpx

from streamgauge.stack.credentials import Credentials
from streamgauge.stack.exporters import instance_mark
from streamgauge.stack.layout import LOOPBACK
from streamgauge.stack.part import NotReady, Program


def program(credentials: Credentials) -> Program:
    port = credentials.layout.port("serving")
    return Program(
        (sys.executable, *instance_mark(credentials.layout), "-m", "streamgauge.cli", "api"),
        environment={"STREAMGAUGE_API_PORT": str(port)},
    )


def probe(credentials: Credentials) -> str:
    try:
        url = f"http://{LOOPBACK}:{credentials.layout.port('serving')}/v1/health/ready"
        httpx.get(url, timeout=3).raise_for_status()
    except httpx.HTTPError as e:
        raise NotReady(str(e) or type(e).__name__) from e
    return version("streamgauge")
