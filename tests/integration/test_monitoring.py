"""Prometheus and Alertmanager for real: the dead-man's switch, the figures behind the rules, every panel's query."""

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from streamgauge.settings import PREFIX, Settings
from streamgauge.stores.postgres import connect
from tests.integration.monitors import TEMPLATES, alertmanager, fill, free_port, prometheus, receiver
from tests.integration.running import Running, events
from tests.integration.test_alerts import Sensor
from tests.integration.workers import wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(480)]

SILENT = ("StreamgaugeSensorsSilent", "firing", "critical")

QUIET = {
    "streams: Sessions begun anew",
    "streams: Ticks that could not publish",
    "streams: Events a second sent",
    "promises: Ingestion: queue to acknowledgement",
    "promises: Messages not delivered",
    "batch: Hours outdated",
    "batch: Hours not explained",
}
"""Panels without a figure while all is well and nobody sends."""


@pytest.fixture
def api(running: Running, tmp_path: Path) -> Generator[str]:
    """The API of the test's own stream; its port."""
    port = str(free_port())
    command = [sys.executable, "-m", "streamgauge.cli", "api", "--port", port]
    environment = {**os.environ, f"{PREFIX}CONTRACTS_DIR": str(running.own.folder)}
    running.apply()
    with (tmp_path / "api.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/metrics"), "the API answers")
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


@contextmanager
def monitors(folder: Path, webhook: str, **ports: str) -> Generator[str]:
    """Prometheus with the rules, in which minutes are seconds, and Alertmanager behind it. Prometheus's URL."""
    rules = folder / "rules"
    rules.mkdir(parents=True)
    for source in (TEMPLATES / "rules").glob("*.yaml"):
        text = source.read_text().replace("> 180", "> 6").replace("for: 1m", "for: 1s").replace("30s", "1s")
        (rules / source.name).write_text(text)
    reported = f"{{ url: {json.dumps(webhook)} }}"
    waits = ("group_wait: 5s", "group_wait: 0s"), ("group_interval: 1m", "group_interval: 1s")
    config = fill("alertmanager.yaml", WEBHOOK=reported)
    for old, new in waits:
        assert old in config
        config = config.replace(old, new)
    with alertmanager(folder, config) as url:
        ports["ALERTMANAGER_PORT"] = url.rpartition(":")[2]
        config = fill("prometheus.yaml", lambda text: text.replace("15s", "1s"), RULES=str(rules), **ports)
        with prometheus(folder, config) as found:
            yield found


def asked(url: str, expression: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}, timeout=10).json()
    assert answer["status"] == "success", (expression, answer)
    return answer["data"]["result"]


@pytest.fixture
def instance() -> Generator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as built:  # pyright: ignore[reportUnknownMemberType]
        yield built


def test_sensors_that_stop_are_heard_of_and_so_is_their_return(
    running: Running, instance: dg.DagsterInstance, tmp_path: Path, api: str
) -> None:
    """Nobody but Prometheus and the API is up to notice it."""
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("truncate alerts, alert_messages, alert_memory, sensor_heartbeats")
    alerts = Sensor(running, instance)
    with receiver() as reported, monitors(tmp_path / "monitors", reported.url, SERVING_PORT=api):
        alerts.until(lambda: SILENT not in reported.reported(), "the first heartbeat")
        alerts.go_on(15)
        reported.bodies.clear()
        alerts.go_on(5)
        assert SILENT not in reported.reported(), "sensors at work are not silent"
        wait_for(lambda: SILENT in reported.reported(), "somebody hears that they stopped")
        back = ("StreamgaugeSensorsSilent", "resolved", "critical")
        alerts.until(lambda: back in reported.reported(), "somebody hears that they are back")
        mine = [t for t in reported.reported() if t[0] == "StreamgaugeSensorsSilent"]
        assert mine == [SILENT, back]


def test_every_panel_has_an_answer(
    running: Running, instance: dg.DagsterInstance, tmp_path: Path, api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = str(free_port())
    monkeypatch.setenv(f"{PREFIX}METRICS_PORT", port)
    with (
        receiver() as reported,
        monitors(tmp_path / "monitors", reported.url, SERVING_PORT=api, WORKER_METRICS_PORT=port) as url,
    ):
        running.workers.start()
        running.send(events(running.contract, 600))
        wait_until_read(running.contract)
        Sensor(running, instance).tick()
        wait_for(lambda: bool(asked(url, "streamgauge_worker_readable_total")), "the first figures are scraped")
        running.send(events(running.contract, 600, start=600))
        wait_until_read(running.contract)
        wait_for(lambda: bool(asked(url, "streamgauge:slo_burn_rate:ratio1h > -1")), "a burn rate is recorded")
        silent: set[str] = set()
        with connect(Settings.for_role("reader")) as connection:
            for file in sorted((TEMPLATES / "dashboards").glob("*.json")):
                for panel in json.loads(file.read_text())["panels"]:
                    for target in panel["targets"]:
                        if "rawSql" in target:
                            connection.execute(target["rawSql"]).fetchall()
                        elif not asked(url, target["expr"]):
                            silent.add(f"{file.stem}: {panel['title']}")
        assert silent <= QUIET
        stream = running.contract.stream
        books = f'sum(streamgauge_stream_records_total{{stream="{stream}"}}) == 1200'
        wait_for(lambda: bool(asked(url, books)), "every record is in the books")
