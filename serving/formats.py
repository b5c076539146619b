"""Answers as JSON, CSV or Arrow; compressed, and not sent again to who has them."""

import gzip
import hashlib
import io
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import orjson
import polars as pl
from polars import selectors
from starlette.requests import Request
from starlette.responses import Response

from serving.problems import NOT_ACCEPTABLE, Problem
from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.tracing import span

Format = Literal["json", "csv", "arrow"]
MEDIA_TYPES: dict[Format, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "arrow": "application/vnd.apache.arrow.stream",
}
REVALIDATE = "private, no-cache"
"""Kept, and asked for anew each time: with its ETag that costs little."""
_SMALL = 1000
_LEVEL = 1
"""Three times the speed of the usual level, and a tenth longer."""
_VARY = "Accept, Accept-Encoding, Authorization"


def format_of(request: Request, asked: Format | None) -> Format:
    """`?format=` before `Accept`; JSON where neither says anything."""
    if asked is not None:
        return asked
    accepted = request.headers.get("accept", "*/*")
    ranked: list[tuple[float, Format]] = []
    for part in accepted.split(","):
        name, _, parameters = part.strip().partition(";")
        quality = _quality(parameters)
        for known, media in MEDIA_TYPES.items():
            own = media.partition(";")[0]
            if quality > 0 and name.strip().lower() in (own, own.partition("/")[0] + "/*", "*/*"):
                ranked.append((quality, known))
    if not ranked:
        raise Problem(NOT_ACCEPTABLE, f"None of {accepted!r} can be made.")
    return max(ranked, key=lambda r: r[0])[1]


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def etag(*parts: object) -> str:
    """Weak: the numbers are the same, the time at which they were read may not be."""
    return f'W/"{hashlib.sha256(repr(parts).encode()).hexdigest()[:24]}"'


def not_modified(request: Request, tag: str) -> Response | None:
    known = {t.strip() for t in request.headers.get("if-none-match", "").split(",")}
    if tag not in known and "*" not in known:
        return None
    return Response(status_code=304, headers={"ETag": tag, "Cache-Control": REVALIDATE, "Vary": _VARY})


def respond(
    request: Request,
    content: bytes,
    media_type: str = MEDIA_TYPES["json"],
    *,
    tag: str | None = None,
    cache: str = REVALIDATE,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Compresses here, in the request's own thread, not in the loop that serves everyone."""
    sent = {"Cache-Control": cache, "Vary": _VARY, **(headers or {})}
    if tag is not None:
        sent["ETag"] = tag
    if len(content) > _SMALL and "gzip" in request.headers.get("accept-encoding", ""):
        content = gzip.compress(content, _LEVEL)
        sent["Content-Encoding"] = "gzip"
    return Response(content, 200, sent, media_type)


def json_bytes(value: Any) -> bytes:
    return orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset | set | tuple):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    raise TypeError(type(value).__name__)


def json_answer(request: Request, value: Mapping[str, Any]) -> Response:
    """Its ETag is made of the content but for `as_of`, the time of reading: it saves sending, though not making it."""
    with _answering() as recorded:
        tag = etag(json_bytes({k: v for k, v in value.items() if k != "as_of"}))
        return recorded(not_modified(request, tag) or respond(request, json_bytes(value), tag=tag))


def momentary_answer(request: Request, value: Any) -> Response:
    """Of what changes with the clock, such as freshness: it is never the same twice, and must not be kept."""
    with _answering() as recorded:
        return recorded(respond(request, json_bytes(value), cache="no-store"))


@dataclass(frozen=True)
class Rows:
    """A table, and what JSON says around it."""

    frame: pl.DataFrame
    around: Mapping[str, Any]


def rows_answer(request: Request, form: Format, rows: Rows, tag: str, headers: Mapping[str, str]) -> Response:
    encode: dict[Format, Callable[[Rows], bytes]] = {"json": _json_rows, "csv": _csv, "arrow": _arrow}
    with _answering() as recorded:
        return recorded(respond(request, encode[form](rows), MEDIA_TYPES[form], tag=tag, headers=headers))


@contextmanager
def _answering() -> Generator[Callable[[Response], Response]]:
    """A span for the making of an answer, which records how large it is."""
    with span("answer") as making:

        def recorded(answer: Response) -> Response:
            making.set_attribute(a.BYTES.name, len(answer.body))
            return answer

        yield recorded


_TIMES = "%Y-%m-%dT%H:%M:%SZ"


_PIECE = 2048
"""Rows written at once: small pieces use the same memory again and again, a large one asks the kernel for new."""


def _json_rows(rows: Rows) -> bytes:
    frame = rows.frame.with_columns(selectors.datetime().dt.to_string(_TIMES))
    written = b",".join(piece.write_json()[1:-1].encode() for piece in frame.iter_slices(_PIECE))
    return json_bytes({**rows.around, "rows": []}).removesuffix(b"]}") + written + b"]}"


def _csv(rows: Rows) -> bytes:
    return rows.frame.write_csv(datetime_format=_TIMES).encode()


def _arrow(rows: Rows) -> bytes:
    out = io.BytesIO()
    rows.frame.write_ipc_stream(out)
    return out.getvalue()
