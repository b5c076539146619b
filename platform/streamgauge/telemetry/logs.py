"""Log lines on stderr: text for people, JSON for collectors. No line holds an event's payload."""

import json
import logging
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from opentelemetry import trace

from streamgauge.settings import LogSettings
from streamgauge.telemetry.catalog import log_fields as f

log = logging.getLogger(__name__)

bound: ContextVar[Mapping[str, str]] = ContextVar("bound")
"""What every line has that is written on behalf of the same request, stream or transaction."""

_IN_TEXT = (f.REQUEST_ID.name, f.TRACE_ID.name)
"""Of that, what text for people has too: its words name the stream already."""


@contextmanager
def bound_to(**fields: str) -> Generator[None]:
    """Lines of this thread or task that are written in the block have these fields too, named as in the catalog."""
    token = bound.set({**bound.get({}), **fields})
    try:
        yield
    finally:
        bound.reset(token)


_ESCAPED = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160), 0x2028, 0x2029)}
"""What a request's path could hold to begin a line of its own, or to steer a terminal."""


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        one_line = {**record.__dict__, "msg": record.getMessage().translate(_ESCAPED), "args": ()}
        line = super().format(logging.makeLogRecord(one_line))
        shown = ((name, value) for name, value in bound.get({}).items() if name in _IN_TEXT)
        return " ".join((line, *(f"{name}={value}".translate(_ESCAPED) for name, value in shown)))


class _Json(logging.Formatter):
    """One object a line, named as in the OpenTelemetry log data model."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(fields_of(record))


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Of a line that the current thread or task writes."""
    line: dict[str, Any] = {
        f.TIMESTAMP.name: datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
        f.SEVERITY.name: record.levelname,
        f.LOGGER.name: record.name,
        f.THREAD.name: record.threadName,
        f.BODY.name: record.getMessage(),
    }
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        line |= {
            f.TRACE_ID.name: trace.format_trace_id(span.trace_id),
            f.SPAN_ID.name: trace.format_span_id(span.span_id),
        }
    line |= bound.get({})
    if record.exc_info:
        line[f.EXCEPTION.name] = logging.Formatter().formatException(record.exc_info)
    return line


def configure_logs(settings: LogSettings, stream: TextIO = sys.stderr) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        _Json() if settings.log_format == "json" else _Text("%(asctime)s %(levelname)-7s %(threadName)s: %(message)s")
    )
    # not only the root: a logger whose lines are exported whole may say more
    handler.setLevel(settings.log_level)
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def configure_logs_once(settings: LogSettings) -> bool:
    """For a process that somebody else starts: what he has set up stays, and so do the lines of Dagster itself. Returns
    whether nothing was set up yet.
    """
    if logging.getLogger().handlers:
        return False
    configure_logs(settings)
    logging.getLogger("dagster").propagate = False
    return True


class RunLines(logging.Handler):
    """What assets and checks say by `context.log`, among the lines of their process. Dagster's own events stay out:
    they are in its log, and an error's may quote a record.
    """

    def emit(self, record: logging.LogRecord) -> None:
        meta: Mapping[str, Any] = getattr(record, "dagster_meta", {})
        if meta.get("dagster_event") is None and log.isEnabledFor(record.levelno):
            text = {"msg": meta.get("orig_message", record.msg), "args": ()}
            log.handle(logging.makeLogRecord({**record.__dict__, **text}))


def own_stderr() -> TextIO:
    """A stream of our own on what is stderr now, with nothing left on file descriptor 2.

    polars prints its own line there for each broken block it meets, and such a line can quote a number out of
    the record.
    """
    ours = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return ours
