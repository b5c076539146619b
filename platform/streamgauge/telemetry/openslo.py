"""The promises as OpenSLO documents (https://openslo.com, v1), made from the rules that Prometheus evaluates."""

from collections.abc import Iterator
from typing import Any

import yaml

from streamgauge.settings import CHECKOUT

RULES = CHECKOUT / "platform" / "observability" / "rules" / "slo.yaml"
FILE = CHECKOUT / "platform" / "observability" / "openslo.yaml"
_HEAD = """# Made from rules/slo.yaml: change it there, then
# `python -m streamgauge.telemetry.openslo > platform/observability/openslo.yaml`.
"""
_OBJECTIVE, _BAD, _ALL = "streamgauge:slo_objective:ratio", "streamgauge:slo_bad:rate5m", "streamgauge:slo_all:rate5m"
_PROMETHEUS = "prometheus"


def documents() -> Iterator[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    rules: list[dict[str, Any]] = [rule for group in groups for rule in group["rules"]]
    found: dict[tuple[str, str], str] = {
        (rule["record"], rule["labels"]["slo"]): rule["expr"] for rule in rules if "labels" in rule and "record" in rule
    }
    yield _named(
        "Service", "streamgauge", {"description": "Real-time analytics: provisional at once, final when checked."}
    )
    yield _named("DataSource", _PROMETHEUS, {"type": "Prometheus", "connectionDetails": {"url": "${PROMETHEUS_URL}"}})
    for record, name in found:
        if record == _OBJECTIVE:
            target = found[record, name].removeprefix("vector(").removesuffix(")")
            yield _slo(name, float(target), found[_BAD, name], found[_ALL, name])


def _slo(name: str, target: float, bad: str, total: str) -> dict[str, Any]:
    indicator = {"ratioMetric": {"counter": False, "bad": _metric(bad), "total": _metric(total)}}
    return _named(
        "SLO",
        name,
        {
            "service": "streamgauge",
            "indicator": {"metadata": {"name": name}, "spec": indicator},
            "timeWindow": [{"duration": "30d", "isRolling": True}],
            "budgetingMethod": "Occurrences",
            "objectives": [{"target": target}],
        },
    )


def _metric(query: str) -> dict[str, Any]:
    return {"metricSource": {"metricSourceRef": _PROMETHEUS, "spec": {"query": " ".join(query.split())}}}


def _named(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "openslo/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def text() -> str:
    return _HEAD + yaml.safe_dump_all(documents(), sort_keys=False, width=1000)


if __name__ == "__main__":
    print(text(), end="")  # noqa: T201
