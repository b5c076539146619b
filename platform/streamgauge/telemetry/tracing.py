"""Traces: where they go, and how a batch of records is tied to those who sent it.

Exported by OTLP over HTTP where OTEL_EXPORTER_OTLP_ENDPOINT says so, with OpenTelemetry's own settings
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/). Names follow the conventions for
messaging (https://opentelemetry.io/docs/specs/semconv/messaging/kafka/).
"""

import os
from collections.abc import Iterable, Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

CORRELATION_ID = "correlation_id"
PRODUCER = "producer"
"""A record's header that names the process that sent it."""

Headers = Sequence[tuple[str, str | bytes | None]]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_propagator = TraceContextTextMapPropagator()


def tracing_wanted() -> bool:
    return any(os.environ.get(name) for name in _ENDPOINTS)


def export_traces(service: str) -> None:
    """From now on this process's spans are exported, where the environment says to whom; at its end, those left too."""
    if tracing_wanted():
        provider = TracerProvider(resource=Resource.create({"service.name": service}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)


def batch_span(topic: str, group: str, records: int, sampled: Iterable[Headers]) -> Span:
    """A span for what becomes of a batch, not yet current and for the caller to end.

    It has no parent, because a batch has many senders: it is linked to those of the `sampled` records, each once.
    """
    if not records or not tracing_wanted():
        return INVALID_SPAN
    return trace.get_tracer("streamgauge.worker").start_span(
        f"process {topic}",
        kind=SpanKind.CONSUMER,
        links=_links(sampled),
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": topic,
            "messaging.consumer.group.name": group,
            "messaging.batch.message_count": records,
        },
    )


def _links(sampled: Iterable[Headers]) -> list[Link]:
    senders: dict[tuple[int, int], Link] = {}
    for headers in sampled:
        values = {k: v.decode(errors="replace") for k, v in headers if isinstance(v, bytes)}
        context = trace.get_current_span(_propagator.extract(values)).get_span_context()
        if context.is_valid and context.is_remote:
            correlation = values.get(CORRELATION_ID)
            attributes = None if correlation is None else {"messaging.message.conversation_id": correlation}
            senders.setdefault((context.trace_id, context.span_id), Link(context, attributes))
    return list(senders.values())
