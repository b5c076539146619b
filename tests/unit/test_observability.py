"""Rules, dashboards and runbooks agree with the metrics that there are, and with each other."""

import importlib
import json
import pkgutil
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import opentelemetry.semconv
import pytest
import yaml
from opentelemetry.metrics import Counter, Histogram, Observation, UpDownCounter
from opentelemetry.semconv.schemas import Schemas
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from sensors.alerting.conditions import KINDS, AlertKind
from sensors.alerting.evaluation import PROMETHEUS
from sensors.alerting.subjects import subjects
from streamgauge.access.load import load_access
from streamgauge.cli import build
from streamgauge.contract.load import load_contracts
from streamgauge.settings import ACCESS_FILE, CHECKOUT, CONTRACTS
from streamgauge.stack import monitoring
from streamgauge.stack.credentials import Credentials
from streamgauge.stack.layout import Layout, stack_file
from streamgauge.telemetry import metrics, openslo
from streamgauge.telemetry.catalog import page as names_page
from streamgauge.telemetry.catalog.metrics import LIBRARIES, METRICS
from streamgauge.telemetry.catalog.model import SEMANTIC_CONVENTIONS
from streamgauge.telemetry.catalog.spans import SPANS
from tests.integration.free_port import free_port

OBSERVABILITY = CHECKOUT / "platform" / "observability"
RUNBOOKS = CHECKOUT / "docs" / "runbooks"
ALERTS_PAGE = (CHECKOUT / "docs" / "alerts.md").read_text()
RULE_FILES = sorted((OBSERVABILITY / "rules").glob("*.yaml"))
SERIES = re.compile(r"\b(?:streamgauge|http_server)_[a-z0-9_]+")
RECORDED = re.compile(r"\bstreamgauge:[a-z0-9_:]+")


def rules() -> Iterator[dict[str, Any]]:
    for file in RULE_FILES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


def alert_rules() -> list[dict[str, Any]]:
    return [r for r in rules() if "alert" in r]


def dashboards() -> list[Path]:
    return sorted((OBSERVABILITY / "dashboards").glob("*.json"))


def targets() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in dashboards():
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{file.stem}: {panel['title']}", target


@pytest.fixture(scope="module")
def exported() -> str:
    """All metrics, each with a value, as Prometheus reads them. In a process of its own, which keeps the provider."""
    return subprocess.run(
        [CHECKOUT / ".venv" / "bin" / "python", "-c", "from tests.unit import test_observability as t; t.export_all()"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def export_all() -> None:
    metrics.export_metrics("test")
    attributes = {"stream": "s"}
    for metric in METRICS:
        if metric.observed:
            metrics.observe(metric, lambda: [Observation(1, attributes)])
    for value in vars(metrics).values():
        match value:
            case metrics.BulkHistogram():
                value.add([0.1], "s")
            case Counter() | UpDownCounter():
                value.add(1, attributes)
            case Histogram():
                value.record(0.1, attributes)
            case _:
                pass
    print(generate_latest().decode())  # noqa: T201


def test_every_metric_of_the_catalog_has_an_instrument_and_the_series_it_says(exported: str) -> None:
    wanted = {series for metric in METRICS for series in metric.series} | {m.name for m in LIBRARIES}
    assert {s.name for f in text_string_to_metric_families(exported) for s in f.samples} == wanted


def test_names_of_the_conventions_are_theirs() -> None:
    """Against OpenTelemetry's own package, of the version that the page names."""
    assert SEMANTIC_CONVENTIONS.replace(".", "_") in {s.name.removeprefix("V") for s in Schemas}
    (conventions,) = opentelemetry.semconv.__path__
    known = {
        value
        for part in ("attributes", "metrics")
        for module in pkgutil.iter_modules([f"{conventions}/_incubating/{part}"])
        for value in vars(importlib.import_module(f"opentelemetry.semconv._incubating.{part}.{module.name}")).values()
        if isinstance(value, str)
    }
    attributes = {x for m in METRICS for x in m.attributes}
    attributes |= {x for s in SPANS for x in (*s.attributes, *s.link_attributes)}
    named = {m.name: m.convention for m in METRICS} | {x.name: x.convention for x in attributes}
    assert {name for name, convention in named.items() if convention} <= known
    # without a dot there are only deprecated ones, such as `state`
    assert not {name for name, convention in named.items() if not convention and "." in name} & known


def test_the_page_of_names_is_current() -> None:
    assert (CHECKOUT / "docs" / "telemetry.md").read_text() == names_page.page(), "run the command in its head"


def test_the_promises_as_openslo_are_current() -> None:
    assert openslo.FILE.read_text() == openslo.text(), "run the command in its head"
    slos = {d["metadata"]["name"]: d["spec"] for d in openslo.documents() if d["kind"] == "SLO"}
    page = (CHECKOUT / "docs" / "observability.md").read_text()
    promised = re.findall(r"^\| ([a-z-]+) \| .*?([\d.]+) % of", page, re.M)
    targets = {name: f"{100 * spec['objectives'][0]['target']:g}" for name, spec in slos.items()}
    assert targets == dict(promised)


def test_rules_and_dashboards_use_metrics_that_exist(exported: str) -> None:
    known = set(SERIES.findall(exported))
    recorded = {r["record"] for r in rules() if "record" in r}
    used = [(r.get("alert") or r["record"], r["expr"]) for r in rules()]
    used += [(name, t["expr"]) for name, t in targets() if "expr" in t]
    for name, expression in used:
        assert set(SERIES.findall(expression)) <= known, name
        assert set(RECORDED.findall(expression)) <= recorded, name


def test_every_alert_says_what_it_is_and_links_to_its_page() -> None:
    for rule in alert_rules():
        assert rule["annotations"]["summary"], rule["alert"]
        link = rule["annotations"]["runbook_url"]
        assert (RUNBOOKS / link.removeprefix("${RUNBOOKS}/")).exists(), link
        assert rule["labels"]["severity"] in ("critical", "warning", "none")


def test_every_alert_of_the_sensors_has_a_page_and_no_page_is_of_nothing() -> None:
    pages = {kind.runbook for kind in KINDS}
    linked = {Path(r["annotations"]["runbook_url"]).stem for r in alert_rules()}
    assert {p.stem for p in RUNBOOKS.glob("*.md")} == pages | linked


def test_the_table_of_conditions_is_the_list_in_the_code() -> None:
    rows = re.findall(
        r"^\| `(Streamgauge\w+)` \| (.+) \| (.+) \| (.+) \| \[.+\]\(runbooks/(.+)\.md\) \|$", ALERTS_PAGE, re.M
    )
    assert [AlertKind(*row) for row in rows] == list(KINDS)


def test_every_condition_of_the_code_is_in_the_list() -> None:
    names = {s.alert for s in [PROMETHEUS, *subjects(load_contracts(CONTRACTS))]}
    for file in (CHECKOUT / "sensors").rglob("*.py"):
        names |= set(re.findall(r'"(Streamgauge[A-Z]\w+)"', file.read_text()))
    assert names == {kind.name for kind in KINDS}


def test_the_runbook_of_burning_budgets_names_commands_and_figures_that_exist(exported: str) -> None:
    page = (RUNBOOKS / "error-budget-burn.md").read_text()
    assert set(SERIES.findall(page)) <= set(SERIES.findall(exported))
    assert set(RECORDED.findall(page)) <= {r["record"] for r in rules() if "record" in r}
    for command in re.findall(r"`streamgauge ([a-z -]+)`", page):
        assert CliRunner().invoke(build(), [*command.split()[:2], "--help"]).exit_code == 0, command
    assert "Grafana" not in page and "dashboard" not in page


def test_links_in_the_runbooks_lead_somewhere() -> None:
    for page in RUNBOOKS.glob("*.md"):
        for link in re.findall(r"\]\(([^)]+\.md)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_panel_asks_something_of_a_source_that_is_provisioned() -> None:
    sources = yaml.safe_load((OBSERVABILITY / "provisioning" / "datasources" / "sources.yaml").read_text())[
        "datasources"
    ]
    known = {s["uid"] for s in sources}
    found = list(targets())
    assert len(found) > 10
    for name, target in found:
        assert target["datasource"]["uid"] in known, name
        assert target.get("expr") or target.get("rawSql"), name


def test_the_services_of_compose_fill_in_what_these_programs_accept(tmp_path: Path) -> None:
    deploy = CHECKOUT / "platform" / "deploy"
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("prometheus", "alertmanager"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    for webhook in ("", "http://hook.example/path?token=1"):
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "OBSERVABILITY": str(OBSERVABILITY),
            "PROMETHEUS_HOME": str(tmp_path),
            "ALERTMANAGER_HOME": str(tmp_path),
            "STREAMGAUGE_RUNBOOKS_URL": "https://git.example/runbooks",
            "STREAMGAUGE_ALERT_WEBHOOK_URL": webhook,
        }
        for name in ("prometheus", "alertmanager"):
            subprocess.run(["sh", deploy / f"{name}.sh"], env=environment, check=True)
        subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yaml"], check=True, capture_output=True)
        subprocess.run(["amtool", "check-config", tmp_path / "alertmanager.yaml"], check=True, capture_output=True)
        assert (webhook in (tmp_path / "alertmanager.yaml").read_text()) and "${" not in (
            tmp_path / "prometheus.yaml"
        ).read_text()
    assert "https://git.example/runbooks/sensors-silent.md" in (tmp_path / "rules" / "platform.yaml").read_text()


def test_no_other_sites_page_reads_prometheus(tmp_path: Path) -> None:
    """The local stack's own command line, with a configuration of its own: what a browser asks is the header."""
    port = free_port()
    place = Layout("demo", tmp_path, port - stack_file().ports["prometheus"])
    folder = place.part("prometheus")
    folder.mkdir()
    known = Credentials(place, load_access(ACCESS_FILE), {})
    (folder / "prometheus.yaml").write_text("global: {}\n")
    (folder / "web.yaml").write_text("{}\n")
    process = subprocess.Popen(
        monitoring.prometheus(known).command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def allowed(origin: str) -> str | None:
        query = f"http://127.0.0.1:{port}/api/v1/query?query=up"
        return httpx.get(query, headers={"Origin": origin}).headers.get("access-control-allow-origin")

    try:
        for _ in range(300):
            try:
                httpx.get(f"http://127.0.0.1:{port}/-/ready").raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        assert allowed("http://evil.example") is None
        assert allowed(f"http://127.0.0.1:{port}") == f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
