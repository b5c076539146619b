"""The headers that let an event be followed: W3C trace context, a correlation id, and who sent it.

https://www.w3.org/TR/trace-context/
"""

import os
import socket
from collections.abc import Generator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import ProxyTracerProvider, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streamgauge.producer.sender import Headers
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.tracing import CORRELATION_ID, PRODUCER, lasting, messaging

_propagator = TraceContextTextMapPropagator()


def tracer() -> Tracer:
    """The process's own tracer; where none is set up, one that only makes ids, so that every record has some. They have
    no sampled flag, since nobody keeps the span, unless the sender's own caller set it.
    """
    provider = trace.get_tracer_provider()
    if isinstance(provider, ProxyTracerProvider):
        resource = Resource.create({"service.name": "streamgauge-producer"})
        provider = TracerProvider(ParentBased(ALWAYS_OFF), resource, shutdown_on_exit=False)
    return provider.get_tracer("streamgauge.producer")


@contextmanager
def publishing(
    tracer: Tracer, topic: str, records: int, correlation_id: str, sender: str | None = None
) -> Generator[Headers]:
    """A span around the sending of a batch, and the headers of its records. `sender` is by default this process."""
    attributes = {**messaging(topic, "send", "send", records), a.CONVERSATION.name: correlation_id}
    with lasting(tracer.start_span(f"send {topic}", kind=SpanKind.PRODUCER, attributes=attributes)):
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        named = {**carrier, CORRELATION_ID: correlation_id, PRODUCER: sender or f"{socket.gethostname()}:{os.getpid()}"}
        yield [(name, value.encode()) for name, value in named.items()]
