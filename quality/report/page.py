"""The report as a page of its own: no script, no font, no image from elsewhere, so it can be kept and mailed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from quality.outcome import Status
from quality.report.model import Hour, Report, after
from streamgauge.dagster.hours import HOUR, hour_of
from streamgauge.style import tokens
from streamgauge.text import number, share

_WIDTH, _HEIGHT = 960.0, 132.0
_STAFF, _DIGIT = 24.0, 7.0
"""Room for the staff and its distance from the numbers, and for each character of these."""
_READINGS = {
    "sound": "No check failed.",
    "warnings": "Usable; some checks warn.",
    "errors": "Some checks failed: look before you use these numbers.",
    "nothing checked": "No check has run for this day yet.",
}
_WORDS: dict[Status | None, str] = {
    "passed": "passed",
    "failed": "failed",
    "unknown": "not judged",
    None: "not run",
}


@dataclass(frozen=True)
class Bar:
    """An hour in the chart, in its own units: x grows to the right, y downwards."""

    hour: Hour
    x: float
    width: float
    y: float
    height: float
    bad_height: float


@dataclass(frozen=True)
class Gauge:
    """Facts by hour, as a level over the day."""

    bars: list[Bar]
    ticks: list[tuple[float, str]]
    left: float
    """Where the bars begin: right of the widest number."""
    width: float = _WIDTH
    height: float = _HEIGHT


def gauge(report: Report) -> Gauge:
    most = max((h.facts + h.quarantined for h in report.hours), default=0)
    top = _round_up(most)
    ticks = [(_HEIGHT * (1 - share), number(round(top * share))) for share in (0, 0.5, 1)]
    left = _STAFF + _DIGIT * max(len(label) for _, label in ticks)
    step = (_WIDTH - left) / 24
    bars: list[Bar] = []
    for i, hour in enumerate(report.hours):
        height = _HEIGHT * hour.facts / top
        bad = max(_HEIGHT * hour.quarantined / top, 2.0) if hour.quarantined else 0.0
        bars.append(Bar(hour, left + i * step + 1.5, step - 3, _HEIGHT - height, height, bad))
    return Gauge(bars, ticks, left)


def render(report: Report) -> str:
    reading = _READINGS[report.reading]
    return _template().render(
        tokens=Markup(tokens()), r=report, c=report.contract, gauge=gauge(report), reading=reading, after=after
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("quality.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = environment.filters
    filters |= {"number": number, "share": share, "clock": clock, "moment": moment, "word": _WORDS.__getitem__}
    environment.filters = filters
    return environment.get_template("page.html.jinja")


def clock(key: str) -> str:
    """An hour's key as its span of time."""
    start = hour_of(key)
    return f"{start:%H}\N{EN DASH}{start + HOUR:%H}"


def moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _round_up(value: int) -> int:
    """To a number that is easy to read off a scale; never 0."""
    size = 10 ** max(len(str(value)) - 1, 0)
    return next((n * size for n in (1, 2, 3, 4, 5, 6, 8, 10) if n * size >= value and n * size > 1), 2)
