"""The one table: each figure, its ratio to raw `consume()`, what is expected, and whether it is met."""

import math
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import psutil
from rich.console import Console

from bench.figures import Run
from bench.latency import Latency
from bench.others import How, Rate
from streamgauge.cli.output import RIGHT, table
from streamgauge.stack.layout import stack_file
from streamgauge.state.accounts import Account

RAW_RATIO, QUIX_RATIO = 0.35, 50.0
MAX_RSS_MIB = 500
MAX_GROWTH = 0.1
ACKNOWLEDGED_P95_MS, READABLE_P99_SECONDS, READABLE_AIM_SECONDS = 200, 60, 2
FLAT_FROM = 4_000_000
"""With fewer events the duplicate horizon is not yet full after a quarter of them, so memory has to grow."""
_QUIX: dict[How, str] = {
    "whole": "Quix Streams, one-minute count",
    "bare": "  the same without its changelog",
}
_STYLES = {"met": "green", "short": "bold red"}


@dataclass(frozen=True)
class Measured:
    events: int
    duplicates: int
    """How many of the events were sent as duplicates."""
    raw: Rate
    plain: Rate | None
    quix: Mapping[How, Rate | None]
    worker: Run
    account: Account
    latency: Latency | None


@dataclass(frozen=True)
class Row:
    figure: str
    value: str
    ratio: float | None = None
    expected: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return "" if self.met is None else "met" if self.met else "short"


@dataclass(frozen=True)
class Machine:
    """What the figures hang on."""

    cores: int | None
    memory_gib: float
    load_before: float
    versions: dict[str, str]


def machine() -> Machine:
    servers = {k: v for k, v in stack_file().versions.items() if k != "redis"}
    packages = {name: version(name) for name in ("confluent-kafka", "polars", "deltalake", "duckdb", "streamgauge")}
    versions = {"python": platform.python_version(), **servers, **packages}
    memory = psutil.virtual_memory().total / 2**30
    return Machine(os.cpu_count(), round(memory, 1), round(os.getloadavg()[0], 2), versions)


def rows(m: Measured) -> list[Row]:
    limit, own = m.raw.per_second, m.worker.per_second
    built = [
        Row("raw consume(), the limit", _rate(limit), 1.0),
        _other("plain loop, AvroDeserializer", m.plain, limit),
        *(_other(_QUIX[how], rate, limit) for how, rate in m.quix.items()),
        Row("this worker, whole", _rate(own), own / limit, f">= {RAW_RATIO} of raw", own / limit >= RAW_RATIO),
    ]
    if (quix := m.quix.get("whole")) is not None:
        times = own / quix.per_second
        built.append(Row("  worker / Quix", f"{times:.1f} x", None, f">= {QUIX_RATIO:.0f} x", times >= QUIX_RATIO))
    peak = m.worker.rss_peak / 2**20
    built += [
        Row("  CPU an event", f"{m.worker.cpu_us:.2f} us"),
        Row("  resident memory, peak", f"{peak:.0f} MiB", None, f"< {MAX_RSS_MIB} MiB", peak < MAX_RSS_MIB),
        _flat(m),
        _books(m),
    ]
    return built + ([] if m.latency is None else _latency(m.latency))


def _other(name: str, rate: Rate | None, limit: float) -> Row:
    if rate is None:
        return Row(name, "not measured")
    return Row(f"{name} ({rate.records:,} records)", _rate(rate.per_second), rate.per_second / limit)


def _flat(m: Measured) -> Row:
    quarter, end = (v / 2**20 for v in (m.worker.rss_quarter, m.worker.rss_end))
    met = m.worker.growth <= MAX_GROWTH if m.events >= FLAT_FROM else None
    expected = f"flat: + {MAX_GROWTH:.0%} at most" if met is not None else f"judged from {FLAT_FROM:,} events on"
    return Row("  resident memory at 1/4 and at the end", f"{quarter:.0f}, {end:.0f} MiB", None, expected, met)


def _books(m: Measured) -> Row:
    a = m.account
    value = f"{a.counted:,} + {a.late:,} + {a.duplicates:,} + {a.dead_letters:,}"
    met = a.adds_up and not a.lag and a.acknowledged == m.events and (a.duplicates, a.lost) == (m.duplicates, 0)
    return Row("  counted + late + duplicates + dead letters", value, None, f"{m.events:,}, {m.duplicates:,} dup.", met)


def _latency(found: Latency) -> list[Row]:
    a50, a95, a99 = (v * 1000 for v in found.acknowledged)
    r50, r95, r99 = found.readable
    return [
        Row(
            f"at {found.rate:,.0f} events/s: sent to acknowledged, p50 / p95 / p99",
            f"{a50:.0f} / {a95:.0f} / {a99:.0f} ms",
            None,
            f"p95 <= {ACKNOWLEDGED_P95_MS} ms",
            a95 <= ACKNOWLEDGED_P95_MS,
        ),
        Row(
            "  event to readable in Postgres, p50 / p95 / p99",
            " / ".join("never" if math.isinf(v) else f"{v:.2f}" for v in (r50, r95, r99)) + " s",
            None,
            f"p99 <= {READABLE_P99_SECONDS} s",
            r99 <= READABLE_P99_SECONDS,
        ),
        Row("    its aim", f"p99 {r99:.2f} s", None, f"<= {READABLE_AIM_SECONDS} s", r99 <= READABLE_AIM_SECONDS),
        Row("    minutes hold all that was acknowledged", f"{found.events:,}", None, "all", found.all_counted),
    ]


def _rate(value: float) -> str:
    return f"{value:,.0f}/s"


def show(out: Console, about: Machine, built: list[Row]) -> None:
    versions = ", ".join(f"{k} {v}" for k, v in about.versions.items())
    out.print(f"{about.cores} cores, {about.memory_gib} GiB, load average before the start {about.load_before}")
    out.print(versions)
    shown = table(figure="left", value=RIGHT, of_raw=RIGHT, expected="left", verdict="left")
    for r in built:
        ratio = "" if r.ratio is None else f"{r.ratio:.3f}"
        shown.add_row(r.figure, r.value, ratio, r.expected, r.verdict, style=_STYLES.get(r.verdict))
    out.print(shown)
    out.print(in_words(built))


def in_words(built: list[Row]) -> str:
    short = [r for r in built if r.met is False]
    if not short:
        return "All that is expected is met."
    return "Falls short: " + "; ".join(f"{r.figure.strip()} is {r.value}, expected {r.expected}" for r in short) + "."


def as_json(about: Machine, m: Measured, built: list[Row]) -> dict[str, Any]:
    return {
        "machine": asdict(about),
        "rows": [{**asdict(r), "figure": r.figure.strip(), "verdict": r.verdict} for r in built],
        "short": [r.figure.strip() for r in built if r.met is False],
        "account": m.account.as_json(),
        "worker": asdict(m.worker),
        "latency": None if m.latency is None else asdict(m.latency),
    }
