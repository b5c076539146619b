"""Where spans go: by OTLP over HTTP to a collector, or to Zipkin; either may be slow or away, and nobody waits."""

import atexit
import os
import threading
from collections.abc import Callable, Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Sampler

from streamgauge.telemetry import metrics
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.sampling import RecordingSampler, TailSampler
from streamgauge.telemetry.zipkin import ZipkinExporter

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_MOST_QUEUED = 2048
"""Spans that wait for the collector. Without a bound they would fill the memory while it is away."""
_LAST_SECONDS = 2.0
"""How long a process that ends waits for the collector: without a bound, one that is away would hold up its restart."""


def export_traces(
    service: str, zipkin_url: str | None, head: Sampler | None = None, id_generator: IdGenerator | None = None
) -> None:
    """From now on this process's spans are exported: to the collector that the environment names, or else to Zipkin, if
    there is one; at its end, those left too. `head` stands in for the sampler that the environment asks for.
    """
    exporter = _exporter(zipkin_url)
    if exporter is None:
        return
    for result in ("exported", "failed", "dropped", "unsampled"):
        metrics.SPANS.add(0, {a.SPAN_RESULT.name: result})
    # a provider knows which sampler the environment asks for
    head = head or TracerProvider(shutdown_on_exit=False).sampler
    provider = TracerProvider(
        RecordingSampler(head),
        Resource.create({"service.name": service}),
        shutdown_on_exit=False,
        id_generator=id_generator,
    )
    provider.add_span_processor(TailSampler(Bounded(exporter)))
    trace.set_tracer_provider(provider)
    atexit.register(_within_bound, provider.shutdown)


def _exporter(zipkin_url: str | None) -> SpanExporter | None:
    """By OpenTelemetry's own settings (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/)."""
    if os.environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if any(os.environ.get(name) for name in _ENDPOINTS):
        return OTLPSpanExporter()
    return None if zipkin_url is None else ZipkinExporter(zipkin_url)


def flush_traces() -> None:
    """For a process that may end without its handlers of `atexit`."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        _within_bound(provider.force_flush)


def _within_bound(export: Callable[[], object]) -> None:
    last = threading.Thread(target=export, daemon=True)
    last.start()
    last.join(_LAST_SECONDS)


class Bounded(SpanProcessor):
    """OpenTelemetry's own queue, with what does not fit into it counted instead of logged one by one."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._lock = threading.Lock()
        self._waiting = 0
        self._batches = BatchSpanProcessor(_Counting(exporter, self._left), max_queue_size=_MOST_QUEUED)

    def on_end(self, span: ReadableSpan) -> None:
        with self._lock:
            full = self._waiting >= _MOST_QUEUED
            self._waiting += not full
        if full:
            metrics.SPANS.add(1, {a.SPAN_RESULT.name: "dropped"})
        else:
            self._batches.on_end(span)

    def _left(self, spans: int) -> None:
        with self._lock:
            self._waiting -= spans

    def shutdown(self) -> None:
        self._exporter.force_flush()
        self._batches.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        self._exporter.force_flush()
        return self._batches.force_flush(timeout_millis)


class _Counting(SpanExporter):
    """Counts what became of the spans, and says when they have left the queue."""

    def __init__(self, exporter: SpanExporter, left: Callable[[int], None]) -> None:
        self._exporter = exporter
        self._left = left

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._left(len(spans))
            exported = result is SpanExportResult.SUCCESS
            metrics.SPANS.add(len(spans), {a.SPAN_RESULT.name: "exported" if exported else "failed"})
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()
