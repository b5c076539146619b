"""Errors as problem details (RFC 9457): what went wrong, and what to change."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response

from serving.context import current

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Kind:
    """A sort of error. Its name is the last part of the problem's type, a page of the API that explains it."""

    name: str
    status: int
    title: str
    remedy: str

    @property
    def type(self) -> str:
        return f"/v1/problems/{self.name}"


INVALID = Kind("invalid-parameter", 422, "A parameter is missing or wrong", "Correct the parameters named in `errors`.")
TOO_LONG = Kind("range-too-long", 422, "The range is too long", "Ask for a shorter range, or a longer window.")
TOO_MANY = Kind(
    "too-many-rows",
    422,
    "The answer would be too large",
    "Ask for pages with `limit`, for a shorter range, a longer window, or fewer dimensions.",
)
TOO_SLOW = Kind(
    "too-slow",
    422,
    "The query takes too long",
    "Ask for a shorter range, a longer window, fewer dimensions, or leave out distinct counts and quantiles.",
)
NOT_FOUND = Kind("not-found", 404, "There is nothing of that name", "Correct the path.")
NOT_ALLOWED = Kind("method-not-allowed", 405, "The path has no such method", "Use a method that `Allow` names.")
NOT_ACCEPTABLE = Kind(
    "not-acceptable",
    406,
    "No such format",
    "Accept application/json, text/csv or application/vnd.apache.arrow.stream, or set `format`.",
)
CONFLICT = Kind("conflict", 409, "It is not in a state for that", "See `detail`.")
NO_KEY = Kind(
    "key-required",
    401,
    "A valid API key is needed",
    "Send `Authorization: Bearer KEY`; `streamgauge api-keys create` makes one.",
)
FORBIDDEN = Kind(
    "scope-missing", 403, "The API key doesn't allow that", "Use a key that has the scope named in `detail`."
)
MALFORMED = Kind("malformed-body", 400, "The body can't be read", "Send what the Content-Type says.")
TOO_SLOW_BODY = Kind("body-too-slow", 408, "The body took too long", "Send fewer events at once.")
TOO_LARGE = Kind("body-too-large", 413, "The body is too large", "Send fewer events at once.")
UNSUPPORTED = Kind("unsupported-media-type", 415, "The body is of no kind that is read", "See `detail`.")
REFUSED = Kind("events-refused", 422, "No event keeps the contract", "Correct what `errors` names.")
CROWDED = Kind(
    "ingest-full",
    429,
    "No more events can be taken now",
    "Send the same request again after `Retry-After` seconds.",
)
TOO_OFTEN = Kind("too-many-requests", 429, "Too many requests", "Wait as long as `Retry-After` says; ask less often.")
FULL = Kind("too-many-clients", 503, "Too many live clients", "Wait as long as `Retry-After` says, or poll instead.")
AWAY = Kind("server-away", 503, "A server that is needed is away", "Try again after `Retry-After` seconds.")
BUSY = Kind("busy", 503, "The API is busy", "Try again after `Retry-After` seconds.")
HTTP = Kind("http", 400, "The request can't be answered", "Correct the request.")
INTERNAL = Kind(
    "internal", 500, "The API made a mistake", "Report it with `request_id`; the API's log has the cause under it."
)

KINDS = {
    k.name: k
    for k in (
        INVALID,
        TOO_LONG,
        TOO_MANY,
        TOO_SLOW,
        NOT_FOUND,
        NOT_ALLOWED,
        NOT_ACCEPTABLE,
        CONFLICT,
        NO_KEY,
        FORBIDDEN,
        MALFORMED,
        TOO_SLOW_BODY,
        TOO_LARGE,
        UNSUPPORTED,
        REFUSED,
        CROWDED,
        TOO_OFTEN,
        FULL,
        AWAY,
        BUSY,
        HTTP,
        INTERNAL,
    )
}


class Problem(Exception):
    def __init__(
        self,
        kind: Kind,
        detail: str,
        hint: str | None = None,
        *,
        parameter: str | None = None,
        errors: tuple[tuple[str, str], ...] = (),
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.hint = hint or kind.remedy
        self.errors = errors or (((parameter, detail),) if parameter else ())
        self.headers = dict(headers or {})
        self.status = status or kind.status

    def body(self, path: str) -> dict[str, Any]:
        here = current()
        body: dict[str, Any] = {
            "type": self.kind.type,
            "title": self.kind.title,
            "status": self.status,
            "detail": self.detail,
            "hint": self.hint,
            "instance": path,
            "request_id": here.request_id,
            "trace_id": here.trace_id,
        }
        if self.errors:
            body["errors"] = [{"parameter": p, "detail": d} for p, d in self.errors]
        return body

    def response(self, path: str) -> Response:
        current().problem = self.kind.name
        headers = {"Cache-Control": "no-store", **self.headers}
        return Response(orjson.dumps(self.body(path)), self.status, headers, MEDIA_TYPE)
