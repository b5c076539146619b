"""Spans for Zipkin, in its own form (https://zipkin.io/zipkin-api/#/default/post_spans), mapped as OpenTelemetry says
(https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/). Links, which Zipkin doesn't know, are tags.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import httpx
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, format_span_id, format_trace_id

SPANS_PATH = "/api/v2/spans"
_SECONDS = 10.0
"""For one request: without it a store that hangs would hold its batch for ever."""
_PATIENCE_SECONDS = 120.0
"""How long a batch is sent again to a store that is away: the local stack's starts after the first numbers. Without an
end, the newest spans would be dropped for the oldest for as long as it is away.
"""
_PAUSE_SECONDS = 2.0


class ZipkinExporter(SpanExporter):
    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=_SECONDS)
        self._hurry = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encoded = [zipkin_span(s) for s in spans]
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with suppress(httpx.HTTPError):
                status = self._client.post(SPANS_PATH, json=encoded).status_code
                if status < 500:
                    return SpanExportResult.SUCCESS if status < 300 else SpanExportResult.FAILURE
            if self._hurry.wait(_PAUSE_SECONDS) or time.monotonic() > until:
                return SpanExportResult.FAILURE

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Who flushes is about to end: from now on a batch is sent once."""
        self._hurry.set()
        return True

    def shutdown(self) -> None:
        self._hurry.set()


def zipkin_span(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    assert context is not None, "a span that was started has a context"
    begun, ended = span.start_time or 0, span.end_time or 0
    tags = {name: _text(value) for name, value in (span.attributes or {}).items()}
    tags |= {f"link.{n}": _link(link) for n, link in enumerate(span.links)}
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


def _link(link: Link) -> str:
    """The other's trace, its span, and what is said of the link, such as a correlation id."""
    attributes: Mapping[str, Any] = link.attributes or {}
    ids = (format_trace_id(link.context.trace_id), format_span_id(link.context.span_id))
    return " ".join((*ids, *(f"{name}={_text(value)}" for name, value in attributes.items())))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
