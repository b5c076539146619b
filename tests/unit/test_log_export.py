"""Log lines as VictoriaLogs gets them, and that nobody waits for it."""

import base64
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Generator

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from streamgauge.telemetry import delivery, log_export
from streamgauge.telemetry.log_export import LogExporter
from streamgauge.telemetry.logs import bound_to
from tests.telemetry_store import store


class Counted:
    def __init__(self) -> None:
        self.found = Counter[str]()

    def add(self, amount: int, attributes: dict[str, str]) -> None:
        self.found[attributes["result"]] += amount


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Generator[Counter[str]]:
    counter = Counted()
    monkeypatch.setattr(log_export.metrics, "LOG_RECORDS", counter)
    monkeypatch.setattr(delivery, "_PAUSE_SECONDS", 0.05)
    yield counter.found


def logger_of(exporter: LogExporter) -> logging.Logger:
    logger = logging.Logger("streamgauge.test")
    logger.addHandler(exporter)
    return logger


def test_a_line_has_its_trace_its_stream_and_its_offsets(counted: Counter[str]) -> None:
    span = NonRecordingSpan(SpanContext(0xAB, 0xCD, False, TraceFlags(1)))
    with store(200) as (place, sent):
        exporter = LogExporter("streamgauge-worker", f"http://logs:secret@{place}")
        with use_span(span), bound_to(stream="s", offsets="0:1-9"):
            logger_of(exporter).info("committed in %d ms", 7)
        exporter.deliver()
    (request,) = sent
    assert request.login == f"Basic {base64.b64encode(b'logs:secret').decode()}"
    assert "_msg_field=body" in request.path and "service.name%3Dstreamgauge-worker" in request.path
    line = json.loads(request.body)
    assert line["body"] == "committed in 7 ms" and line["severity_text"] == "INFO"
    assert (line["stream"], line["offsets"]) == ("s", "0:1-9")
    assert line["trace_id"] == f"{0xAB:032x}"
    assert counted == {"exported": 1}


def test_lines_wait_for_a_store_that_comes_later(counted: Counter[str]) -> None:
    with store(503, 503, 200) as (place, sent):
        exporter = LogExporter("s", f"http://{place}")
        logger = logger_of(exporter)
        for n in range(3):
            logger.info("line %d", n)
        deadline = time.monotonic() + 20
        while counted["exported"] < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
    taken = [json.loads(x)["body"] for request in sent[2:] for x in request.body.splitlines()]
    assert taken == ["line 0", "line 1", "line 2"]


def test_what_does_not_fit_is_counted_and_nobody_waits(counted: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_export, "_MOST_QUEUED", 50)
    with store(503) as (place, sent):
        exporter = LogExporter("s", f"http://{place}")
        logger = logger_of(exporter)
        logger.info("the first, which the store does not take")
        while not sent:
            time.sleep(0.01)
        began = time.monotonic()
        for n in range(200):
            logger.info("line %d", n)
        assert time.monotonic() - began < 1
        assert counted["dropped"] == 150
        exporter.deliver()
        assert time.monotonic() - began < 5
    assert counted["failed"] == 51


def test_a_store_that_hangs_holds_up_no_end(counted: Counter[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_export, "_LAST_SECONDS", 0.2)
    release = threading.Event()

    def hang(*_: object) -> bool:
        return release.wait(20)

    with store(200) as (place, _):
        exporter = LogExporter("s", f"http://{place}")
        monkeypatch.setattr(delivery.Delivery, "send", hang)
        logger_of(exporter).info("a line")
        began = time.monotonic()
        exporter.deliver()
        assert time.monotonic() - began < 2
        release.set()


def test_who_configures_logging_does_not_end_the_patience(counted: Counter[str]) -> None:
    with store(503, 503, 200) as (place, sent):
        exporter = LogExporter("s", f"http://{place}")
        logger_of(exporter).info("a line")
        while not sent:
            time.sleep(0.01)
        exporter.flush()
        deadline = time.monotonic() + 20
        while counted["exported"] < 1 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert counted == {"exported": 1}


def test_a_line_that_cannot_be_written_fails_nobody(
    counted: Counter[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with store(200) as (place, sent):
        exporter = LogExporter("s", f"http://{place}")
        logger = logger_of(exporter)
        logger.info("%d items", "seven")
        with bound_to(stream=object()):  # pyright: ignore[reportArgumentType]
            logger.info("of no kind that JSON has")
        logger.info("a good one")
        exporter.deliver()
    assert [json.loads(r.body)["body"] for r in sent] == ["a good one"]
    assert counted == {"exported": 1}
    assert "seven" in capsys.readouterr().err
