"""A record's way from its producer to the worker, as traces show it."""

import pytest

from tests.collector import attributes, collector
from tests.integration.running import Running, events, header, read_topic
from tests.integration.workers import wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(120)]


def test_the_workers_batches_are_linked_to_their_senders(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.apply()
    contract = running.contract
    with collector() as (url, collected):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        worker = running.workers.start()
        for n in range(3):
            running.send(events(contract, 200, start=200 * n))
        wait_until_read(contract)
        wait_for(lambda: bool(collected.spans), "a span arrived")
        running.workers.stop(worker)
    parents = [header(m, "traceparent") or "" for m in read_topic(contract.topic, "test-tracing")]
    sent = {parent.rpartition("-")[0] for parent in parents}
    spans = collected.spans
    assert collected.services == {"streamgauge-worker"}
    assert {s.name for s in spans} == {f"process {contract.topic}"}
    assert sum(int(attributes(s)["messaging.batch.message_count"]) for s in spans) == 600
    linked = {f"00-{link.trace_id.hex()}-{link.span_id.hex()}" for s in spans for link in s.links}
    assert linked and linked <= sent
    assert all(attributes(link)["messaging.message.conversation_id"] for s in spans for link in s.links)
