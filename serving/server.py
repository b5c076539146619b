"""Uvicorn, as the API needs it."""

import asyncio
import logging
import socket
import struct
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.config import ApiConfig
from serving.services import Services
from serving.sse import ABORT, NARROW

log = logging.getLogger(__name__)

_GRACE_SECONDS = 10
"""For requests under way, when the API is told to stop."""


_NARROW_BYTES = 8 * 1024


HEAD_SECONDS = 10.0
"""For a request's head to be whole, from the connection or the answer before it on. Without it, connections that send
half a request or nothing would stay for ever, until there are no file handles left."""


class Protocol(HttpToolsProtocol):
    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        # uvicorn's own timeout between two requests ends with the first byte
        if self._head is None and (cast(Any, self.cycle) is None or self.cycle.response_complete):
            self._await_head()
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._end_waiting()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_waiting()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._head = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _end_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope = cast(dict[str, Any], self.scope)
        scope["extensions"] = {**scope.get("extensions", {}), ABORT: self._abort, NARROW: self._narrow}

    def _abort(self) -> None:
        """Without lingering: else the kernel keeps what the client hasn't read, and waits for it."""
        held = self.transport.get_extra_info("socket")
        if held is not None:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        cast(Any, self.transport).abort()

    def _narrow(self) -> None:
        held = self.transport.get_extra_info("socket")
        cast(Any, self.transport).set_write_buffer_limits(high=_NARROW_BYTES)
        if held is not None:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _NARROW_BYTES)


class Server(uvicorn.Server):
    """Says goodbye to live clients first: their answers never end, and a graceful stop waits for the end."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def startup(self, sockets: Any = None) -> None:
        """Says where it listens once it does: whoever reads the log may connect."""
        await super().startup(sockets)
        if self.started:
            log.info("listening at http://%s:%d", self.config.host, self.config.port)

    async def shutdown(self, sockets: Any = None) -> None:
        self._services.hub.close()
        await super().shutdown(sockets)


def server(app: FastAPI, services: Services, config: ApiConfig) -> Server:
    return Server(
        uvicorn.Config(
            app,
            host=config.host,
            port=config.port,
            http=Protocol,
            loop="uvloop",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            timeout_keep_alive=30,
            limit_concurrency=None,
            lifespan="on",
        ),
        services,
    )


def quiet() -> None:
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
