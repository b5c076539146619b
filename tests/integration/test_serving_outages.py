"""What callers see while a server is away, and that the API comes back by itself; and many live clients."""

import asyncio
import contextlib
import json
import signal
import socket
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from streamgauge.rollup.tops import from_postgres
from streamgauge.settings import Settings
from streamgauge.stack.control import Stack
from streamgauge.stores.postgres import connect
from streamgauge.stores.redis import redis_client
from tests.integration.own_stream import OwnStream
from tests.integration.running import Running, events
from tests.integration.serving_client import Served, served
from tests.integration.workers import Workers, wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def own(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    folder = tmp_path_factory.mktemp("outages")
    stream = OwnStream(folder)
    with Workers([stream.name], folder) as workers:
        running = Running(stream, workers)
        running.apply()
        running.send(events(running.contract, 1000))
        _worker.append(running.workers.start())
        wait_until_read(running.contract)
        yield running


_worker: list[Any] = []
"""The process that works for the stream now."""


@pytest.fixture(scope="module")
def api(own: Running, tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    limits = {"requests_per_second": "10000", "burst": "10000"}
    with served(own.own.folder, tmp_path_factory.mktemp("api"), **limits) as built:
        yield built


def _tops(own: Running, api: Served) -> tuple[str, list[dict[str, Any]]]:
    """Where the answer came from, and each key's count."""
    answer = api.client.get(f"/v1/streams/{own.contract.stream}/top?window=1h&limit=100")
    assert answer.status_code == 200, answer.text
    tops = answer.json()["tops"]
    return tops[0]["source"], [{i["key"]: i["count"] for i in t["items"]} for t in tops]


def test_top_without_redis(own: Running, api: Served, stack: Stack) -> None:
    wait_for(lambda: _tops(own, api)[0] == "redis", "the top-N comes from Redis")
    _, before = _tops(own, api)
    stack.stop_program("redis")
    try:
        assert _tops(own, api) == ("postgres", before)
        since = time.monotonic()
        for _ in range(20):
            _tops(own, api)
        assert time.monotonic() - since < 3, "each request waits for a Redis that is away"
        assert api.client.get("/v1/health/ready").status_code == 200
    finally:
        stack.start_program("redis")
    wait_for(lambda: _tops(own, api) == ("redis", before), "Redis has it again")


def test_a_cold_redis_is_filled_again(own: Running, api: Served) -> None:
    """By the API alone: the worker is gone."""
    wait_for(lambda: _tops(own, api)[0] == "redis", "the top-N comes from Redis")
    own.workers.kill(_worker.pop())
    redis = redis_client(Settings.for_role("admin"))
    redis.delete(*(own.contract.redis_top_key(t.name, "1h") for t in own.contract.rollup.top))
    source, cold = _tops(own, api)
    assert source == "postgres"
    wait_for(lambda: _tops(own, api) == ("redis", cold), "what Postgres said is in Redis", 10)
    with connect(Settings.for_role("api")) as connection:
        wanted = from_postgres(connection, own.contract, "1h", 100)
    assert [sorted(t.values()) for t in cold] == [sorted(i.count for i in t.items) for t in wanted]
    _worker.append(own.workers.start())


def test_postgres_away_and_back(own: Running, api: Served, stack: Stack) -> None:
    path = f"/v1/streams/{own.contract.stream}/rollups"
    with api.client.stream("GET", f"/v1/streams/{own.contract.stream}/live") as live:
        lines = live.iter_lines()
        assert _next_event(lines)[0] == "snapshot"
        stack.stop_program("postgres")
        try:
            answers: list[httpx.Response] = []
            since = time.monotonic()
            for _ in range(10):
                answers.append(api.client.get(path))
            assert time.monotonic() - since < 15
            assert {a.status_code for a in answers} == {503}
            assert answers[-1].json()["type"] == "/v1/problems/server-away" and answers[-1].headers["retry-after"]
            assert api.client.get("/v1/health/ready").status_code == 503
            assert api.client.get("/v1/lineage/nix").status_code == 404  # the lake is there
            assert api.client.get("/v1/health/live").status_code == 200
            assert _tops(own, api)[0] == "redis"
            while _next_event(lines)[0] != "problem":
                pass
            wait_for(lambda: _part(api, "postgres")["up"] is False, "the API says so", 20)
            assert api.client.get("/v1/health").json()["status"] == "down"
        finally:
            stack.start_program("postgres")
        wait_for(lambda: api.client.get(path).status_code == 200, "answers again")
        while _next_event(lines)[0] != "numbers":
            pass
    wait_for(lambda: _part(api, "postgres")["up"], "the API says so", 20)


def _part(api: Served, name: str) -> dict[str, Any]:
    return next(p for p in api.client.get("/v1/health").json()["parts"] if p["name"] == name)


def _next_event(lines: Any) -> tuple[str, dict[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            return name, json.loads(line.removeprefix("data: "))
    raise AssertionError("the stream ended")


def test_live_follows_and_resumes(own: Running, api: Served) -> None:
    path = f"/v1/streams/{own.contract.stream}/live"
    seen = ""
    with api.client.stream("GET", path) as live:
        lines = live.iter_lines()
        name, snapshot = _next_event(lines)
        assert name == "snapshot"
        before = sum(m["count"] for m in snapshot["minutes"])
        own.send(events(own.contract, 500, start=5000))
        minutes = {m["minute"]: m["count"] for m in snapshot["minutes"]}
        for line in lines:
            if line.startswith("id: "):
                seen = line.removeprefix("id: ")
            if line.startswith("data: "):
                minutes |= {m["minute"]: m["count"] for m in json.loads(line[6:]).get("minutes", [])}
            if sum(minutes.values()) == before + 500:
                break
    with api.client.stream("GET", path, headers={"Last-Event-ID": "nonsense-1"}) as again:
        assert _next_event(again.iter_lines())[0] == "snapshot"
    assert seen


def test_there_is_room_for_so_many_live_clients(own: Running, tmp_path: Path) -> None:
    with served(own.own.folder, tmp_path, live_clients="2") as api, contextlib.ExitStack() as held:
        path = f"/v1/streams/{own.contract.stream}/live"
        for _ in range(2):
            assert held.enter_context(api.client.stream("GET", path)).status_code == 200
        refused = api.client.get(path)
        assert refused.status_code == 503 and refused.json()["type"] == "/v1/problems/too-many-clients"
        assert refused.headers["retry-after"]


def test_the_api_stops_though_clients_listen(own: Running, tmp_path: Path) -> None:
    with served(own.own.folder, tmp_path) as api:
        with api.client.stream("GET", f"/v1/streams/{own.contract.stream}/live") as live:
            lines = live.iter_lines()
            assert _next_event(lines)[0] == "snapshot"
            api.process.terminate()
            names = [line for line in lines if line.startswith("event: ")]
        assert names[-1] == "event: bye"
        assert api.process.wait(15) in (0, -signal.SIGTERM)


CLIENTS, ASLEEP = 200, 20


def test_live_clients_that_dont_read(own: Running, tmp_path: Path) -> None:
    """200 clients, 20 of which never read: those are dropped, memory stays flat, the others miss nothing."""
    limits = {"requests_per_second": "10000", "burst": "10000"}
    with served(own.own.folder, tmp_path, **limits) as api:
        asyncio.run(_many(own, api))


async def _many(own: Running, api: Served) -> None:
    process = psutil.Process(api.process.pid)
    host, port = api.url.removeprefix("http://").split(":")
    request = f"GET /v1/streams/{own.contract.stream}/live HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode()
    sleepers = [_sleeper(host, int(port), request) for _ in range(ASLEEP)]
    readers = [asyncio.create_task(_read(host, int(port), request)) for _ in range(CLIENTS - ASLEEP)]
    try:
        deadline = time.monotonic() + 120
        start, memory = 100_000, 0
        while any(_open(s) for s in sleepers):
            assert time.monotonic() < deadline, "clients that don't read are not dropped"
            await asyncio.to_thread(own.send, events(own.contract, 200, start=start))
            start += 200
            await asyncio.sleep(0.4)
            if start == 100_000 + 10 * 200:
                memory = process.memory_info().rss
        await asyncio.sleep(3)
        assert not any(task.done() for task in readers)
        assert process.memory_info().rss < memory + 30e6, (memory, process.memory_info().rss)
        assert api.log.read_text().count("it doesn't read") == ASLEEP
    finally:
        for task in readers:
            task.cancel()
        counts = [r for r in await asyncio.gather(*readers, return_exceptions=True) if isinstance(r, list)]
        for s in sleepers:
            s.close()
    ids = {tuple(c[-3:]) for c in counts}
    assert len(counts) == CLIENTS - ASLEEP and len(ids) == 1, "all heard the same last events"
    assert all(len(c) > 10 for c in counts)


async def _read(host: str, port: int, request: bytes) -> list[str]:
    """The ids of the events heard, until cancelled."""
    reader, writer = await asyncio.open_connection(host, port, limit=2**22)
    ids: list[str] = []
    try:
        writer.write(request)
        while line := await reader.readline():
            if line.startswith(b"id: "):
                ids.append(line.decode().strip())
    except asyncio.CancelledError:
        return ids
    finally:
        writer.close()
    raise AssertionError("a client that reads was dropped")


def _sleeper(host: str, port: int, request: bytes) -> socket.socket:
    built = socket.socket()
    # a small window, so that it is full soon
    built.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    built.connect((host, port))
    built.sendall(request)
    return built


def _open(sleeper: socket.socket) -> bool:
    """Looks without reading what is there."""
    info = sleeper.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    established = 1
    return info[0] == established
