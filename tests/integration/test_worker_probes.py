"""What the chart's probes are told of a worker: alive and not ready while it waits for a server."""

import httpx
import pytest

from streamgauge.settings import PREFIX, Settings
from streamgauge.stack.control import Stack
from streamgauge.stack.layout import LOOPBACK
from streamgauge.stores.postgres import connect
from tests.chart import chart
from tests.integration.free_port import free_port
from tests.integration.running import Running, events
from tests.integration.workers import wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(180)]


def test_a_worker_that_waits_is_alive_and_not_ready(
    running: Running, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes = chart().container("worker")
    live, ready_at = (probes[f"{kind}Probe"]["httpGet"]["path"] for kind in ("liveness", "readiness"))
    port = free_port()
    monkeypatch.setenv(f"{PREFIX}METRICS_PORT", str(port))

    with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=5) as client:

        def ready(status: int, word: str) -> bool:
            try:
                answer = client.get(ready_at)
                assert client.get(live).status_code == 200, client.get(live).text
            except httpx.TransportError:
                return False
            return answer.status_code == status and word in answer.text

        running.workers.start()
        wait_for(lambda: ready(503, "no stream is applied"), "it says what it lacks")
        running.apply()
        wait_for(lambda: ready(200, "up"), "it is ready")
        running.send(events(running.contract, 100))
        wait_until_read(running.contract)

        stack.stop_program("postgres")
        try:
            wait_for(lambda: ready(503, "waits for Postgres"), "it waits, with nothing to commit")
        finally:
            stack.start_program("postgres")
        wait_for(lambda: ready(200, "up"), "it is ready again")

        with connect(Settings.for_role("admin")) as connection:
            connection.execute("lock table stream_offsets in share row exclusive mode")
            running.send(events(running.contract, 100, start=100))
            wait_for(lambda: ready(503, "is silent"), "a commit that isn't answered is noticed")
        wait_for(lambda: ready(200, "up"), "the commit is done")
        assert "streamgauge_worker_events_total" in client.get("/metrics").text
