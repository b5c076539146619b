"""Spans for Zipkin, in its own form (https://zipkin.io/zipkin-api/#/default/post_spans), mapped as OpenTelemetry says
(https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/). Links, which Zipkin doesn't know, are
tags named after the other's trace, so that a search for the tag `link.TRACE_ID` finds who is linked to it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, format_span_id, format_trace_id

from streamgauge.telemetry.delivery import Delivery

SPANS_PATH = "/api/v2/spans"
_PATIENCE_SECONDS = 120.0


class ZipkinExporter(SpanExporter):
    def __init__(self, url: str) -> None:
        self._delivery = Delivery(url, _PATIENCE_SECONDS)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        content = json.dumps([zipkin_span(s) for s in spans]).encode()
        taken = self._delivery.send(SPANS_PATH, content, "application/json")
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Who flushes is about to end."""
        self._delivery.hurry()
        return True

    def shutdown(self) -> None:
        self._delivery.hurry()


def zipkin_span(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    assert context is not None, "a span that was started has a context"
    begun, ended = span.start_time or 0, span.end_time or 0
    tags = {name: _text(value) for name, value in (span.attributes or {}).items()}
    tags |= {linked_to(format_trace_id(link.context.trace_id)): _link(link) for link in span.links}
    if span.status.status_code is StatusCode.ERROR:
        # which is all that Zipkin looks at
        tags |= {"otel.status_code": "ERROR", "error": tags.get("error.type", "true")}
    built: dict[str, Any] = {
        "traceId": format_trace_id(context.trace_id),
        "id": format_span_id(context.span_id),
        "name": span.name,
        "timestamp": begun // 1000,
        "duration": max(1, (ended - begun) // 1000),
        "localEndpoint": {"serviceName": span.resource.attributes.get("service.name")},
        "tags": tags,
    }
    parent: SpanContext | None = span.parent
    if parent is not None:
        built["parentId"] = format_span_id(parent.span_id)
    if span.kind is not SpanKind.INTERNAL:
        built["kind"] = span.kind.name
    return built


def linked_to(trace_id: str) -> str:
    """The tag of the spans that are linked to a trace."""
    return f"link.{trace_id}"


def _link(link: Link) -> str:
    """The other's span, and what is said of the link, such as a correlation id."""
    attributes: Mapping[str, Any] = link.attributes or {}
    said = (f"{name}={_text(value)}" for name, value in attributes.items())
    return " ".join((format_span_id(link.context.span_id), *said))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
