"""The thread that decides, in the log's order, what becomes of the events of checked batches."""

import queue
from collections.abc import Sequence

from streamgauge.telemetry.catalog import attributes as a
from streamgauge.telemetry.tracing import span, within
from streaming.worker.assignment import Assignment
from streaming.worker.batch import Batch, Ticket, Write, finish_together, links_to
from streaming.worker.lifetime import Lifetime, Waits
from streaming.worker.pipeline import Checked, Delta
from streaming.worker.reader import BATCH_RECORDS

_CHECKED_AHEAD = 3
"""How many batches may wait to be classified: with those at both ends it bounds the memory."""
_TOGETHER_RECORDS = 100_000
"""How many records share a transaction while batches come full. Each transaction writes the rows of the minutes it
touches, however many events they stand for.
"""


class Classifier:
    """Takes batches from its inbox, None after the last, and puts what is to be written into `writes`."""

    def __init__(self, lifetime: Lifetime, writes: "queue.Queue[Write | None]") -> None:
        self._lifetime = lifetime
        self._writes = writes
        self.inbox: queue.Queue[Batch | None] = queue.Queue(maxsize=_CHECKED_AHEAD)
        self.waits = Waits()
        self._assignment: Assignment | None = None
        self._gathered: list[Checked] = []
        self._tickets: list[Ticket] = []

    def run(self) -> None:
        while (batch := self._lifetime.get(self.inbox, self._flush, self.waits)) is not None:
            if batch.assignment is not self._assignment:
                self._flush()
                self._assignment = batch.assignment
            checked = self._lifetime.result(batch.checked, self._flush, self.waits)
            if checked is not None:
                self._gathered.append(checked)
                self._tickets.append(batch.ticket)
                if len(checked.positions) < BATCH_RECORDS or _records(self._gathered) >= _TOGETHER_RECORDS:
                    self._flush()
            else:
                batch.ticket.finish()
            # while this thread waits, the batch's memory is free
            del batch, checked
        self._flush()
        self._lifetime.put(self._writes, None, self.waits)

    def _flush(self) -> None:
        """What was gathered becomes one transaction."""
        gathered, tickets, assignment = self._gathered, self._tickets, self._assignment
        self._gathered, self._tickets = [], []
        if not gathered or assignment is None:
            return
        if assignment.revoked.is_set():
            for ticket in tickets:
                ticket.span.end()
            return
        with within(tickets[0].span), span("classify", links=links_to(tickets[1:])) as classifying:
            delta = assignment.pipeline.aggregate(gathered)
            classifying.set_attributes({a.RECORDS.name: _records(gathered), **_verdicts(delta)})
        # while the committer is waited for, the batches' memory is free
        gathered.clear()
        if delta.partitions:
            self._lifetime.put(self._writes, Write(assignment, delta, tickets), self.waits)
        else:
            finish_together(tickets)


def _records(gathered: Sequence[Checked]) -> int:
    return sum(len(c.positions) for c in gathered)


def _verdicts(delta: Delta) -> dict[str, int]:
    verdicts = {a.COUNTED: "counted", a.LATE: "late", a.DUPLICATES: "duplicates", a.DEAD_LETTERS: "dead_letters"}
    return {of.name: sum(getattr(p, verdict) for p in delta.partitions) for of, verdict in verdicts.items()}
