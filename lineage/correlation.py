"""What became of the records that were sent with one correlation id, step by step, by their traces in Zipkin."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.state.commits import trace_page
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.zipkin import linked_to

_SECONDS = 2.0
"""For one answer."""
_MOST = 20
"""Senders, and batches of each: one correlation id may be that of a million records."""
_LOOKBACK_MS = 7 * 24 * 3600 * 1000


@dataclass(frozen=True)
class TracedStep:
    """A span. `seconds`: how long it lasted."""

    service: str
    name: str
    at: str
    seconds: float
    trace_url: str | None


def steps_of(settings: Settings, correlation_id: str) -> tuple[TracedStep, ...]:
    """From the sending to what is published of it, in the order of time.

    Raises UserError where Zipkin does not answer or has no trace of a sender with this id.
    """
    if settings.zipkin_url is None:
        raise UserError("there is no store of traces", "set STREAMGAUGE_ZIPKIN_URL, or ask by the event's id")
    with httpx.Client(base_url=settings.zipkin_url, timeout=_SECONDS) as zipkin:
        try:
            senders = list(_traces(zipkin, f"{a.CONVERSATION.name}={correlation_id}"))
            ids = dict.fromkeys(s["traceId"] for trace in senders for s in trace)
            batches = [trace for trace_id in ids for trace in _traces(zipkin, linked_to(trace_id))]
        except httpx.HTTPError as e:
            raise UserError(
                f"the store of traces doesn't answer ({type(e).__name__})", "start it by `streamgauge stack stores`"
            ) from e
    spans = {(s["traceId"], s["id"]): s for trace in (*senders, *batches) for s in trace}
    if not spans:
        raise UserError(
            f"no trace of what was sent with the correlation id {correlation_id!r} is kept",
            "the newest traces alone are, and those of senders that export theirs; ask by an event's id",
        )
    return tuple(_step(settings, s) for s in sorted(spans.values(), key=lambda s: s["timestamp"]))


def _traces(zipkin: httpx.Client, tag: str) -> Iterator[list[dict[str, Any]]]:
    asked = {"annotationQuery": tag, "limit": str(_MOST), "lookback": str(_LOOKBACK_MS)}
    yield from zipkin.get("/api/v2/traces", params=asked).raise_for_status().json()


def _step(settings: Settings, span: dict[str, Any]) -> TracedStep:
    return TracedStep(
        span["localEndpoint"]["serviceName"],
        span["name"],
        datetime.fromtimestamp(span["timestamp"] / 1e6, UTC).isoformat(),
        span["duration"] / 1e6,
        trace_page(settings.zipkin_url, span["traceId"]),
    )
