"""The API says that it listens once it does, and not where it can't; who says nothing does not hold a connection."""

import asyncio
import logging
import socket
import time
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from serving.config import ApiConfig
from serving.server import server

LOOPBACK = "127.0.0.1"


class Connects(logging.Handler):
    """Connects when it reads that there is something to connect to."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port
        self.message: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.message.append(record.getMessage())
        socket.create_connection((LOOPBACK, self.port), timeout=5).close()


def serve(port: int) -> Connects:
    """The log of an API that is started and, if it starts, stopped."""
    services: Any = SimpleNamespace(hub=SimpleNamespace(close=lambda: None))
    built = server(FastAPI(), services, ApiConfig(host=LOOPBACK, port=port))
    connects = Connects(port)
    logger = logging.getLogger("serving.server")
    logger.addHandler(connects)
    logger.setLevel(logging.INFO)

    async def briefly() -> None:
        running = asyncio.create_task(built.serve())
        while not built.started and not running.done():
            await asyncio.sleep(0.01)
        built.should_exit = True
        await running

    try:
        asyncio.run(briefly())
    finally:
        logger.removeHandler(connects)
    return connects


def test_it_says_so_when_the_socket_is_bound() -> None:
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    assert serve(port).message == [f"listening at http://{LOOPBACK}:{port}"]


async def _closed_after(port: int, *parts: bytes) -> tuple[float, bytes]:
    """How long the server held the connection after the last part, and what it answered."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    answered = b""
    for part in parts:
        writer.write(part)
        if part.endswith(b"\r\n\r\n"):
            answered += await reader.readuntil(b"}")
    since = time.monotonic()
    async with asyncio.timeout(10):
        rest = await reader.read()
    writer.close()
    return time.monotonic() - since, answered + rest


HEAD = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("parts", "answers"),
    [
        ((), 0),
        ((b"\r\n",), 0),
        ((HEAD,), 0),
        ((HEAD + b"\r\n", b"\r\n"), 1),
        ((HEAD + b"\r\n", HEAD), 1),
        ((HEAD + b"\r\n", HEAD + b"\r\n", HEAD), 2),
    ],
)
def test_half_a_request_does_not_hold_a_connection(
    parts: tuple[bytes, ...], answers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.server.HEAD_SECONDS", 0.3)
    services: Any = SimpleNamespace(hub=SimpleNamespace(close=lambda: None))
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    app = FastAPI(openapi_url=None)

    @app.get("/openapi.json")
    async def _() -> dict[str, str]:  # pyright: ignore[reportUnusedFunction]
        await asyncio.sleep(0.5)
        return {"an answer": "may take longer than a head"}

    built = server(app, services, ApiConfig(host=LOOPBACK, port=port))

    async def asked() -> tuple[float, bytes]:
        running = asyncio.create_task(built.serve())
        while not built.started:
            await asyncio.sleep(0.01)
        try:
            return await _closed_after(port, *parts)
        finally:
            built.should_exit = True
            await running

    seconds, answered = asyncio.run(asked())
    assert seconds < 5
    assert answered.count(b"200 OK") == answers


def test_it_says_nothing_of_a_port_that_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server((LOOPBACK, 0)) as used, pytest.raises(SystemExit):
        serve(used.getsockname()[1])
    assert "listening" not in caplog.text
