"""The API's log says that it listens once it does, and not where it can't."""

import asyncio
import logging
import socket
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


def test_it_says_nothing_of_a_port_that_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server((LOOPBACK, 0)) as used, pytest.raises(SystemExit):
        serve(used.getsockname()[1])
    assert "listening" not in caplog.text
