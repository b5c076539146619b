"""What goes from thread to thread within a session."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from opentelemetry.trace import Link, Span

from streaming.worker.assignment import Assignment
from streaming.worker.pipeline import Checked, Delta


@dataclass(frozen=True)
class Ticket:
    """Follows a batch to its commit, without its memory. `span` lasts as long."""

    span: Span
    done: threading.Event = field(default_factory=threading.Event)
    """Set when what came of the batch is committed, or nothing did."""

    def finish(self) -> None:
        self.span.end()
        self.done.set()


def finish_together(tickets: Sequence[Ticket]) -> None:
    """Batches of one transaction, whose spans are in the trace of the first: the others lead there."""
    for ticket in tickets[1:]:
        ticket.span.add_link(tickets[0].span.get_span_context())
    for ticket in reversed(tickets):
        ticket.finish()


def links_to(tickets: Sequence[Ticket]) -> list[Link]:
    return [Link(ticket.span.get_span_context()) for ticket in tickets]


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
