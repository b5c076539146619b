"""Every name that the processes emit is in the catalog, and every name in the catalog is emitted: with traffic of every
verdict, and with servers that fail.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.settings import PREFIX, Settings
from streamgauge.stack.control import Stack
from streamgauge.state import api_keys as keys
from streamgauge.stores.postgres import connect
from tests.collector import Collected, attributes, collector
from tests.integration.batch_layer import fill_batch, fill_lake
from tests.integration.dagster_processes import DagsterProcesses
from tests.integration.emitted import Emitted, differing_log_fields, differing_metrics, differing_spans
from tests.integration.monitors import free_port, receiver
from tests.integration.running import Running, events, now_ms
from tests.integration.serving_client import LOOPBACK, Served, served
from tests.integration.test_reconciliation import reconcile
from tests.integration.workers import wait_for

pytestmark = [pytest.mark.timeout(900)]


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


def backfill(running: Running, layer: str, begin: datetime, end: datetime) -> None:
    command = [sys.executable, "-m", "streamgauge.cli", "backfill", layer]
    environment = {**os.environ, f"{PREFIX}CONTRACTS_DIR": str(running.own.folder)}
    range_ = ["--from", hour_key(begin), "--to", hour_key(end)]
    subprocess.run([*command, *range_], env=environment, stdout=subprocess.DEVNULL, check=True, timeout=300)


def _is_compared(contract: Contract, hour: datetime) -> bool:
    with connect(Settings.for_role("admin")) as connection:
        query = "select facts > 0 and least(built, rolled, reconciled) >= touched from event_hours"
        found = connection.execute(query + " where stream = %s and hour = %s", (contract.stream, hour)).fetchone()
    return bool(found and found[0])


def run_the_batch_layer(running: Running, hour: datetime, collected: Collected) -> None:
    """By Dagster's runs: from the lake on by itself, then the rollups once more."""
    backfill(running, "lake", hour, hour_start(datetime.now(UTC)) + HOUR)
    wait_for(lambda: _is_compared(running.contract, hour), "runs have made and compared the hour", 240)
    rolled = "materialize " + "/".join(asset_keys.rollups_hourly(running.contract))
    before = {s.trace_id for s in collected.spans if s.name == rolled}
    backfill(running, "rollups", hour, hour + HOUR)
    wait_for(
        lambda: bool({s.trace_id for s in collected.spans if s.name == rolled} - before), "its rollups are anew", 120
    )


def check_runs(spans: Sequence[Span], log: str, contract: Contract) -> None:
    """A run's trace, and each line of its assets, have the run's id."""
    runs = {s.trace_id: s for s in spans if s.name.startswith("run ")}
    of_stream = [s for s in spans if s.name.startswith("materialize ") and contract.stream in s.name]
    for span in of_stream:
        run_id = str(attributes(span)["dagster.run.id"])
        assert span.trace_id.hex() == run_id.replace("-", "")
        assert span.parent_span_id == runs[span.trace_id].span_id
    lake = next(s for s in of_stream if "/".join(asset_keys.lake(contract)) in s.name)
    assert re.fullmatch(r"\d+:\d+-\d+( \d+:\d+-\d+)*", str(attributes(lake)["streamgauge.offsets"]))
    built = {s.trace_id for s in of_stream if "/".join(asset_keys.facts(contract)) in s.name}
    lake_runs = {s.trace_id for s in of_stream if "/".join(asset_keys.lake(contract)) in s.name}
    facts = [s for s in of_stream if "/".join(asset_keys.facts(contract)) in s.name]
    sources = {link.trace_id for s in facts for link in s.links}
    assert sources and sources <= lake_runs, "facts lead to the runs that took their records"
    links = {link.trace_id for s in of_stream if s not in facts for link in s.links}
    assert links and links <= built, "rollups made by another run lead to the one that built the facts"
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    result = [
        x for x in lines if x["body"].startswith("/".join(asset_keys.facts(contract))) and " made in " in x["body"]
    ]
    assert result
    for line in result:
        assert line["trace_id"] == line["run_id"].replace("-", "")
        assert (line["stream"], line["asset"]) == (contract.stream, "/".join(asset_keys.facts(contract)))
        assert line["partition"]
    assert any(x.get("sensor") == "alerts" for x in lines)


def check_asked(spans: Sequence[Span], log: str, stream: str) -> None:
    commits = {s.trace_id for s in spans if s.name == "commit"}
    asked = {s.trace_id for s in spans if s.name == "GET /v1/streams/{stream}/rollups"}
    links = {link.trace_id for s in spans if s.name == "postgresql" and s.trace_id in asked for link in s.links}
    assert links and links <= commits, "a request leads to the commit that wrote its newest rows"
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any(x.get("correlation_id") == "order-7" and x["stream"] == stream and x["trace_id"] for x in lines)


def ask(api: Served, stream: str) -> None:
    """Questions that are answered and one that is not, from either store; and an event that is taken."""
    with connect(Settings.for_role("admin")) as connection:
        key, _ = keys.create(connection, "telemetry", (f"write:{stream}",))
    sent = {"Authorization": f"Bearer {key}", "X-Correlation-Id": "order-7"}
    assert api.client.post(f"/v1/streams/{stream}/events", json=[{}], headers=sent).status_code in (202, 422)
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
    # of the hour that ended last, events on time may still come
    hour = hour_start(datetime.now(UTC)) - 2 * HOUR
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("truncate alerts, alert_messages, alert_memory, sensor_heartbeats")
    with collector() as (traces, collected), receiver() as webhook:
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", traces)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        monkeypatch.setenv(f"{PREFIX}ALERT_WEBHOOK_URL", webhook.url)
        webhook.away = True
        worker = running.workers.start()
        running.send(events(contract, 600, at=int((hour + HOUR / 2).timestamp() * 1000)))
        with (
            DagsterProcesses(stack, running.own.folder) as dagster,
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
            run_the_batch_layer(running, hour, collected)
            # what this process itself makes is not to be exported: it would be for the rest of the session
            monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
            make_final(running, hour)
            wait_for(lambda: figure(api_port, "streamgauge_alerts_undelivered") > 0, "an alert is not delivered", 120)
            wait_for(lambda: figure(api_port, "streamgauge_dagster_tick_duration_seconds") > 0, "a tick has ended", 300)
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
        check_asked(collected.spans, api.log.read_text(), stream)
        check_runs(collected.spans, dagster.log(), contract)
        emitted.read_log(api.log.read_text())
        emitted.read_log(dagster.log())
    assert not differing_metrics(emitted), "\n".join(differing_metrics(emitted))
    assert not differing_spans(collected.spans), "\n".join(differing_spans(collected.spans))
    assert not differing_log_fields(emitted), "\n".join(differing_log_fields(emitted))
