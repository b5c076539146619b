"""Spans as Zipkin takes them, and how long they are offered to one that is away."""

import threading
import time
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import Link, SpanKind, set_span_in_context

from streamgauge.telemetry import delivery
from streamgauge.telemetry.tracing import fail
from streamgauge.telemetry.zipkin import ZipkinExporter, zipkin_span
from tests.telemetry_store import store


def spans() -> Sequence[ReadableSpan]:
    """A batch's with a link and a correlation id, and its commit, which failed."""
    tracer = TracerProvider(resource=Resource({"service.name": "s"}), shutdown_on_exit=False).get_tracer("t")
    sender = tracer.start_span("send")
    link = Link(sender.get_span_context(), {"messaging.message.conversation_id": "order-7"})
    batch = tracer.start_span("process t", kind=SpanKind.CONSUMER, links=[link], attributes={"records": 3})
    commit = tracer.start_span("commit", set_span_in_context(batch))
    fail(commit, ValueError("a value"))
    for span in (commit, batch, sender):
        span.end()
    found = (sender, batch, commit)
    assert all(isinstance(s, ReadableSpan) for s in found)
    return found  # pyright: ignore[reportReturnType]


def test_a_span_has_its_times_its_place_and_its_links() -> None:
    sender, batch, commit = map(zipkin_span, spans())
    assert batch["localEndpoint"] == {"serviceName": "s"}
    assert batch["kind"] == "CONSUMER" and "kind" not in commit
    assert batch["tags"] == {
        "records": "3",
        f"link.{sender['traceId']}": f"{sender['id']} messaging.message.conversation_id=order-7",
    }
    assert (commit["traceId"], commit["parentId"]) == (batch["traceId"], batch["id"])
    assert "parentId" not in batch
    assert abs(batch["timestamp"] / 1e6 - time.time()) < 60 and batch["duration"] >= commit["duration"] > 0


def test_an_errors_type_is_told_and_not_its_text() -> None:
    *_, commit = map(zipkin_span, spans())
    assert commit["tags"] == {"error.type": "ValueError", "otel.status_code": "ERROR", "error": "ValueError"}


def test_a_store_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_PAUSE_SECONDS", 0.01)
    with store(503, 500, 202) as (url, sent):
        assert ZipkinExporter(f"http://{url}").export(spans()) is SpanExportResult.SUCCESS
    assert len(sent) == 3 and sent[0] == sent[2] and sent[0].path == "/api/v2/spans"


def test_what_the_store_refuses_is_not_offered_again() -> None:
    with store(400) as (url, sent):
        assert ZipkinExporter(f"http://{url}").export(spans()) is SpanExportResult.FAILURE
    assert len(sent) == 1


def test_a_process_that_ends_does_not_wait_for_a_store_that_is_away() -> None:
    with store(503) as (url, _):
        exporter = ZipkinExporter(f"http://{url}")
        threading.Timer(0.2, exporter.force_flush).start()
        began = time.monotonic()
        assert exporter.export(spans()) is SpanExportResult.FAILURE
        assert exporter.export(spans()) is SpanExportResult.FAILURE
        assert time.monotonic() - began < 20, "it would be offered for minutes"
