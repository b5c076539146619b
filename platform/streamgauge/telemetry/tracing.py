"""Spans, and how a batch of records is tied to those who sent it.

Where they go is said in span_export.py. Names follow the conventions for messaging and databases
(https://opentelemetry.io/docs/specs/semconv/messaging/kafka/, https://opentelemetry.io/docs/specs/semconv/db/).
"""

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import INVALID_SPAN, Link, ProxyTracerProvider, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streamgauge.telemetry.catalog import attributes as a

CORRELATION_ID = "correlation_id"
PRODUCER = "producer"
"""A record's header that names the process that sent it."""

Headers = Sequence[tuple[str, str | bytes | None]]
Values = Mapping[str, str | int]

_propagator = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("streamgauge")


@contextmanager
def span(
    name: str, attributes: Values | None = None, *, kind: SpanKind = SpanKind.INTERNAL, links: Sequence[Link] = ()
) -> Generator[Span]:
    """A child of the current span, and the current one within the block. Nothing where there is no current one."""
    if not trace.get_current_span().get_span_context().is_valid:
        yield INVALID_SPAN
        return
    with lasting(_tracer.start_span(name, kind=kind, attributes=attributes, links=links)) as built:
        yield built


@contextmanager
def lasting(built: Span) -> Generator[Span]:
    """A span that was started: the current one within the block, and ended by it."""
    try:
        with within(built):
            yield built
    finally:
        built.end()


@contextmanager
def within(built: Span) -> Generator[None]:
    """Current within the block, which does not end it. Of an error its type is noted: its text may quote an event."""
    with trace.use_span(built, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except Exception as e:
            fail(built, e)
            raise


def fail(built: Span, error: BaseException) -> None:
    built.set_status(StatusCode.ERROR)
    built.set_attribute(a.ERROR_TYPE.name, type(error).__qualname__)


def past(name: str, since: int, attributes: Values | None = None, *, kind: SpanKind = SpanKind.INTERNAL) -> None:
    """A child of the current span, if there is one, that ends now and began at `since` (epoch ns)."""
    if trace.get_current_span().get_span_context().is_valid:
        _tracer.start_span(name, kind=kind, attributes=attributes, start_time=since).end()


def current_traceparent() -> str | None:
    """The current span's context, as W3C writes it; None where there is none."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier)
    return carrier.get("traceparent")


def link_to(traceparent: str) -> None:
    """Links the current span to another, by that one's context as W3C writes it."""
    context = trace.get_current_span(_propagator.extract({"traceparent": traceparent})).get_span_context()
    trace.get_current_span().add_link(context)


def offset_ranges(read: Iterable[tuple[int, int, int]]) -> str:
    """As the attribute and the log field have them, PARTITION:FIRST-LAST. `read` has partitions with the first offset
    and the one after the last; those of which nothing was read are left out.
    """
    return " ".join(f"{partition}:{first}-{end - 1}" for partition, first, end in read if end > first)


@contextmanager
def statement(operation: str, table: str, rows: int) -> Generator[None]:
    """A statement that writes so many rows of a table in Postgres."""
    attributes = {
        a.DB_SYSTEM.name: "postgresql",
        a.DB_OPERATION.name: operation,
        a.DB_COLLECTION.name: table,
        a.ROWS.name: rows,
    }
    with span(f"{operation} {table}", attributes, kind=SpanKind.CLIENT):
        yield


def messaging(topic: str, operation: str, kind: str, records: int) -> dict[str, str | int]:
    """Attributes of what is done with a batch of records. `kind` is the conventions' type of the operation."""
    return {
        a.MESSAGING_SYSTEM.name: "kafka",
        a.OPERATION_NAME.name: operation,
        a.OPERATION_TYPE.name: kind,
        a.DESTINATION.name: topic,
        a.BATCH_COUNT.name: records,
    }


def batch_span(topic: str, group: str, records: int, headers: Iterable[Headers], since: int | None = None) -> Span:
    """A span for what becomes of a batch whose reading began at `since` (epoch ns), not yet current and for the caller
    to end.

    It has no parent, because a batch has many senders: it is linked to those of the records whose `headers` are given,
    each once.
    """
    if not records or isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
        return INVALID_SPAN
    attributes = {**messaging(topic, "process", "process", records), a.CONSUMER_GROUP.name: group}
    return _tracer.start_span(
        f"process {topic}",
        # without a context of its own it would be a child of whatever is current
        context=trace.set_span_in_context(INVALID_SPAN),
        kind=SpanKind.CONSUMER,
        links=_links(headers),
        attributes=attributes,
        start_time=since or time.time_ns(),
    )


def _links(headers: Iterable[Headers]) -> list[Link]:
    senders: dict[tuple[int, int], Link] = {}
    for given in headers:
        values = {k: v.decode(errors="replace") for k, v in given if isinstance(v, bytes)}
        context = trace.get_current_span(_propagator.extract(values)).get_span_context()
        if context.is_valid and context.is_remote:
            correlation = values.get(CORRELATION_ID)
            attributes = None if correlation is None else {a.CONVERSATION.name: correlation}
            senders.setdefault((context.trace_id, context.span_id), Link(context, attributes))
    return list(senders.values())
