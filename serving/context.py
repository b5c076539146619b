"""Which request is being answered: its ids go into every answer and every log line."""

from contextvars import ContextVar
from dataclasses import dataclass

from streamgauge.telemetry.logs import bound


@dataclass(frozen=True)
class Context:
    request_id: str = "-"
    trace_id: str = "-"


_NONE = Context()
_current: ContextVar[Context] = ContextVar("request")


def current() -> Context:
    return _current.get(_NONE)


def enter(context: Context) -> None:
    """For the rest of this task, and the threads it asks to work."""
    _current.set(context)
    bound.set({"request_id": context.request_id, "trace_id": context.trace_id})
