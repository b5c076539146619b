"""Every name that the processes emit is in the catalog, and every name in the catalog is emitted: with traffic of every
verdict, and with servers that fail.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.settings import PREFIX, Settings
from streamgauge.stack.control import Stack
from streamgauge.stores.postgres import connect
from tests.collector import collector
from tests.integration.batch_layer import fill_batch, fill_lake
from tests.integration.dagster_processes import DagsterProcesses
from tests.integration.emitted import Emitted, differing_log_fields, differing_metrics, differing_spans
from tests.integration.monitors import free_port, receiver
from tests.integration.running import Running, events, now_ms
from tests.integration.serving_client import LOOPBACK, Served, served
from tests.integration.test_reconciliation import reconcile
from tests.integration.workers import wait_for

pytestmark = [pytest.mark.timeout(480)]


def url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}/metrics"


def figure(port: int, series: str, **labels: str) -> float:
    """The sum over the series with these labels."""
    wanted = [f'{k}="{v}"' for k, v in labels.items()]
    lines = httpx.get(url(port), timeout=10).text.splitlines()
    values = [float(x.rpartition(" ")[2]) for x in lines if x.startswith(f"{series}{{") and all(w in x for w in wanted)]
    return sum(values)


@contextmanager
def loading(running: Running, port: int) -> Generator[None]:
    """`streamgauge load`, with duplicates and bad records, until the block ends."""
    command = [sys.executable, "-m", "streamgauge.cli", "load", running.contract.stream]
    command += ["--rate", "200", "--seconds", "600", "--duplicates", "0.05", "--bad", "0.01"]
    environment = {
        **os.environ,
        f"{PREFIX}CONTRACTS_DIR": str(running.own.folder),
        f"{PREFIX}METRICS_PORT": str(port),
    }
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def fail_a_session(running: Running, port: int) -> None:
    """By a table that is missing for a moment."""
    table = running.contract.minutes_table
    with connect(Settings.for_role("admin"), autocommit=True) as connection:
        connection.execute(f'alter table "{table}" rename to "{table}_away"'.encode())
        try:
            running.send(events(running.contract, 10, start=50_000))
            wait_for(lambda: figure(port, "streamgauge_worker_restarts_total") > 0, "a session has ended")
        finally:
            connection.execute(f'alter table "{table}_away" rename to "{table}"'.encode())


def fail_to_publish(stack: Stack, running: Running, port: int) -> None:
    stack.stop_program("redis")
    try:
        running.send(events(running.contract, 10, start=60_000))
        wait_for(lambda: figure(port, "streamgauge_publisher_failures_total") > 0, "Redis is missed")
    finally:
        stack.start_program("redis")


def make_final(running: Running, hour: datetime) -> None:
    """By the batch layer, as its runs do it."""
    fill_lake(running.contract)
    fill_batch(running.contract, [hour])
    reconcile(running.contract, [hour])


def committed_in_a_span(log: str, stream: str) -> bool:
    """Whether a line of a commit has all that leads to its records."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    of = [x for x in lines if "committed" in x["body"] and "trace_id" in x and x["stream"] == stream]
    return any(re.fullmatch(r"\d+:\d+-\d+( \d+:\d+-\d+)*", x["offsets"]) for x in of)


def ask(api: Served, stream: str) -> None:
    """Questions that are answered and one that is not, from either store."""
    assert api.client.get(f"/v1/streams/{stream}/rollups", params={"window": "1m"}).is_success
    assert api.client.get(f"/v1/streams/{stream}/top").is_success
    assert api.client.get("/nothing").status_code == 404


def test_every_name_emitted_is_listed_and_every_name_listed_is_emitted(
    stack: Stack, running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted = Emitted()
    port, producer_port = free_port(), free_port()
    monkeypatch.setenv(f"{PREFIX}METRICS_PORT", str(port))
    monkeypatch.setenv(f"{PREFIX}LOG_FORMAT", "json")
    monkeypatch.setenv(f"{PREFIX}LOG_LEVEL", "DEBUG")
    running.apply()
    contract, stream = running.contract, running.contract.stream
    hour = hour_start(datetime.now(UTC)) - HOUR
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("truncate alerts, alert_messages, alert_memory, sensor_heartbeats")
    with collector() as (traces, collected), receiver() as webhook:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        monkeypatch.setenv(f"{PREFIX}ALERT_WEBHOOK_URL", webhook.url)
        webhook.away = True
        worker = running.workers.start()
        running.send(events(contract, 600, at=int((hour + HOUR / 2).timestamp() * 1000)))
        with (
            DagsterProcesses(stack, running.own.folder),
            loading(running, producer_port),
            served(running.own.folder, tmp_path) as api,
        ):
            api_port = httpx.URL(api.url).port or 0
            dead = {"verdict": "dead_letters"}
            wait_for(lambda: figure(port, "streamgauge_worker_events_total", **dead) > 0, "a bad record is read")
            running.send(events(contract, 300, start=10_000, at=now_ms() - 24 * 3600_000))
            wait_for(lambda: figure(port, "streamgauge_worker_arrivals_total") > 0, "late records are seen")
            emitted.scrape(url(producer_port))
            fail_a_session(running, port)
            fail_to_publish(stack, running, port)
            ask(api, stream)
            make_final(running, hour)
            wait_for(lambda: figure(api_port, "streamgauge_alerts_undelivered") > 0, "an alert is not delivered", 120)
            wait_for(lambda: figure(api_port, "streamgauge_dagster_tick_duration_seconds") > 0, "a tick has ended")
            with api.client.stream("GET", f"/v1/streams/{stream}/live") as live:
                next(live.iter_lines())
                emitted.scrape(url(api_port))
            emitted.scrape(url(port))
            assert figure(port, "streamgauge_worker_state_ids", stream=stream) > 600
            assert figure(port, "streamgauge_worker_state_size_bytes", stream=stream, kind="sketches") > 0
            for stage in ("read", "classify", "commit"):
                assert figure(port, "streamgauge_worker_stage_wait_seconds_total", stage=stage, state="idle") > 0
            assert figure(api_port, "streamgauge_hours_final_delay_seconds", stream=stream) > 0
        running.workers.stop(worker)
        assert committed_in_a_span(running.workers.log(), stream), "a commit's line has its trace and offsets"
        emitted.read_log(running.workers.log())
        emitted.read_log(api.log.read_text())
    assert not differing_metrics(emitted), "\n".join(differing_metrics(emitted))
    assert not differing_spans(collected.spans), "\n".join(differing_spans(collected.spans))
    assert not differing_log_fields(emitted), "\n".join(differing_log_fields(emitted))
