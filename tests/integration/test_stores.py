"""The stack's stores of traces and logs lead from a number to its commit, and nobody waits for them."""

import json
import os
import random
import re
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from lineage.correlation import steps_of
from lineage.trace import Step, trace
from streamgauge.cli import build
from streamgauge.errors import UserError
from streamgauge.settings import PREFIX, Settings
from streamgauge.stack.control import Stack
from streamgauge.stack.layout import LOOPBACK
from streamgauge.stack.parts import STORES
from streamgauge.state import api_keys as keys
from streamgauge.stores.postgres import connect
from streamgauge.stores.victoria_logs import LogStore
from tests.integration.free_port import free_port
from tests.integration.running import Running, events, now_ms, one, rows_of, stored
from tests.integration.serving_client import in_process, served
from tests.integration.workers import wait_for, wait_until_read
from tests.telemetry_store import store

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def stopped_at_last(stack: Stack) -> Generator[None]:
    yield
    for name in STORES:
        stack.stop_program(name)


@pytest.fixture
def stores(stack: Stack, stopped_at_last: None, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.delenv("OTEL_TRACES_EXPORTER")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    stack.start_stores()
    return stack


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> int:
    """The port of a worker's metrics."""
    port = free_port()
    monkeypatch.setenv(f"{PREFIX}METRICS_PORT", str(port))
    return port


def zipkin(path: str) -> httpx.Response:
    return httpx.get(f"{Settings.for_role('reader').zipkin_url}{path}", timeout=10)


def stored_trace(trace_id: str) -> dict[str, dict[str, Any]]:
    """Its spans by name, in small letters; none where the store doesn't know it. `commit` is not Postgres's own."""
    answer = zipkin(f"/api/v2/trace/{trace_id}")
    spans: list[dict[str, Any]] = answer.json() if answer.is_success else []
    return {s["name"]: s for s in spans if s["name"] != "commit" or "streamgauge.offsets" in s["tags"]}


def commits(running: Running) -> list[str]:
    """The traces of the latest commits."""
    return [trace.split("-")[1] for (trace,) in rows_of("stream_offsets", "trace", running.contract) if trace]


def counted(port: int, name: str, result: str) -> float:
    lines = httpx.get(f"http://{LOOPBACK}:{port}/metrics", timeout=10).text.splitlines()
    (line,) = (x for x in lines if x.startswith(f"streamgauge_{name}_total{{") and f'result="{result}"' in x)
    return float(line.rpartition(" ")[2])


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
    (sender,) = (name for name in batch["tags"] if name.startswith("link."))
    assert "messaging.message.conversation_id=" in batch["tags"][sender]
    linked = zipkin(f"/api/v2/traces?annotationQuery={sender}").json()
    assert trace_id in {s["traceId"] for t in linked for s in t}, "from a sender's trace to what became of its records"
    assert "zipkin" in zipkin(f"/zipkin/traces/{trace_id}").text.lower(), "the page that a link leads to"


def test_the_stores_are_for_this_machine_and_their_own_pages(stores: Stack) -> None:
    listening = [c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr]
    ports = [stores.layout.port(name) for name in STORES]
    assert {a.ip.removeprefix("::ffff:") for a in listening if a.port in ports} == {LOOPBACK}
    reader = Settings.for_role("reader")
    for url in (f"{reader.zipkin_url}/api/v2/services", f"{reader.logs_url}/select/logsql/query?query=*"):
        answer = httpx.get(url, headers={"Origin": "http://elsewhere.example"}, timeout=10).raise_for_status()
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


@contextmanager
def frozen(stack: Stack) -> Generator[None]:
    """The stores answer nobody."""
    processes = [h.process for h in stack.health() if h.part.name in STORES]
    pids = [p.pid for p in processes if p is not None and p.pid is not None]
    assert len(pids) == len(STORES)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def lead_to(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """What follows sends its spans and lines there."""
    for name in ("ZIPKIN_URL", "VICTORIA_LOGS_URL"):
        monkeypatch.setenv(f"{PREFIX}{name}", f"http://{place}")


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


def test_stores_that_are_slow_refuse_or_are_away_change_no_pace(
    stores: Stack, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.apply()
    well = paced(running, 0)
    with frozen(stores):
        slow = paced(running, 10)
    with store(500) as (place, sent):
        lead_to(monkeypatch, place)
        refused = paced(running, 20)
        assert {"/api/v2/spans", "/insert/jsonline"} <= {x.path.partition("?")[0] for x in sent}
    lead_to(monkeypatch, f"{LOOPBACK}:{free_port()}")
    away = paced(running, 30)
    assert stored(running.contract) == [(800,)]
    # a batch that waited for its spans or lines would wait for minutes
    assert max(slow, refused, away) < well + 40, (well, slow, refused, away)


def test_what_the_stores_do_not_take_is_counted(
    stores: Stack, running: Running, metrics: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.apply()
    with store(400) as (place, _):
        lead_to(monkeypatch, place)
        running.workers.start()
        running.send(events(running.contract, 20))
        wait_until_read(running.contract)
        wait_for(lambda: counted(metrics, "trace_spans", "failed") >= 3, "spans are counted", 30)
        wait_for(lambda: counted(metrics, "log_records", "failed") >= 1, "lines are counted", 30)
    assert counted(metrics, "trace_spans", "exported") == counted(metrics, "log_records", "exported") == 0


def test_a_hundred_numbers_lead_to_their_trace_their_lines_and_their_offsets(stores: Stack, running: Running) -> None:
    running.apply()
    contract, stream = running.contract, running.contract.stream
    running.workers.start()
    now = now_ms()
    for n in range(60):
        running.send(events(contract, 20, start=20 * n, at=now - (60 - n) * 60_000))
    wait_until_read(contract)
    with in_process(running.own.folder) as client:
        asked = {"window": "1m", "group_by": "event_type", "limit": 1000}
        rows = client.get(f"/v1/streams/{stream}/rollups", params=asked).json()["rows"]
    numbers = random.Random(7).sample([r for r in rows if r["count"]], 100)
    logs = LogStore(Settings.for_role("reader").logs_url or "")
    latest = commits(running)
    wait_for(
        lambda: all(logs.find(f"trace_id:={t}", 1) for t in latest), "the latest commits' lines are in the store", 30
    )
    wait_for(lambda: all("commit" in stored_trace(t) for t in latest), "and their traces", 30)
    command, environment, took = build("trace"), {f"{PREFIX}CONTRACTS_DIR": str(running.own.folder)}, list[float]()
    for row in numbers:
        began = time.monotonic()
        arguments = [
            "--stream",
            stream,
            "--minute",
            row["window_start"],
            "--of",
            f"event_type={row['event_type']}",
            "--json",
        ]
        result = CliRunner().invoke(command, ["trace", *arguments], env=environment)
        took.append(time.monotonic() - began)
        assert result.exit_code == 0, result.output
        wrote = json.loads(result.stdout)
        assert sum(w["count"] for w in wrote) == row["count"]
        for writer in wrote:
            assert re.fullmatch(r"\d+:\d+-\d+( \d+:\d+-\d+)*", writer["offsets"])
            found = writer["trace_url"].rpartition("/")[2]
            assert stored_trace(found)["commit"]["tags"]["streamgauge.offsets"] == writer["offsets"]
            lines = logs.find(f"trace_id:={found}", 10)
            assert writer["offsets"] in {x.get("offsets") for x in lines}
            assert found in writer["logs_url"]
    # other tests keep the machine busy meanwhile
    assert sorted(took)[94] < 2, sorted(took)[-10:]


def test_an_events_way_has_its_commit_with_the_time_and_the_pages(stores: Stack, running: Running) -> None:
    running.apply()
    contract = running.contract
    running.workers.start()
    running.send(events(contract, 50))
    running.send(events(contract, 50, start=50))
    wait_until_read(contract)

    def commit() -> Step:
        (found,) = trace(Settings.for_role("batch"), [contract], "e70")
        return next(s for s in found.steps if s.layer == "commit")

    wait_for(lambda: commit().logs_url is not None, "the commit's line is in the store", 30)
    found = commit()
    assert found.at is not None and abs(datetime.fromisoformat(found.at).timestamp() - time.time()) < 120
    assert found.trace_url is not None and found.logs_url is not None
    page = httpx.URL(found.logs_url)
    assert httpx.get(page, timeout=10).status_code == 401, "lines are for those who have the login"
    login = httpx.URL(Settings.for_role("reader").logs_url or "")
    assert httpx.get(page, auth=(login.username, login.password), timeout=10).is_success
    stores.stop_program("victoria-logs")
    assert "doesn't answer" in commit().description, "the rest of the way is shown all the same"


def test_the_api_shows_a_numbers_commits_to_those_who_may_see_operations(stores: Stack, running: Running) -> None:
    running.apply()
    contract = running.contract
    running.workers.start()
    running.send(events(contract, 50))
    wait_until_read(contract)
    with connect(Settings.for_role("admin")) as connection:
        ((minute,),) = connection.execute(f'select max(minute) from "{contract.minutes_table}"'.encode()).fetchall()
        reader, _ = keys.create(connection, "stores-reader", (f"read:{contract.stream}",))

    def partitions(client: TestClient, **headers: str) -> list[dict[str, Any]]:
        path, asked = f"/v1/streams/{contract.stream}/provenance", {"start": minute.isoformat()}
        answer = client.get(path, params=asked, headers=headers).raise_for_status().json()
        return [p for source in answer["sources"] for p in source["partitions"]]

    with in_process(running.own.folder) as client:
        wait_for(lambda: all(p["commit"] for p in partitions(client)), "the commits' lines are in the store", 30)
        for read in partitions(client):
            assert read["commit"]["trace_url"].startswith("http") and read["commit"]["logs_url"].startswith("http")
        assert {p["commit"] for p in partitions(client, Authorization=f"Bearer {reader}")} == {None}


def test_a_correlation_id_leads_from_the_sending_to_the_commit(stores: Stack, running: Running, tmp_path: Path) -> None:
    """Of events that came over HTTP: the API's spans are exported, as those of `load` are."""
    running.apply()
    contract = running.contract
    running.workers.start()
    with connect(Settings.for_role("admin")) as connection:
        key, _ = keys.create(connection, "stores-writer", (f"write:{contract.stream}",))
    event = {name: value for name, value in one(contract).items() if name != "schema_version"}
    sent = {"Authorization": f"Bearer {key}", "X-Correlation-Id": "order-7"}
    with served(running.own.folder, tmp_path) as api:
        answer = api.client.post(f"/v1/streams/{contract.stream}/events", json=[event], headers=sent)
        assert answer.status_code == 202, answer.text
        wait_until_read(contract)
        settings = Settings.for_role("batch")

        def found() -> list[str]:
            try:
                return [s.name for s in steps_of(settings, "order-7")]
            except UserError:
                return []

        wait_for(lambda: "commit" in found(), "the commit is found", 30)
    assert found().index(f"send {contract.topic}") < found().index("commit")
    with pytest.raises(UserError, match="'order-8'"):
        steps_of(settings, "order-8")
