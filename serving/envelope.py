"""What every answer has, whoever made it: ids, security headers, a log line, a metric; and an answer to mistakes.

HEAD is answered here for all routes, as GET is and without the content.
"""

import logging
import re
import secrets
import time
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.context import Context, enter
from serving.problems import INTERNAL, Problem
from streamgauge.telemetry import metrics
from streamgauge.telemetry.logs import bound_to
from streamgauge.telemetry.tracing import lasting

log = logging.getLogger(__name__)
_tracer = trace.get_tracer("streamgauge.api")
_propagator = TraceContextTextMapPropagator()

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""A caller may send any word as one, and each would be a series of its own."""
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


class Envelope:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        parent = _propagator.extract({"traceparent": headers.get("traceparent", "")})
        with lasting(_tracer.start_span(str(scope["method"]), parent, SpanKind.SERVER)) as span:
            given = headers.get("x-request-id", "")
            request_id = given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
            known = span.get_span_context()
            # without a tracer there is a trace id only if the caller sent one
            trace_id = trace.format_trace_id(known.trace_id) if known.is_valid else secrets.token_hex(16)
            answered = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            here = Context(request_id, trace_id, answered)
            enter(here)
            await _Exchange(self._app, str(scope["method"]), answered, here, span).run(receive, send)


class _HeadersSent(Exception):
    """Ends the work on a HEAD request once its headers are sent: a live answer would otherwise go on for ever."""


class _Exchange:
    """One request and its answer."""

    def __init__(self, app: ASGIApp, method: str, scope: Scope, here: Context, span: trace.Span) -> None:
        self._app = app
        self._method = method
        self._scope = scope
        self._here = here
        self._span = span
        self._status: int | None = None
        self._since = time.perf_counter()

    async def run(self, receive: Receive, send: Send) -> None:
        async def enveloped(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._started(message)
            await send(message)
            if self._method == "HEAD":
                await send({"type": "http.response.body", "body": b""})
                raise _HeadersSent

        try:
            await self._app(self._scope, receive, enveloped)
        except _HeadersSent:
            pass
        except Exception:
            log.exception("%s %s failed", self._method, self._scope["path"])
            if self._status is not None:
                raise
            problem = Problem(INTERNAL, "The API failed in a way that nobody had thought of.")
            await problem.response(self._scope["path"])(self._scope, receive, enveloped)
        finally:
            self._done()

    def _started(self, message: Message) -> None:
        self._status = int(message["status"])
        headers = MutableHeaders(scope=message)
        headers["X-Request-Id"] = self._here.request_id
        headers["X-Trace-Id"] = self._here.trace_id
        for name, value in SECURITY.items():
            headers.setdefault(name, value)

    def _done(self) -> None:
        seconds = time.perf_counter() - self._since
        status = self._status or 499
        attributes: dict[str, Any] = {
            "http.request.method": self._method if self._method in _METHODS else "_OTHER",
            "http.route": self._here.route,
            "http.response.status_code": status,
        }
        if self._here.problem is not None:
            attributes["error.type"] = self._here.problem
        metrics.REQUEST_DURATION.record(seconds, attributes)
        self._span.update_name(f"{attributes['http.request.method']} {self._here.route}")
        self._span.set_attributes({**attributes, "request.id": self._here.request_id})
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        level = logging.WARNING if status >= 500 else logging.INFO
        with bound_to(**self._here.about):
            log.log(level, "%s %s %d %.0f ms", self._method, self._scope["path"], status, seconds * 1000)
