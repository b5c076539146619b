"""Server-sent events: one ticker for all clients, each with a short queue of its own.

A stream is looked at once a second while somebody watches it. What changed becomes one event, written once for each
window and handed to every client. Who doesn't read is dropped: nobody's slowness may cost memory or hold others up.
"""

import asyncio
import itertools
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from starlette.concurrency import run_in_threadpool

from serving.formats import json_bytes
from serving.problems import FULL, Problem
from streamgauge.contract.model import Contract
from streamgauge.telemetry import metrics

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0
QUEUE = 32
"""Events that wait for one client: half a minute of them."""
KEPT = 120
"""Events kept for those who come back with `Last-Event-ID`."""

Numbers = dict[str, Any]
"""What a client sees of a stream. `minutes` by their start, `tops` by window and name."""


@dataclass(frozen=True)
class Event:
    sequence: int
    written: dict[str, bytes]
    """By window."""


@dataclass(eq=False)
class Client:
    window: str
    queue: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    dropped: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, data: bytes) -> bool:
        try:
            self.queue.put_nowait(data)
        except asyncio.QueueFull:
            self.dropped.set()
            return False
        return True


class Channel:
    """One stream's clients and its recent events."""

    def __init__(self, contract: Contract, read: Callable[[], Numbers]) -> None:
        self.contract = contract
        self._read = read
        self._boot = secrets.token_hex(4)
        self._sequences = itertools.count(1)
        self._clients: set[Client] = set()
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._numbers: Numbers | None = None
        self._snapshots: dict[str, bytes] = {}
        self._sequence = 0
        self._troubled = False
        self._reading = asyncio.Lock()
        metrics.LIVE_DROPPED.add(0, {"stream": contract.stream})

    @property
    def watched(self) -> bool:
        return bool(self._clients)

    async def tick(self) -> None:
        async with self._reading:
            try:
                after = await run_in_threadpool(self._read)
            except Problem as problem:
                self._troubled = True
                self._offer_all(dict.fromkeys(_WINDOWS, write("problem", problem.body(self._path))))
                return
            before, self._numbers = self._numbers, after
            if before is not None and not self._troubled and same(before, after):
                return
            self._troubled = False
            self._sequence = next(self._sequences)
            self._snapshots.clear()
            if before is not None:
                changes = changed(before, after)
                event = Event(self._sequence, {w: self._written("numbers", changes, w) for w in _WINDOWS})
                self._events.append(event)
                self._offer_all(event.written)

    def heartbeat(self, as_of: datetime) -> None:
        self._offer_all(dict.fromkeys(_WINDOWS, write("heartbeat", {"as_of": as_of})))

    async def join(self, window: str, last_event_id: str | None) -> Client:
        """With what the client missed, or with all there is."""
        if self._numbers is None or not self._clients:
            # nobody looked for a while: what is known is old, and the events have a gap
            await self._begin()
        client = Client(window)
        missed = self._missed(last_event_id)
        if missed is None or len(missed) >= QUEUE:
            client.offer(self._snapshot(window))
        else:
            for event in missed:
                client.offer(event.written[window])
        self._clients.add(client)
        metrics.LIVE_CLIENTS.add(1, {"stream": self.contract.stream})
        return client

    def leave(self, client: Client) -> None:
        if client in self._clients:
            self._clients.discard(client)
            metrics.LIVE_CLIENTS.add(-1, {"stream": self.contract.stream})

    def close(self) -> None:
        for client in tuple(self._clients):
            client.offer(write("bye", {}))
            if not client.queue.full():
                client.queue.put_nowait(None)
            else:
                client.dropped.set()

    @property
    def _path(self) -> str:
        return f"/v1/streams/{self.contract.stream}/live"

    async def _begin(self) -> None:
        async with self._reading:
            if self._numbers is not None and self._clients:
                return
            numbers = await run_in_threadpool(self._read)
            if self._numbers is None or not same(self._numbers, numbers):
                self._events.clear()
                self._snapshots.clear()
                self._sequence = next(self._sequences)
                self._numbers = numbers

    def _missed(self, last_event_id: str | None) -> list[Event] | None:
        boot, _, text = (last_event_id or "").partition("-")
        if boot != self._boot or not text.isdecimal():
            return None
        last = int(text)
        if last == self._sequence:
            return []
        events = [e for e in self._events if e.sequence > last]
        return events if events and events[0].sequence == last + 1 else None

    def _snapshot(self, window: str) -> bytes:
        if window not in self._snapshots:
            assert self._numbers is not None
            self._snapshots[window] = self._written("snapshot", self._numbers, window)
        return self._snapshots[window]

    def _written(self, name: str, numbers: Numbers, window: str) -> bytes:
        shown = {
            **{k: v for k, v in numbers.items() if k not in ("minutes", "tops")},
            "minutes": list(numbers["minutes"].values()),
            "tops": numbers["tops"].get(window, {}),
        }
        return write(name, shown, f"{self._boot}-{self._sequence}")

    def _offer_all(self, written: dict[str, bytes]) -> None:
        for client in tuple(self._clients):
            if not client.offer(written[client.window]):
                self.leave(client)
                metrics.LIVE_DROPPED.add(1, {"stream": self.contract.stream})
                log.info("a live client of %s is dropped: it doesn't read", self.contract.stream)


_WINDOWS = ("1m", "5m", "1h")


def same(before: Numbers, after: Numbers) -> bool:
    """The passing of time alone is no change."""
    return all(before.get(k) == v for k, v in after.items() if k not in ("as_of", "freshness_seconds"))


def changed(before: Numbers, after: Numbers) -> Numbers:
    """What a client that knows `before` must hear: of minutes and top-N those that moved."""
    minutes = {k: v for k, v in after["minutes"].items() if before["minutes"].get(k) != v}
    tops = {
        window: {name: top for name, top in named.items() if before["tops"].get(window, {}).get(name) != top}
        for window, named in after["tops"].items()
    }
    return {**after, "minutes": minutes, "tops": tops}


def write(event: str, data: Any, event_id: str | None = None) -> bytes:
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {event}\ndata: ".encode() + json_bytes(data) + b"\n\n"


class Hub:
    """All streams' channels, and the one ticker."""

    def __init__(
        self,
        contracts: Mapping[str, Contract],
        make: Callable[[Contract], Channel],
        most: int,
        now: Callable[[], datetime],
    ) -> None:
        """`contracts` may change: a stream's clients are sent away when its contract does, and come back."""
        self._contracts = contracts
        self._make = make
        self._channels: dict[str, Channel] = {}
        self._most = most
        self._now = now
        self._places = 0
        self._ticker: asyncio.Task[None] | None = None
        self._closing = False

    def start(self) -> None:
        self._ticker = asyncio.create_task(self._run(), name="live ticker")

    def close(self) -> None:
        """Says goodbye, so that the server needn't wait for streams that never end."""
        self._closing = True
        if self._ticker is not None:
            self._ticker.cancel()
        for channel in self._channels.values():
            channel.close()

    def take_place(self) -> None:
        if self._places >= self._most or self._closing:
            raise Problem(FULL, f"{self._places} clients are connected already.", headers={"Retry-After": "10"})
        self._places += 1

    def give_place_back(self) -> None:
        self._places -= 1

    def channel(self, contract: Contract) -> Channel:
        known = self._channels.get(contract.stream)
        if known is None or known.contract != contract:
            if known is not None:
                known.close()
            known = self._channels[contract.stream] = self._make(contract)
        return known

    async def _run(self) -> None:
        beat = 0.0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            beat += TICK_SECONDS
            for channel in tuple(self._channels.values()):
                if self._contracts.get(channel.contract.stream) != channel.contract:
                    channel.close()
                    self._channels.pop(channel.contract.stream)
                    continue
                if not channel.watched:
                    continue
                try:
                    await channel.tick()
                    if beat >= HEARTBEAT_SECONDS:
                        channel.heartbeat(self._now())
                except Exception:
                    log.exception("a tick failed")
            if beat >= HEARTBEAT_SECONDS:
                beat = 0.0
