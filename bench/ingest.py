"""Events over HTTP at a steady rate, while the worker counts them."""

from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import place, program, worker
from bench.report import Row
from bench.serving import Times, child, wait_until_ready
from streamgauge.settings import PREFIX, Settings
from streamgauge.state import api_keys as keys
from streamgauge.stores.postgres import connect

RATE, BATCH, SENDERS = 10_000, 100, 16
P95_SECONDS = 0.2
_KEPT_UP = 0.98
"""Of the rate: the last request is answered a little after the last one was due."""


@dataclass(frozen=True)
class Ingested:
    times: Times
    """From the moment at which a request was due to its answer."""
    sent: int
    accepted: int
    counted: int
    """By the worker, of what was accepted."""
    per_second: float
    cpu: float
    """Seconds of the API's process for an event."""
    refused: dict[str, int]
    """Requests by status."""


def measure(folder: Path, seconds: float) -> Ingested:
    contract = place.prepare(folder)
    url = Settings.for_role("api").api_url
    assert url is not None
    with connect(Settings.for_role("admin")) as connection:
        created = [keys.create(connection, f"bench {n}", [f"write:{contract.stream}"])[0] for n in range(SENDERS)]
    port = {f"{PREFIX}API_PORT": url.rpartition(":")[2]}
    job = {"url": url, "stream": contract.stream, "keys": created, "rate": RATE, "batch": BATCH}
    with (
        worker.running(contract, folder) as reading,
        program.running(folder / "api.log", "streamgauge.cli", "api", environment=port) as api,
    ):
        wait_until_ready(api, url)
        warm = child("ingest", {**job, "name": "warm", "seconds": 2}, 2)
        before = _cpu(api.process)
        found = child("ingest", {**job, "name": "measured", "seconds": seconds}, seconds)
        cpu = _cpu(api.process) - before
        records = warm["accepted"] + found["accepted"]
        worker.watch(reading, contract, records, lambda _: None)
        account = worker.account(contract)
    counted = account.counted - warm["accepted"]
    accepted = found["accepted"]
    sent = len(found["seconds"]) * BATCH
    return Ingested(
        Times.of(found["seconds"]),
        sent,
        accepted,
        counted,
        accepted / found["took"],
        cpu / max(1, accepted),
        found["refused"],
    )


def rows(found: Ingested) -> list[Row]:
    t = found.times
    value = " / ".join(f"{s * 1000:.0f}" for s in (t.p50, t.p95, t.p99)) + " ms"
    return [
        Row(
            f"events over HTTP at {RATE:,}/s, {BATCH} a request: due to answered, p50 / p95 / p99",
            value,
            None,
            f"p95 < {P95_SECONDS * 1000:.0f} ms",
            t.p95 < P95_SECONDS,
        ),
        Row(
            "  accepted",
            f"{found.per_second:,.0f}/s",
            None,
            f">= {RATE * _KEPT_UP:,.0f}/s",
            found.per_second >= RATE * _KEPT_UP,
        ),
        Row("  CPU of the API an event", f"{found.cpu * 1e6:.1f} µs"),
        Row(
            "  accepted and counted, of those sent",
            f"{found.accepted:,} and {found.counted:,}",
            None,
            f"{found.sent:,}",
            found.accepted == found.counted == found.sent,
        ),
    ]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
