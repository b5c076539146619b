"""What the supervisor needs to know of one server or process."""

from collections.abc import Callable
from dataclasses import dataclass, field

from streamgauge.stack.credentials import Credentials


@dataclass(frozen=True)
class Program:
    """A command line and how to run it."""

    command: tuple[str, ...]
    directory: str = "/"
    user: str | None = None
    environment: dict[str, str] = field(default_factory=dict[str, str])
    stop_signal: str = "TERM"
    stop_seconds: int = 20


class NotReady(Exception):
    """The server doesn't answer yet, or no longer."""


def nothing(credentials: Credentials) -> None:
    """A part with nothing to prepare or to set up."""


@dataclass(frozen=True)
class Part:
    name: str
    ports: tuple[str, ...]
    needs: tuple[str, ...]
    program: Callable[[Credentials], Program]
    probe: Callable[[Credentials], str]
    """The version that answers; NotReady if none does."""
    prepare: Callable[[Credentials], None] = nothing
    """Its files, before it starts."""
    set_up: Callable[[Credentials], None] = nothing
    """What can be made only while it runs. Each time, and without effect from the second on."""
    optional: bool = False
    """Started only when asked for."""
    needed: bool = True
    """Without it nothing is counted: a stack that lacks it is not well."""
