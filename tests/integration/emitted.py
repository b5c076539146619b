"""What processes really emit, and what of it the catalog doesn't list, or lists in vain."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.catalog.log_fields import LOG_FIELDS
from streamgauge.telemetry.catalog.metrics import LIBRARIES, METRICS
from streamgauge.telemetry.catalog.spans import SPANS
from tests.collector import attributes

_BY_READER = ("le", "otel_scope_")
"""Labels that stand on every histogram, or on everything of OpenTelemetry's exporter."""


@dataclass
class Emitted:
    """Names of series with their labels, of spans and links with their attributes, and fields of log lines."""

    series: dict[str, set[str]] = field(default_factory=lambda: defaultdict[str, set[str]](set))
    log_fields: set[str] = field(default_factory=set[str])

    def scrape(self, url: str) -> None:
        text = httpx.get(url, timeout=20).raise_for_status().text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.series[sample.name] |= {k for k in sample.labels if not k.startswith(_BY_READER)}

    def read_log(self, log: str) -> None:
        """Lines that are no objects are of libraries that write on stderr themselves."""
        for line in log.splitlines():
            if line.startswith("{"):
                self.log_fields |= json.loads(line).keys()


def differing_metrics(emitted: Emitted) -> list[str]:
    """Of the names, and of the labels of those that are listed."""
    listed = {s: {x.label for x in m.attributes} - {"le"} for m in METRICS for s in m.series}
    listed |= {m.name: set(m.labels) for m in LIBRARIES}
    conditional = {x.label for m in METRICS for x in m.attributes if x.conditional}
    return [*_differing(emitted.series, listed, "metric", conditional)]


def differing_spans(spans: Iterable[Span]) -> list[str]:
    """Of the kinds and names, and of the attributes of those that are listed. `error.type` may be on each."""
    found: dict[str, set[str]] = defaultdict(set)
    for span in spans:
        kind = Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower()
        name = next((s.name for s in SPANS if s.kind == kind and s.names(span.name)), span.name)
        found[f"{kind} {name}"] |= attributes(span).keys() - {a.ERROR_TYPE.name}
        linked = {x for link in span.links for x in attributes(link)}
        if linked:
            found[f"link of {kind} {name}"] |= linked
    listed = {f"{s.kind} {s.name}": {x.name for x in s.attributes} - {a.ERROR_TYPE.name} for s in SPANS}
    listed |= {f"link of {s.kind} {s.name}": {x.name for x in s.link_attributes} for s in SPANS if s.link_attributes}
    return [*_differing(found, listed, "span", set())]


def differing_log_fields(emitted: Emitted) -> list[str]:
    found = emitted.log_fields | {f.name for f in LOG_FIELDS if f.conditional}
    fields = {f.name: set[str]() for f in LOG_FIELDS}
    return [*_differing({name: set[str]() for name in found}, fields, "log field", set())]


def _differing(
    found: Mapping[str, set[str]], listed: Mapping[str, set[str]], what: str, conditional: set[str]
) -> Iterable[str]:
    yield from (f"{what} {name} is emitted and not listed" for name in sorted(found.keys() - listed.keys()))
    yield from (f"{what} {name} is listed and was never emitted" for name in sorted(listed.keys() - found.keys()))
    for name in sorted(found.keys() & listed.keys()):
        yield from (f"{what} {name}: {x} is emitted and not listed" for x in sorted(found[name] - listed[name]))
        yield from (
            f"{what} {name}: {x} is listed and never emitted" for x in sorted(listed[name] - found[name] - conditional)
        )
