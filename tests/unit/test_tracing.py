"""Spans as a collector gets them, and log lines that name them."""

import json
import os
import subprocess
import sys
from collections.abc import Generator

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.trace import INVALID_SPAN

from streamgauge.settings import CHECKOUT
from streamgauge.telemetry.tracing import batch_span
from tests.collector import attributes, collector

# In a process of its own: a tracer provider is for ever.
_CHILD = """
import logging, sys
from opentelemetry.trace import use_span
from streamgauge.telemetry.logs import configure_logs
from streamgauge.settings import Settings
from streamgauge.telemetry.span_export import export_traces
from streamgauge.telemetry.tracing import batch_span
from streamgauge.producer.trace import publishing, tracer

configure_logs(Settings.model_construct(log_format="json", log_level="INFO"))
export_traces("streamgauge-test", None)
with publishing(tracer(), "app-s", 2, "order-7") as headers:
    pass
span = batch_span("app-s", "group", 3, [headers, headers, [("traceparent", b"nonsense")], [("other", None)]])
with use_span(span, end_on_exit=True):
    logging.getLogger("t").info("at work")
logging.getLogger("t").info("between")
"""


def test_a_batch_is_linked_to_its_senders_once_each_and_logs_name_its_span() -> None:
    with collector() as (url, collected):
        done = subprocess.run(
            [sys.executable, "-c", _CHILD],
            env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": url, "PYTHONPATH": str(CHECKOUT)},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert collected.services == {"streamgauge-test"}
    send, process = sorted(collected.spans, key=lambda s: s.start_time_unix_nano)
    assert (send.name, send.kind) == ("send app-s", Span.SPAN_KIND_PRODUCER)
    assert (process.name, process.kind) == ("process app-s", Span.SPAN_KIND_CONSUMER)
    assert attributes(process) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "app-s",
        "messaging.consumer.group.name": "group",
        "messaging.batch.message_count": 3,
    }
    (link,) = process.links
    assert (link.trace_id, link.span_id) == (send.trace_id, send.span_id)
    assert attributes(link) == {"messaging.message.conversation_id": "order-7"}
    assert process.trace_id != send.trace_id

    at_work, between = (json.loads(line) for line in done.stderr.splitlines() if line.startswith("{"))
    assert at_work["trace_id"] == process.trace_id.hex()
    assert at_work["span_id"] == process.span_id.hex()
    assert "trace_id" not in between


def test_without_a_collector_there_is_no_span_and_no_header_is_read() -> None:
    def unread() -> Generator[list[tuple[str, bytes]]]:
        raise AssertionError("a header was read")
        yield []

    assert batch_span("app-s", "group", 3, unread()) is INVALID_SPAN
