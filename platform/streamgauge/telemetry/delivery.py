"""Telemetry on its way to a store, which may be slow or away while only the thread that delivers waits."""

import threading
import time
from contextlib import suppress

import httpx

_SECONDS = 10.0
"""For one request: without it a store that hangs would hold a batch for ever."""
_PAUSE_SECONDS = 2.0
_TOO_MANY = 429


class Delivery:
    """`patience`: for how many seconds each batch is offered again to a store that is away or fails: the local stack's
    start after the first numbers. Batches go one after another, and what does not fit behind them is dropped by who
    sends: without an end, one batch that no store takes would hold up all others for ever.
    """

    def __init__(self, url: str, patience: float) -> None:
        self._client = httpx.Client(base_url=url, timeout=_SECONDS)
        self._patience = patience
        self._hurry = threading.Event()

    def send(self, path: str, content: bytes, content_type: str) -> bool:
        """Whether the store took it. What it refuses is not offered again."""
        until = time.monotonic() + self._patience
        while True:
            with suppress(httpx.HTTPError):
                status = self._client.post(path, content=content, headers={"Content-Type": content_type}).status_code
                if status < 500 and status != _TOO_MANY:
                    return status < 300
            if self._hurry.wait(_PAUSE_SECONDS) or time.monotonic() > until:
                return False

    def hurry(self) -> None:
        """The process is about to end: from now on a batch is offered once."""
        self._hurry.set()
