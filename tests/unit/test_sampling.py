"""Which traces are kept."""

import threading
from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    SpanContext,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

from streamgauge.telemetry import sampling, span_export
from streamgauge.telemetry.sampling import RecordingSampler, TailSampler

REMOTE = SpanContext(7, 8, True, TraceFlags(TraceFlags.SAMPLED))


class Kept:
    def __init__(self, head: Sampler = ALWAYS_OFF) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(RecordingSampler(ParentBased(head)), shutdown_on_exit=False)
        provider.add_span_processor(TailSampler(SimpleSpanProcessor(self._exporter)))
        self.tracer: Tracer = provider.get_tracer("test")

    def names(self) -> list[str]:
        return [s.name for s in self._exporter.get_finished_spans()]

    def batch(self, *, dead_letters: int = 0, failed: bool = False, links: Sequence[Link] = (), end: int = 0) -> None:
        batch = self.tracer.start_span("batch", links=links, start_time=0)
        inside = set_span_in_context(batch)
        check = self.tracer.start_span("check", inside, attributes={"streamgauge.dead_letters": dead_letters})
        if failed:
            check.set_status(StatusCode.ERROR)
        check.end()
        batch.end(end)


def test_a_share_of_nothing_keeps_what_somebody_will_ask_about_and_nothing_else() -> None:
    kept = Kept()
    kept.batch()
    kept.batch(links=[Link(SpanContext(7, 8, True, TraceFlags(0)))])
    kept.batch(end=int(sampling.SLOW_SECONDS * 1e9))
    assert kept.names() == []
    for wanted in (
        {"dead_letters": 1},
        {"failed": True},
        {"links": [Link(REMOTE)]},
        {"end": int(sampling.SLOW_SECONDS * 1e9) + 1},
    ):
        kept = Kept()
        kept.batch(**wanted)  # pyright: ignore[reportArgumentType]
        assert kept.names() == ["check", "batch"], wanted


def test_a_share_of_all_keeps_all() -> None:
    kept = Kept(ALWAYS_ON)
    kept.batch()
    assert kept.names() == ["check", "batch"]


def test_a_request_is_kept_where_its_caller_keeps_it() -> None:
    kept = Kept()
    for flags in (0, 1):
        caller = NonRecordingSpan(SpanContext(100 + flags, 8, True, TraceFlags(flags)))
        kept.tracer.start_span(f"request {flags}", set_span_in_context(caller)).end()
    assert kept.names() == ["request 1"]


@pytest.mark.parametrize(("dead_letters", "names"), [(0, []), (1, ["check", "batch", "publish"])])
def test_what_is_published_after_a_batch_is_kept_with_it(dead_letters: int, names: list[str]) -> None:
    kept = Kept()
    batch = kept.tracer.start_span("batch")
    inside = set_span_in_context(batch)
    kept.tracer.start_span("check", inside, attributes={"streamgauge.dead_letters": dead_letters}).end()
    batch.end()
    kept.tracer.start_span("publish", set_span_in_context(NonRecordingSpan(batch.get_span_context()))).end()
    assert kept.names() == names


def test_spans_of_traces_that_never_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_MOST_HELD", 10)
    kept = Kept()
    batches = [kept.tracer.start_span("batch", set_span_in_context(INVALID_SPAN)) for _ in range(20)]
    for batch in batches:
        kept.tracer.start_span("check", set_span_in_context(batch)).end()
    for batch in (batches[0], batches[-1]):
        batch.set_status(StatusCode.ERROR)
        batch.end()
    assert kept.names() == ["batch", "check", "batch"], "the oldest trace's spans are dropped first"


class Stuck(SpanExporter):
    """A collector that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.used = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.free.wait(30)
        self.used += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None: ...


def test_a_collector_that_is_stuck_costs_a_bounded_queue_and_the_rest_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted: dict[str, int] = {}

    class Counter:
        def add(self, amount: int, attributes: dict[str, str]) -> None:
            counted[attributes["result"]] = counted.get(attributes["result"], 0) + amount

    monkeypatch.setattr(span_export.metrics, "SPANS", Counter())
    monkeypatch.setattr(span_export, "_MOST_QUEUED", 512)
    stuck = Stuck()
    provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(span_export.Bounded(stuck))
    for _ in range(600):
        provider.get_tracer("test").start_span("s").end()
    assert counted == {"dropped": 88}
    stuck.free.set()
    provider.shutdown()
    assert stuck.used == 512
    assert counted == {"dropped": 88, "exported": 512}
