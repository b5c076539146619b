"""Staged outages on the real servers: what a real Alertmanager, and a webhook, were told."""

import json
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from streamgauge.cli import build
from streamgauge.errors import UserError
from streamgauge.settings import PREFIX, Settings
from streamgauge.stores.postgres import connect
from streamgauge.stores.redis import redis_client
from tests.http_server import listening
from tests.integration.alert_sensor import Sensor, causes
from tests.integration.monitors import Receiver, alertmanager, fill, free_port, receiver
from tests.integration.own_stream import block
from tests.integration.running import Running, events, streamgauge
from tests.integration.serving_client import in_process
from tests.integration.workers import wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(480)]

SINCE = (datetime.now(UTC) - timedelta(days=30)).isoformat()

FRESHNESS_SECONDS = 60
"""As in the contracts: the worker may be silent for 30 s, and is told of as a page after 60 s."""


@pytest.fixture
def instance() -> Generator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as built:  # pyright: ignore[reportUnknownMemberType]
        yield built


@pytest.fixture
def stream(running: Running) -> Generator[Running]:
    """At work, with some events read, and nothing remembered of alerts before."""

    def soon(document: dict[str, Any]) -> None:
        block(document, "time")["idleAfterSeconds"] = 1
        next(s for s in document["slaProperties"] if s["property"] == "freshness")["value"] = FRESHNESS_SECONDS

    running.edit(soon)
    running.apply()
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("truncate alerts, alert_messages, alert_memory, sensor_heartbeats")
    running.send(events(running.contract, 600))
    running.workers.start()
    wait_until_read(running.contract)
    yield running


def notifications(pages: Receiver) -> Callable[[str, str], bool]:
    return lambda status, severity: any(t[1:] == (status, severity) for t in pages.reported())


def routed(text: str, url: str) -> str:
    """Alertmanager's configuration with a receiver behind the sensors' routes, and without its waits for others."""
    for name in ("sensors-page", "sensors-notice"):
        text = text.replace(f"- name: {name}\n", f"- name: {name}\n    webhook_configs: [{{ url: '{url}{name}' }}]\n")
    return text.replace("group_wait: 5s", "group_wait: 0s").replace("group_interval: 1m", "group_interval: 1s")


def test_a_stopped_worker_is_one_page_and_one_recovery(
    stream: Running, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with receiver() as reported, receiver() as webhook:
        config = fill("alertmanager.yaml", lambda text: routed(text, reported.url), WEBHOOK="")
        with alertmanager(tmp_path / "monitors", config) as url:
            alerts = Sensor(stream, instance, alertmanager_url=url, alert_webhook_url=SecretStr(webhook.url))
            alerts.go_on(10)
            assert reported.bodies == webhook.bodies == [], "a stream at work is well"

            (worker,) = stream.workers.running
            stream.workers.kill(worker)
            stream.send(events(stream.contract, 50, start=600))
            notified = notifications(reported)
            alerts.until(lambda: notified("firing", "critical"), "the page")
            alerts.go_on(30)

            stream.workers.start()
            alerts.until(lambda: notified("resolved", "critical"), "the recovery")
            alerts.go_on(30)

    expected = [
        ("StreamgaugeWorkerStopped", "firing", "warning"),
        ("StreamgaugeWorkerStopped", "firing", "critical"),
        ("StreamgaugeWorkerStopped", "resolved", "critical"),
        ("StreamgaugeWorkerStopped", "resolved", "warning"),
    ]
    assert sorted(reported.reported()) == sorted(expected), (
        "one page, one notice, a recovery of each, nothing downstream"
    )
    assert sorted(webhook.reported()) == sorted(expected)
    page = next(b for b in webhook.bodies if b["alerts"][0]["labels"]["severity"] == "critical")["alerts"][0]
    assert page["labels"]["owner"] == "platform"
    assert page["annotations"]["runbook_url"].endswith("/worker-stopped.md")
    assert "50 records wait in Kafka" in page["annotations"]["description"]
    minutes = f"speed/{stream.contract.minutes_table}"
    assert minutes in page["annotations"]["downstream"]
    assert "redis/" in page["annotations"]["downstream"]


def test_an_alert_that_nobody_takes_is_kept_and_delivered_later(
    stream: Running, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with receiver() as webhook:
        away = f"http://127.0.0.1:{free_port()}"
        webhook.away = True
        alerts = Sensor(stream, instance, alertmanager_url=away, alert_webhook_url=SecretStr(webhook.url))
        alerts.tick()
        (worker,) = stream.workers.running
        stream.workers.kill(worker)
        alerts.until(lambda: len(_undelivered()) == 4, "warning and critical wait for both targets")
        tried = {("alertmanager", "ConnectError"), ("webhook", "HTTP 503")}
        assert set(_undelivered()) == tried | {("alertmanager", None), ("webhook", None)}, (
            "the second waits for the first"
        )
        webhook.away = False
        alerts.until(lambda: len(_undelivered()) == 2, "the webhook has taken its messages")
        assert [t[1:] for t in webhook.reported()] == [("firing", "warning"), ("firing", "critical")]

        with alertmanager(tmp_path / "monitors", fill("alertmanager.yaml", WEBHOOK="")) as url:
            alerts.settings = alerts.settings.model_copy(update={"alertmanager_url": url})
            alerts.until(lambda: not _undelivered(), "Alertmanager has taken its messages")
            assert {a["labels"]["severity"] for a in _at(url)} == {"warning", "critical"}


def test_alertmanager_started_anew_hears_of_what_fires(
    stream: Running, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (worker,) = stream.workers.running
    alerts = Sensor(stream, instance)
    alerts.tick()
    stream.workers.kill(worker)
    for name in ("first", "second"):
        with alertmanager(tmp_path / name, fill("alertmanager.yaml", WEBHOOK="")) as url:
            alerts.settings = alerts.settings.model_copy(update={"alertmanager_url": url})
            alerts.until(lambda url=url: len(_at(url)) == 2, f"the {name} one has both severities")
            assert not _undelivered()


def test_everyone_who_asks_gets_the_same_list(
    stream: Running, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = stream.contract.stream
    with alertmanager(tmp_path / "monitors", fill("alertmanager.yaml", WEBHOOK="")) as url:
        monkeypatch.setenv(f"{PREFIX}ALERTMANAGER_URL", url)
        alerts = Sensor(stream, instance, alertmanager_url=url)
        alerts.tick()
        assert asked(stream) == (0, [], True)
        _raise_incident(stream, "StreamgaugeRunFailed", f"run/facts/{name}_facts", f"facts/{name}_facts")
        memory = {"seen": 0, "failing": {f"facts/{name}_facts": {"": {"at": SINCE, "why": "Failed"}}}}
        _remember("dagster runs", memory)
        alerts.tick()
        burn = {"alertname": "StreamgaugeErrorBudgetBurn", "stream": name, "slo": "freshness", "severity": "critical"}
        _post(url, *({**burn, "window": w} for w in ("1h", "6h")), {"alertname": "Watchdog", "severity": "none"})
        assert len(_at(url)) == 4
        both = ["StreamgaugeErrorBudgetBurn", "StreamgaugeRunFailed"]
        assert asked(stream) == (1, both, True), "each once, though one is in both and another has two windows"
    assert asked(stream) == (1, ["StreamgaugeRunFailed"], False), "Alertmanager is away"
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("update alerts set resolved_at = now()")
    assert asked(stream) == (1, [], False), "nothing is known to fire, and not all is known"


def test_a_failure_ends_by_a_persons_acceptance(stream: Running, instance: dg.DagsterInstance) -> None:
    asset = f"facts/{stream.contract.stream}_facts"
    _remember("dagster runs", {"seen": 0, "failing": {asset: {"": {"at": SINCE, "why": "Failed"}}}})
    alerts = Sensor(stream, instance)
    alerts.tick()
    assert [(c[0], c[3]) for c in causes()] == [(f"run/{asset}", None)]
    command = ("alerts", "accept", "StreamgaugeRunFailed")
    refused = CliRunner().invoke(build(), [*command, "--asset", "facts/other", "--reason", "no"])
    assert isinstance(refused.exception, UserError)
    streamgauge(stream.own.folder, *command, "--asset", asset, "--reason", "The hour is gone.", "--by", "ann")
    listed = CliRunner().invoke(build(), ["alerts", "firing", "--json"])
    assert [(a["state"], a["accepted_by"]) for a in json.loads(listed.output)["firing"]] == [("accepted", "ann")]
    alerts.tick()
    assert [c[3] is not None for c in causes()] == [True]
    (kept,) = json.loads(streamgauge(stream.own.folder, "alerts", "history", "--json"))
    assert (kept["accepted_by"], kept["accepted_because"]) == ("ann", "The hour is gone.")
    alerts.tick()
    assert len(causes()) == 1, "what was accepted is not reported anew"


def test_servers_are_asked_while_no_transaction_is_open(stream: Running, instance: dg.DagsterInstance) -> None:
    open_ones: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        """An Alertmanager that looks at Postgres while the sensor waits for it."""

        def do_GET(self) -> None:
            with connect(Settings.for_role("admin"), autocommit=True) as connection:
                row = connection.execute(
                    "select count(*) from pg_stat_activity where application_name = 'sensor under test'"
                    " and state <> 'idle'"
                ).fetchone()
            open_ones.append(row[0] if row else -1)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

    with listening(Handler) as port:
        Sensor(stream, instance, alertmanager_url=f"http://127.0.0.1:{port}").tick()
    assert open_ones == [0]


def test_an_error_in_one_condition_leaves_the_others(
    stream: Running, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    name = stream.contract.stream
    minutes = f"speed/{stream.contract.minutes_table}"
    _raise_incident(stream, "StreamgaugeDataStale", f"stale/{minutes}", minutes)
    asset = f"facts/{name}_facts"
    _remember("dagster runs", {"seen": 0, "failing": {asset: {"": {"at": SINCE, "why": "Failed"}}}})
    redis, key = redis_client(Settings.for_role("admin")), stream.contract.redis_minutes_key
    alerts = Sensor(stream, instance)
    for worker in list(stream.workers.running):
        stream.workers.kill(worker)
    redis.set(key, "a secret that is no JSON")
    alerts.tick()
    assert {c[0] for c in causes() if c[3] is None} == {
        f"stale/{minutes}", f"run/{asset}", f"condition/freshness/{name}",
    }  # fmt: skip
    assert "JSONDecodeError" in caplog.text and "secret" not in caplog.text
    redis.delete(key)
    alerts.tick()
    assert f"condition/freshness/{name}" not in {c[0] for c in causes() if c[3] is None}


def asked(stream: Running) -> tuple[int, list[str], bool]:
    """The command's exit code, and what it and the API both list; whether Alertmanager answered."""
    done = CliRunner().invoke(build(), ["alerts", "firing", "--json"])
    command = json.loads(done.output)
    with in_process(stream.own.folder) as client:
        api = client.get("/v1/alerts").json()
    for each in (command["firing"], api["alerts"]):
        for alert in each:
            del alert["since"]
    assert command["firing"] == [{**a, "stream": a["stream"] or "", "asset": a["asset"] or ""} for a in api["alerts"]]
    assert command["notes"] == api["notes"]
    assert api["available"] or any("Alertmanager did not answer" in note for note in api["notes"])
    return done.exit_code, [a["name"] for a in api["alerts"]], api["available"]


def _raise_incident(stream: Running, name: str, cause: str, asset: str) -> None:
    with connect(Settings.for_role("admin")) as connection:
        connection.execute(
            "insert into alerts (id, cause, name, severity, stream, asset, owner, summary, description, runbook_url,"
            " since, raised_at, warned_at) values (%(cause)s, %(cause)s, %(name)s, 'warning', %(stream)s, %(asset)s,"
            " 'o', 's', 'd', 'http://r', %(since)s, %(since)s, %(since)s)",
            {"cause": cause, "name": name, "stream": stream.contract.stream, "asset": asset, "since": SINCE},
        )


def _remember(subject: str, memory: dict[str, Any]) -> None:
    with connect(Settings.for_role("admin")) as connection:
        connection.execute(
            "insert into alert_memory (subject, memory) values (%s, %s) on conflict (subject)"
            " do update set memory = excluded.memory",
            (subject, json.dumps({**memory, "seen": time.time()})),
        )


def _post(url: str, *labels: dict[str, str]) -> None:
    body = [{"labels": each, "annotations": {"summary": each["alertname"]}} for each in labels]
    httpx.post(f"{url}/api/v2/alerts", json=body, timeout=5).raise_for_status()


def _undelivered() -> list[tuple[str, str | None]]:
    with connect(Settings.for_role("reader")) as connection:
        return connection.execute("select target, error from alert_messages where delivered_at is null").fetchall()


def _at(url: str) -> list[dict[str, Any]]:
    return httpx.get(f"{url}/api/v2/alerts", timeout=5).raise_for_status().json()
