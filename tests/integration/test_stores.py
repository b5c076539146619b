"""The stack's store of traces: a batch's trace is in it, and nobody waits for it where it is away, slow or refusing."""

import os
import signal
import time
from collections.abc import Generator
from typing import Any

import httpx
import psutil
import pytest

from streamgauge.settings import PREFIX, Settings
from streamgauge.stack.control import Stack
from streamgauge.stack.layout import LOOPBACK
from streamgauge.stack.parts import STORES
from tests.integration.free_port import free_port
from tests.integration.running import Running, events, rows_of, stored
from tests.integration.workers import wait_for, wait_until_read
from tests.spans_store import store

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(480)]


@pytest.fixture
def stores(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Generator[Stack]:
    monkeypatch.delenv("OTEL_TRACES_EXPORTER")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    stack.start_stores()
    try:
        yield stack
    finally:
        for name in STORES:
            stack.stop_program(name)


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of a worker's metrics."""
    port = free_port()
    monkeypatch.setenv(f"{PREFIX}METRICS_PORT", str(port))
    return port


def zipkin(path: str) -> httpx.Response:
    return httpx.get(f"{Settings.for_role('reader').zipkin_url}{path}", timeout=10)


def stored_trace(trace_id: str) -> dict[str, dict[str, Any]]:
    """Its spans by name; none where the store doesn't know it."""
    answer = zipkin(f"/api/v2/trace/{trace_id}")
    return {s["name"]: s for s in answer.json()} if answer.is_success else {}


def commits(running: Running) -> list[str]:
    """The traces of the latest commits."""
    return [trace.split("-")[1] for (trace,) in rows_of("stream_offsets", "trace", running.contract) if trace]


def spans(port: int, result: str) -> float:
    lines = httpx.get(f"http://{LOOPBACK}:{port}/metrics", timeout=10).text.splitlines()
    of = (x for x in lines if x.startswith("streamgauge_trace_spans_total{") and f'result="{result}"' in x)
    return sum(float(line.rpartition(" ")[2]) for line in of)


def test_a_commits_trace_is_in_the_store_and_leads_to_its_senders(stores: Stack, running: Running) -> None:
    running.apply()
    running.workers.start()
    running.send(events(running.contract, 200))
    wait_until_read(running.contract)
    (trace_id, *_) = commits(running)
    wait_for(lambda: "commit" in stored_trace(trace_id), "the commit's trace is in the store", 30)
    found = stored_trace(trace_id)
    batch, commit = found[f"process {running.contract.topic}"], found["commit"]
    assert commit["parentId"] == batch["id"]
    assert commit["localEndpoint"] == {"serviceName": "streamgauge-worker"}
    assert commit["tags"]["streamgauge.offsets"]
    assert "messaging.message.conversation_id=" in batch["tags"]["link.0"]
    assert "zipkin" in zipkin(f"/zipkin/traces/{trace_id}").text.lower(), "the page that a link leads to"


def test_the_store_is_for_this_machine_and_its_own_page(stores: Stack) -> None:
    port = stores.layout.port("zipkin")
    listening = [c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr]
    assert {a.ip.removeprefix("::ffff:") for a in listening if a.port == port} == {LOOPBACK}
    url = f"http://{LOOPBACK}:{port}/api/v2/services"
    answer = httpx.get(url, headers={"Origin": "http://elsewhere.example"}, timeout=10)
    assert "access-control-allow-origin" not in answer.headers


def test_spans_from_before_the_store_was_there_come_into_it(stores: Stack, running: Running) -> None:
    stores.stop_program("zipkin")
    running.apply()
    running.workers.start()
    running.send(events(running.contract, 200))
    wait_until_read(running.contract)
    (trace_id, *_) = commits(running)
    stores.start_stores()
    wait_for(lambda: "commit" in stored_trace(trace_id), "the commit's trace is in the store", 60)


def freeze(stack: Stack) -> int:
    """Returns the process, which then answers nobody."""
    (process,) = (h.process for h in stack.health() if h.part.name == "zipkin")
    assert process is not None and process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    return process.pid


def paced(running: Running, first: int) -> float:
    """The seconds in which a worker of its own starts and counts ten batches, each a commit."""
    worker = running.workers.start()
    began = time.monotonic()
    for n in range(first, first + 10):
        running.send(events(running.contract, 20, start=20 * n))
        wait_until_read(running.contract)
    took = time.monotonic() - began
    assert running.workers.stop(worker) < 8
    return took


def test_a_store_that_is_slow_refuses_or_is_away_changes_no_pace(
    stores: Stack, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.apply()
    well = paced(running, 0)
    process = freeze(stores)
    try:
        slow = paced(running, 10)
    finally:
        os.kill(process, signal.SIGCONT)
    with store(503) as (url, sent):
        monkeypatch.setenv(f"{PREFIX}ZIPKIN_URL", url)
        refused = paced(running, 20)
        assert sent
    monkeypatch.setenv(f"{PREFIX}ZIPKIN_URL", f"http://{LOOPBACK}:{free_port()}")
    away = paced(running, 30)
    assert stored(running.contract) == [(800,)]
    # a batch that waited for its spans would wait for two minutes
    assert max(slow, refused, away) < well + 40, (well, slow, refused, away)


def test_spans_that_the_store_does_not_take_are_counted(
    stores: Stack, running: Running, metrics: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.apply()
    with store(400) as (url, _):
        monkeypatch.setenv(f"{PREFIX}ZIPKIN_URL", url)
        running.workers.start()
        running.send(events(running.contract, 20))
        wait_until_read(running.contract)
        wait_for(lambda: spans(metrics, "failed") >= len(("process", "decode", "commit")), "they are counted", 30)
    assert spans(metrics, "exported") == 0
