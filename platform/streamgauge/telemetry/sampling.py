"""Which traces are kept: a share of all, and all that somebody will ask about.

The share is OpenTelemetry's own setting (OTEL_TRACES_SAMPLER). Kept whatever it says: what a sender asked for by the
sampled flag, what failed, what took long, and what has dead letters. Some of that is known at the end only, so the
spans of a trace are held back until the one that it begins with in this process has ended.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import Attributes

from streamgauge.telemetry import metrics
from streamgauge.telemetry.catalog import attributes as a

SLOW_SECONDS = 2.0
"""What lasts longer is kept: a batch should be readable within this time of its append."""
_MOST_HELD = 4096
"""Spans held back, over all traces. Without a bound, spans of traces that never end would fill the memory."""
_REMEMBERED = 1024
"""Traces whose end has passed: what is published after a batch's commit ends later than the batch."""


class RecordingSampler(Sampler):
    """What `head` would leave out is recorded all the same, without the flag that tells others to keep it."""

    def __init__(self, head: Sampler) -> None:
        self._head = head

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        if any(link.context.trace_flags.sampled for link in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        found = self._head.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if found.decision is Decision.DROP:
            return SamplingResult(Decision.RECORD_ONLY, attributes, found.trace_state)
        return found

    def get_description(self) -> str:
        return f"RecordingSampler({self._head.get_description()})"


class TailSampler(SpanProcessor):
    """Hands the spans of the traces that are kept on to `kept`, each with the sampled flag."""

    def __init__(self, kept: SpanProcessor) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._held: OrderedDict[int, list[ReadableSpan]] = OrderedDict()
        self._count = 0
        self._decided: OrderedDict[int, bool] = OrderedDict()

    def on_end(self, span: ReadableSpan) -> None:
        trace_id = _context(span).trace_id
        with self._lock:
            whole = self._decided.get(trace_id)
            if whole is not None:
                spans, keep = [span], whole or is_wanted(span) or _is_slow(span)
            elif _is_first(span):
                spans = [*self._held.pop(trace_id, ()), span]
                self._count -= len(spans) - 1
                keep = any(map(is_wanted, spans)) or _is_slow(span)
                self._decided[trace_id] = keep
                if len(self._decided) > _REMEMBERED:
                    self._decided.popitem(last=False)
            else:
                self._held.setdefault(trace_id, []).append(span)
                self._count += 1
                spans, keep = self._overflow(), None
        if keep:
            for each in spans:
                self._kept.on_end(_flagged(each))
        elif spans:
            metrics.SPANS.add(len(spans), {a.SPAN_RESULT.name: "dropped" if keep is None else "unsampled"})

    def _overflow(self) -> list[ReadableSpan]:
        """The spans of the trace that has been held back longest, if there are too many."""
        if self._count <= _MOST_HELD:
            return []
        _, dropped = self._held.popitem(last=False)
        self._count -= len(dropped)
        return dropped

    def shutdown(self) -> None:
        self._kept.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._kept.force_flush(timeout_millis)


def is_wanted(span: ReadableSpan) -> bool:
    """Whether its trace is kept for this span alone."""
    letters = (span.attributes or {}).get(a.DEAD_LETTERS.name, 0)
    return _context(span).trace_flags.sampled or span.status.status_code is StatusCode.ERROR or bool(letters)


def _is_first(span: ReadableSpan) -> bool:
    """Of its trace in this process."""
    return span.parent is None or span.parent.is_remote


def _is_slow(span: ReadableSpan) -> bool:
    return (span.end_time or 0) - (span.start_time or 0) > SLOW_SECONDS * 1e9


def _flagged(span: ReadableSpan) -> ReadableSpan:
    """With the sampled flag: exporters pass over what has none."""
    known = _context(span)
    if known.trace_flags.sampled:
        return span
    flags = TraceFlags(known.trace_flags | TraceFlags.SAMPLED)
    return ReadableSpan(
        name=span.name,
        context=SpanContext(known.trace_id, known.span_id, known.is_remote, flags, known.trace_state),
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _context(span: ReadableSpan) -> SpanContext:
    context = span.get_span_context()
    assert context is not None, "a span that was started has a context"
    return context
