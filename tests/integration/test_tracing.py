"""A record's way from its producer to what the worker publishes, as traces show it."""

from collections import defaultdict
from collections.abc import Generator, Iterable

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.collector import Collected, attributes, collector
from tests.integration.free_port import free_port
from tests.integration.running import Running, encoded, events, header, one, read_topic, schema_of
from tests.integration.workers import wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(120)]

TRACE, SENDER = "ab" * 16, "cd" * 8


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Generator[Collected]:
    with collector() as (url, collected):
        monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        yield collected


def by_trace(spans: Iterable[Span]) -> list[dict[str, list[Span]]]:
    """Of each trace its spans by name."""
    found: dict[bytes, dict[str, list[Span]]] = defaultdict(lambda: defaultdict(list))
    for span in spans:
        found[span.trace_id][span.name].append(span)
    return list(found.values())


def test_a_batchs_trace_has_its_way_with_sizes_and_leads_to_its_senders(running: Running, collected: Collected) -> None:
    running.apply()
    contract = running.contract
    topic, counts = contract.topic, contract.topic_spec.countsTopic
    worker = running.workers.start()
    for n in range(3):
        running.send(events(contract, 200, start=200 * n))
    wait_until_read(contract)
    wait_for(lambda: any(s.name == f"publish {counts}" for s in collected.spans), "what is published is a span")
    running.workers.stop(worker)
    assert collected.services == {"streamgauge-worker"}
    spans = collected.spans
    batches = [s for s in spans if s.name == f"process {topic}"]
    assert sum(int(attributes(s)["messaging.batch.message_count"]) for s in batches) == 600
    assert all(not s.parent_span_id for s in batches), "a batch has many senders: none is its parent"
    sent = {(header(m, "traceparent") or "").rpartition("-")[0] for m in read_topic(topic, "test-tracing")}
    linked = {f"00-{link.trace_id.hex()}-{link.span_id.hex()}" for s in batches for link in s.links if link.attributes}
    assert linked and linked <= sent

    for trace in by_trace(spans):
        (batch,) = trace[f"process {topic}"]
        for name in ("decode", "check", "verify topic", f"poll {topic}"):
            (step,) = trace[name]
            assert step.parent_span_id == batch.span_id
            assert batch.start_time_unix_nano <= step.start_time_unix_nano
            assert step.end_time_unix_nano <= batch.end_time_unix_nano
        assert int(attributes(trace["decode"][0])["streamgauge.bytes"]) > 0
    # batches that share a transaction lead to the one that has it
    whole = [t for t in by_trace(spans) if "commit" in t]
    assert sum(int(attributes(t["classify"][0])["streamgauge.counted"]) for t in whole) == 600
    for trace in whole:
        (commit,) = trace["commit"]
        inside = {s.name for of in trace.values() for s in of if s.parent_span_id == commit.span_id}
        assert {"UPDATE stream_offsets", f"INSERT {contract.minutes_table}", "COMMIT"} <= inside
        (rows,) = trace[f"INSERT {contract.minutes_table}"]
        assert int(attributes(rows)["streamgauge.rows"]) > 0
    published = [s for s in spans if s.name in ("EVALSHA", f"publish {counts}")]
    ticks = {s.span_id: s for s in spans if s.name == "publish"}
    assert {s.parent_span_id for s in published} <= ticks.keys()
    assert {s.parent_span_id for s in ticks.values()} <= {s.span_id for s in spans if s.name == "commit"}


def test_a_share_of_nothing_keeps_what_a_sender_wants_and_what_has_dead_letters(
    running: Running, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    running.apply()
    contract = running.contract
    ((schema_id, schema),) = schema_of(contract).items()
    worker = running.workers.start()
    running.send(events(contract, 200))
    wait_until_read(contract)
    value = encoded(schema, schema_id, one(contract))
    running.send_raw((b"ann", value), traceparent=f"00-{TRACE}-{SENDER}-00")
    wait_until_read(contract)
    running.send_raw((b"ann", value), traceparent=f"00-{TRACE}-{SENDER}-01")
    wait_for(lambda: any(s.name == "commit" for s in collected.spans), "the wanted batch was sent to the collector")
    (wanted,) = (s for s in collected.spans if s.name.startswith("process "))
    assert [link.span_id.hex() for link in wanted.links] == [SENDER]
    running.send_raw((b"ann", b"no Avro"))
    wait_for(lambda: len([s for s in collected.spans if s.name == "commit"]) == 2, "so was the one with a dead letter")
    running.workers.stop(worker)
    letters = [attributes(s)["streamgauge.dead_letters"] for s in collected.spans if s.name == "check"]
    assert letters == [0, 1]


def test_a_collector_that_is_away_holds_nothing_up(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    running.apply()
    worker = running.workers.start()
    running.send(events(running.contract, 600))
    assert wait_until_read(running.contract).counted == 600
    assert running.workers.stop(worker) < 8
