"""The API beside the database, and the live page, while events flow in.

Servers of its own hold a day of minutes. Then the real worker takes events at the rate, the real API answers, and a
process of its own asks API and database in turns.
"""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from bench import place, program, worker
from bench.program import Program
from bench.report import Row
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.settings import CHECKOUT, PREFIX, Settings
from streamgauge.stores.postgres import connect
from streaming.load.fill import fill
from streaming.load.generate import Shape
from streaming.load.load import Plan

EVENTS, DAY_SECONDS, DIMENSION = 2_000_000, 86_400, "event_type"
"""Enough that every minute of the day has rows of every type, kind of actor and partition."""
TOP_P95_SECONDS, DAY_RATIO, PAGE_SECONDS = 0.010, 2.0, 1.0
_OPENED = 20
_START_SECONDS, _FLOW_SECONDS = 60.0, 10.0
_MOST_SECONDS = 600.0
"""For the page, and for a process that hangs."""


@dataclass(frozen=True)
class Times:
    """In seconds."""

    p50: float
    p95: float
    p99: float
    per_second: float
    """One after the other, over one connection."""
    asked: int

    @classmethod
    def of(cls, seconds: list[float]) -> "Times":
        p50, p95, p99 = (float(v) for v in np.quantile(seconds, (0.5, 0.95, 0.99), method="inverted_cdf"))
        return cls(p50, p95, p99, len(seconds) / sum(seconds), len(seconds))


@dataclass(frozen=True)
class Beside:
    served: Times
    bare: Times
    cpu: float
    """Seconds of the API's process for a request."""


@dataclass(frozen=True)
class Serving:
    rate: float
    """Events a second that the worker committed meanwhile."""
    top: Beside
    day: Beside
    page: Times | None


def measure(folder: Path, rate: float, seconds: float) -> Serving:
    contract = place.prepare(folder)
    now_ms = time.time_ns() // 1_000_000
    fill(Settings.for_role("producer"), contract, Plan(EVENTS, None, now_ms, now_ms, DAY_SECONDS), Shape(place.USERS))
    settings = Settings.for_role("api")
    url = settings.api_url
    assert url is not None
    # all is asked by one caller, whom the API would slow down
    limits = {f"{PREFIX}API_REQUESTS_PER_SECOND": "1000000", f"{PREFIX}API_BURST": "1000000"}
    port = {f"{PREFIX}API_PORT": url.rpartition(":")[2]}
    with worker.running(contract, folder) as reading:
        worker.watch(reading, contract, EVENTS, lambda _: None)
        with (
            program.running(folder / "api.log", "streamgauge.cli", "api", environment=limits | port) as api,
            program.running(
                folder / "flow.log", "bench.children.flow", str(rate), str(2 * _MOST_SECONDS + 4 * seconds)
            ),
        ):
            wait_until_ready(api, url)
            time.sleep(_FLOW_SECONDS)
            began, before = time.monotonic(), _committed(contract)
            job = {"url": url, "api": api.process.pid, "stream": contract.stream, "dimension": DIMENSION}
            answers = child("serving", {**job, "seconds": seconds}, seconds)
            flowed = (_committed(contract) - before) / (time.monotonic() - began)
            chromium = shutil.which("chromium")
            page = {"url": f"{url}/#/{contract.stream}", "chromium": chromium, "times": _OPENED}
            opened = chromium and child("page", page, seconds)
    top, day = (
        Beside(Times.of(found["served"]), Times.of(found["bare"]), found["cpu"])
        for found in (answers["top"], answers["day"])
    )
    return Serving(flowed, top, day, Times.of(opened) if opened else None)


def rows(found: Serving) -> list[Row]:
    ratios = [
        a / b for a, b in ((found.day.served.p50, found.day.bare.p50), (found.day.served.p95, found.day.bare.p95))
    ]
    top95 = found.top.served.p95
    shown = [
        _row(f"at {found.rate:,.0f} events/s: top-N over HTTP, p50 / p95 / p99", found.top.served),
        Row("  its p95", _ms(top95), None, f"< {_ms(TOP_P95_SECONDS)}", top95 < TOP_P95_SECONDS),
        _row("  the same by psycopg", found.top.bare),
        Row("  CPU of the API a request", _ms(found.top.cpu)),
        _row("a day of minutes by type over HTTP, p50 / p95 / p99", found.day.served),
        _row("  the same by psycopg", found.day.bare),
        Row(
            "  HTTP / psycopg, p50 and p95",
            " and ".join(f"{r:.2f}" for r in ratios),
            None,
            f"<= {DAY_RATIO:.0f}",
            max(ratios) <= DAY_RATIO,
        ),
        Row("  CPU of the API a request", _ms(found.day.cpu)),
    ]
    return [*shown, _page(found.page)]


def _row(figure: str, times: Times) -> Row:
    value = f"{times.p50 * 1000:.1f} / {times.p95 * 1000:.1f} / {_ms(times.p99)}, {times.per_second:,.1f}/s"
    return Row(f"{figure} ({times.asked:,} times)", value)


def _page(times: Times | None) -> Row:
    figure = "live page opened to its first number, p50 / p95"
    expected = f"p95 < {PAGE_SECONDS:.0f} s"
    if times is None:
        return Row(figure, "not measured: no Chromium", None, expected)
    value = f"{times.p50:.2f} / {times.p95:.2f} s"
    return Row(f"{figure} ({times.asked} times)", value, None, expected, times.p95 < PAGE_SECONDS)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def wait_until_ready(api: Program, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _ready(url):
        if not api.running or time.monotonic() > deadline:
            raise UserError(f"the API doesn't start:\n{api.text}", "")
        time.sleep(0.1)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/health/ready", timeout=5).is_success
    except httpx.TransportError:
        return False


def _committed(contract: Contract) -> int:
    with connect(Settings.for_role("reader"), autocommit=True) as connection:
        return sum(worker.committed(connection, contract).values())


def child(name: str, job: dict[str, Any], seconds: float) -> Any:
    try:
        done = subprocess.run(
            [sys.executable, "-m", f"bench.children.{name}"],
            input=json.dumps(job),
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=_MOST_SECONDS + 2 * seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as e:
        raise UserError(f"the {name} child of the bench hangs", "see whether the API answers at all") from e
    if done.returncode:
        raise UserError(f"measuring the {name} failed: {done.stderr.strip()[-2000:]}", "")
    return json.loads(done.stdout.splitlines()[-1])
