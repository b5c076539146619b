"""The answer that sends a live client its events, and lets go of one that doesn't take them."""

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from serving.live import Client

ABORT = "streamgauge.abort"
"""Our server's extension to ASGI: cuts the connection at once. To close it would mean to wait until the client has read
what is buffered for it, and one that doesn't read never has."""

NARROW = "streamgauge.narrow"
"""And this one keeps little for the client in the kernel, where a whole hour of events would fit."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class LiveResponse(Response):
    media_type = "text/event-stream"

    def __init__(self, client: Client, leave: Callable[[], None]) -> None:
        super().__init__()
        self._client = client
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        extensions: dict[str, Any] = scope.get("extensions") or {}
        if NARROW in extensions:
            extensions[NARROW]()
        sending = asyncio.create_task(self._send(send))
        gone = asyncio.create_task(_gone(receive))
        dropped = asyncio.create_task(self._client.dropped.wait())
        try:
            await asyncio.wait({sending, gone, dropped}, return_when=asyncio.FIRST_COMPLETED)
            if dropped.done() and ABORT in extensions:
                extensions[ABORT]()
        finally:
            self._leave()
            for task in (sending, gone, dropped):
                task.cancel()
            await asyncio.gather(sending, gone, dropped, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        while (data := await self._client.queue.get()) is not None:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()
