"""Uvicorn, as the API needs it."""

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


class Protocol(HttpToolsProtocol):
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
