"""Finding the one record that ends session after session by an error that nobody foresaw.

A session that fails begins again at the same record. After three in a row the next ones take smaller and smaller
batches, one at a time, until the batch that fails is a single record. That record is set aside as a dead letter, and
the stream goes on.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import psycopg
from confluent_kafka import KafkaException

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.records.decode import Rejected
from streamgauge.records.payloads import Payloads
from streamgauge.stores.postgres import Connection
from streamgauge.telemetry import metrics
from streaming.worker.claims import Fenced
from streaming.worker.pipeline import Checked
from streaming.worker.reader import BATCH_RECORDS, FetchStalled, TopicRecreated, Unassigned
from streaming.worker.records import Records, some_of

log = logging.getLogger(__name__)

UNEXPECTED = "unexpected"
"""The reason of a dead letter that ended session after session by an error that nobody foresaw."""

TRIES = 3
"""As many sessions may end in a row before a record is suspected: what passes by itself should have passed."""

_DIVISOR = 16
"""Each step costs a session, which is seconds: four of them lead from a batch to a record."""
_PARTS = 256
"""The record that failed was in a batch of `_DIVISOR` times the size, though others may come before it now. When as
many have passed, it has passed too, and larger batches are tried again.
"""
_FORGET_SECONDS = 600.0
"""Failures further apart than this have nothing to do with each other."""

Position = tuple[int, int]
"""Partition, and position in it."""


class Permanent(Exception):
    """Postgres refuses what a transaction writes, and will again."""


@dataclass
class Isolation:
    """What sessions of one stream have in common. Used by one session at a time.

    `size` is how many records share a batch; while `active`, the next ones when those before are committed.
    """

    size: int = BATCH_RECORDS
    in_flight: Position | None = None
    """The first record of the part that is being worked on."""
    set_aside: dict[Position, str] = field(default_factory=dict[Position, str])
    """The records found, with the type of the error that each made."""
    _failures: int = 0
    _failed_at: float = 0.0
    _parts: int = 0
    """Committed since the last failure."""

    @property
    def active(self) -> bool:
        return self.size < BATCH_RECORDS

    def parts(self, records: Records, committed: Mapping[int, int]) -> Iterator[tuple[Records, bool]]:
        """What is only read again for its event ids, whole, and then the rest in parts of `size`; and which it is.

        `committed` is each partition's next position.
        """
        at = records.positions
        first_new = np.zeros(len(at), np.int64)
        for partition, rows in at.slices():
            first_new[rows] = committed.get(partition, 0)
        again, new = (np.flatnonzero(chosen) for chosen in (at.offsets < first_new, at.offsets >= first_new))
        if len(again) or not len(new):
            yield some_of(records, again), False
        while len(new):
            # the size may grow after each part
            part, new = np.split(new, [self.size])
            yield some_of(records, part), True

    def begin(self, records: Records) -> None:
        """A part of at least one record is on its way."""
        at = records.positions
        self.in_flight = int(at.partitions[0]), int(at.offsets[0])

    def rows(self, records: Records) -> dict[int, str]:
        """The rows of a batch that were set aside, nearly always none."""
        at, found = records.positions, dict[int, str]()
        for (partition, position), error in self.set_aside.items():
            rows = np.flatnonzero((at.partitions == partition) & (at.offsets == position))
            found |= dict.fromkeys(rows.tolist(), error)
        return found

    def part_done(self) -> None:
        self.in_flight = None
        self._parts += 1
        if self._parts >= _PARTS:
            self.size, self._failures = BATCH_RECORDS, 0

    def failed(self, e: BaseException, stream: str, now: float) -> None:
        """A session has ended by `e`; `now` in seconds of any clock that doesn't go back."""
        if unforeseen(e):
            if now - self._failed_at > _FORGET_SECONDS:
                self._failures = 0
            self._failures, self._failed_at = self._failures + 1, now
            if self.size == 1 and self.in_flight is not None:
                partition, position = self.in_flight
                # a new dict: checkers of the session that ended may still go through the old one
                self.set_aside = self.set_aside | {self.in_flight: type(e).__name__}
                metrics.SET_ASIDE.add(1, {"stream": stream})
                log.error(
                    "%s: partition %d, position %d ends every session by %s: it becomes a dead letter",
                    stream, partition, position, type(e).__name__,
                )  # fmt: skip
            elif self.active or self._failures >= TRIES:
                self.size = max(1, self.size // _DIVISOR)
                log.error("%s: looking for the record that ends sessions, %d at a time", stream, self.size)
        self.in_flight, self._parts = None, 0


def read_set_aside(connection: Connection, contract: Contract, read_from: Mapping[int, int]) -> dict[Position, str]:
    """Records that once ended session after session, with the error that each made: of those that are read again, as
    every batch is compared with them.
    """
    rows = connection.execute(
        'select partition, "offset", detail from dead_letters where topic = %s and reason = %s',
        (contract.topic, UNEXPECTED),
    )
    return {
        (partition, position): detail
        for partition, position, detail in rows
        if partition in read_from and position >= read_from[partition]
    }


def unforeseen(e: BaseException) -> bool:
    """Whether a record may be to blame. Servers that are away, other workers and missing topics are not."""
    servers = (psycopg.OperationalError, psycopg.InterfaceError, KafkaException, OSError)
    foreseen = (Fenced, TopicRecreated, FetchStalled, Unassigned, UserError, MemoryError)
    return isinstance(e, Exception) and not isinstance(e, (*servers, *foreseen))


def without_values(records: Records, rows: Mapping[int, str]) -> Records:
    """As if these had no value, so that nothing looks at it; as dead letters they are kept whole."""
    sizes = records.payloads.sizes.copy()
    sizes[list(rows)] = -1
    return replace(records, payloads=Payloads(records.payloads.addresses, sizes, records.payloads.owner))


def as_set_aside(checked: Checked, rows: Mapping[int, str]) -> Checked:
    """With the true reason against these rows, which had been left without a value."""
    kept = [r for r in checked.rejected if r.row not in rows]
    found = [Rejected(row, UNEXPECTED, error) for row, error in rows.items()]
    return replace(checked, rejected=sorted([*kept, *found], key=lambda r: r.row))
