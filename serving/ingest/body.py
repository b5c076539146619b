"""From a request's body to events: JSON, NDJSON, and CloudEvents in their three modes."""

import asyncio
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, cast

import orjson
from starlette.requests import ClientDisconnect, Request

from serving.ingest import cloudevents
from serving.ingest.unreadable import Unreadable
from serving.problems import MALFORMED, TOO_LARGE, TOO_SLOW_BODY, UNSUPPORTED, Problem
from streamgauge.contract.model import Contract

MAX_BYTES = 1024 * 1024
"""Of a body: as many as may be read at once are held in memory."""
MAX_EVENTS = 10_000
"""Of a request: more, and one sender would have the encoder for longer than others wait."""
_BODY_SECONDS = 10.0
"""For the whole body. Without it a sender that stops in the middle would keep its place for ever."""

Form: TypeAlias = Literal["json", "ndjson", "cloudevent", "cloudevents", "binary"]

MEDIA_TYPES: dict[str, Form] = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/cloudevents+json": "cloudevent",
    "application/cloudevents-batch+json": "cloudevents",
}
"""None of them is one that a browser sends to another site without asking that site first."""


Entry: TypeAlias = dict[str, Any] | Unreadable


def form_of(headers: Mapping[str, str]) -> Form:
    """Raises a problem (415) for a body that can't be read, before any of it is."""
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Problem(UNSUPPORTED, f"Bodies of Content-Encoding {encoding[:40]} are not read.", "Send it as it is.")
    given, _, parameters = headers.get("content-type", "").partition(";")
    form = MEDIA_TYPES.get(given.strip().lower())
    charset = parameters.strip().lower().replace('"', "").removeprefix("charset=")
    if form is None or charset not in ("", "utf-8"):
        raise Problem(UNSUPPORTED, "The Content-Type is none that is read here.", f"Send {', '.join(MEDIA_TYPES)}.")
    if "ce-specversion" in headers:
        if form != "json":
            raise Problem(UNSUPPORTED, "A CloudEvent in binary mode must have the Content-Type application/json.")
        return "binary"
    return form


async def read_body(request: Request) -> bytes:
    """Raises a problem where it is too large (413) or takes too long (408)."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BYTES:
                    raise Problem(TOO_LARGE, f"The body has more than {MAX_BYTES:,} bytes.")
                parts.append(part)
    except TimeoutError as e:
        raise Problem(TOO_SLOW_BODY, f"The body took longer than {_BODY_SECONDS:.0f} s.") from e
    except ClientDisconnect as e:
        raise Problem(MALFORMED, "The body ended before its end.") from e
    return b"".join(parts)


def events_of(contract: Contract, form: Form, headers: Mapping[str, str], body: bytes) -> list[Entry]:
    """In their order. Raises a problem where it isn't known how many there are (400), or there are too many (413)."""
    if form == "ndjson":
        entries = [_line(line) for line in body.splitlines() if line.strip()]
    else:
        whole = _json(body)
        if form in ("cloudevent", "binary"):
            values = [whole]
        elif isinstance(whole, list):
            values = cast(list[Any], whole)
        elif form == "json":
            values = [whole]
        else:
            raise Problem(MALFORMED, "A batch of CloudEvents is a JSON array.")
        entries = [_event(value) for value in values]
    if len(entries) > MAX_EVENTS:
        raise Problem(TOO_LARGE, f"The body has {len(entries):,} events, more than {MAX_EVENTS:,}.")
    if not entries:
        raise Problem(MALFORMED, "The body has no event.", "Send at least one.")
    if form == "binary":
        entries = [cloudevents.binary(contract, headers, e) if isinstance(e, dict) else e for e in entries]
    elif form in ("cloudevent", "cloudevents"):
        entries = [cloudevents.structured(contract, e) if isinstance(e, dict) else e for e in entries]
    return entries


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as e:
        raise Problem(MALFORMED, f"The body is not JSON: it breaks off at line {e.lineno}, column {e.colno}.") from e


def _line(line: bytes) -> Entry:
    try:
        return _event(orjson.loads(line))
    except orjson.JSONDecodeError as e:
        return Unreadable(None, f"is not JSON: it breaks off at column {e.colno}")


def _event(value: Any) -> Entry:
    return cast(dict[str, Any], value) if isinstance(value, dict) else Unreadable(None, "must be a JSON object")
