"""What goes from thread to thread within a session."""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

from opentelemetry.trace import Span

from streaming.worker.assignment import Assignment
from streaming.worker.pipeline import Checked, Delta


@dataclass(frozen=True)
class Ticket:
    """Follows a batch to its commit, without its memory."""

    span: Span
    done: threading.Event = field(default_factory=threading.Event)
    """Set when what came of the batch is committed, or nothing did."""


@dataclass(frozen=True)
class Batch:
    """A batch that was read. `checked` gives None where its assignment was revoked before."""

    assignment: Assignment
    checked: Future[Checked | None]
    ticket: Ticket


@dataclass(frozen=True)
class Write:
    """What one transaction writes, and the batches that it comes from."""

    assignment: Assignment
    delta: Delta
    tickets: list[Ticket]
