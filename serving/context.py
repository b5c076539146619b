"""Which request is being answered: its ids go into every answer and every log line."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from streamgauge.telemetry.logs import bound

BACKGROUND = "background"
"""In place of a route, of work that no request waits for."""


@dataclass
class Context:
    request_id: str = "-"
    trace_id: str = "-"
    scope: Mapping[str, Any] | None = None
    problem: str | None = None
    """The kind of the problem that it is answered with, if it is."""
    about: dict[str, str] = field(default_factory=dict[str, str])
    """What is known of it by now that its last log line is to have: the stream, the sender's correlation id."""

    @property
    def route(self) -> str:
        """The pattern of the path: a path itself may hold anything."""
        if self.scope is None:
            return BACKGROUND
        return getattr(self.scope.get("route"), "path_format", None) or "other"


_current: ContextVar[Context] = ContextVar("request")


def current() -> Context:
    return _current.get(Context())


def enter(context: Context) -> None:
    """For the rest of this task, and the threads it asks to work."""
    _current.set(context)
    bound.set({"request_id": context.request_id, "trace_id": context.trace_id})
