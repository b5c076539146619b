"""Dead letters: looking at them, and sending them again once what was wrong is put right."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from psycopg import sql

from streamgauge.errors import UserError
from streamgauge.stores.postgres import Connection
from streamgauge.text import plural

REQUEUED_FROM = "streamgauge-requeued-from"
"""The header that says where a record lay before: `topic/partition/offset`."""

_BATCH = 500
_FLUSH_SECONDS = 30.0


@dataclass(frozen=True)
class Position:
    topic: str
    partition: int
    offset: int

    @staticmethod
    def parse(text: str) -> "Position":
        topic, _, rest = text.partition("/")
        partition, _, offset = rest.partition("/")
        if not (topic and partition.isdecimal() and offset.isdecimal()):
            raise UserError(f"{text!r} is no position", "write topic/partition/offset, as dead-letters list does")
        return Position(topic, int(partition), int(offset))

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True)
class DeadLetter:
    """What may be shown: no key, value or header, which may be personal."""

    position: Position
    stream: str
    reason: str
    detail: str | None
    key_bytes: int | None
    """The size of its key and its value; None where it has none."""
    value_bytes: int | None
    header_names: list[str]
    ingest_time: datetime
    requeued_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        return {
            "position": str(self.position),
            "stream": self.stream,
            "reason": self.reason,
            "detail": self.detail,
            "ingest_time": self.ingest_time.isoformat(),
            "requeued_at": None if self.requeued_at is None else self.requeued_at.isoformat(),
        }


@dataclass(frozen=True)
class Payload:
    """The record as it came, byte for byte."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Count:
    stream: str
    reason: str
    count: int
    requeued: int


@dataclass(frozen=True)
class Selection:
    """Which dead letters: those at `positions`; where none is given, those of a stream, a reason, or both."""

    positions: tuple[Position, ...] = ()
    stream: str | None = None
    reason: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        return {
            "stream": self.stream,
            "reason": self.reason,
            "all": not self.positions,
            "topics": [p.topic for p in self.positions],
            "partitions": [p.partition for p in self.positions],
            "offsets": [p.offset for p in self.positions],
        }


_SELECTED = sql.SQL(
    "(%(stream)s::text IS NULL OR stream = %(stream)s) AND (%(reason)s::text IS NULL OR reason = %(reason)s)"
    ' AND (%(all)s OR (topic, partition, "offset") IN'
    " (SELECT * FROM unnest(%(topics)s::text[], %(partitions)s::int[], %(offsets)s::bigint[])))"
)


def check_reason(connection: Connection, reason: str) -> None:
    """Raises UserError where no dead letter has that reason: to list or requeue none of them is not what was meant."""
    known = [r for (r,) in connection.execute("SELECT DISTINCT reason FROM dead_letter_list ORDER BY 1")]
    if reason not in known:
        raise UserError(f"no dead letter has the reason {reason!r}", f"the reasons are: {', '.join(known) or 'none'}")


def counts(connection: Connection, selection: Selection) -> list[Count]:
    query = sql.SQL(
        "SELECT stream, reason, count(*), count(requeued_at) FROM dead_letter_list WHERE {}"
        " GROUP BY stream, reason ORDER BY count(*) DESC, stream, reason"
    ).format(_SELECTED)
    return [Count(*row) for row in connection.execute(query, selection.values)]


def latest(connection: Connection, selection: Selection, limit: int) -> list[DeadLetter]:
    query = sql.SQL(
        'SELECT topic, partition, "offset", stream, reason, detail, key_bytes, value_bytes, header_names,'
        " ingest_time, requeued_at FROM dead_letter_list WHERE {}"
        ' ORDER BY ingest_time DESC, topic, partition, "offset" DESC LIMIT %(limit)s'
    ).format(_SELECTED)
    rows = connection.execute(query, {**selection.values, "limit": limit})
    return [DeadLetter(Position(t, p, o), *rest) for t, p, o, *rest in rows]


def find(connection: Connection, position: Position) -> DeadLetter:
    found = latest(connection, Selection((position,)), 1)
    if not found:
        raise UserError(f"there is no dead letter at {position}", "see streamgauge dead-letters list")
    return found[0]


def payload(connection: Connection, position: Position) -> Payload:
    row = connection.execute(
        "SELECT key, value, header_names, header_values FROM dead_letters"
        ' WHERE topic = %s AND partition = %s AND "offset" = %s',
        (position.topic, position.partition, position.offset),
    ).fetchone()
    if row is None:
        raise UserError(f"there is no dead letter at {position}", "see streamgauge dead-letters list")
    return _payload(*row)


def requeue(connection: Connection, producer: Producer, selection: Selection, again: bool) -> int:
    """Sends the selected records to their topic once more, as they were but for one header, and notes it.

    What was requeued before is left alone unless `again`. A record is noted only after the broker has
    acknowledged it; where that note is lost it may go twice, and its `event_id` makes the second a duplicate.
    """
    total = 0
    last = Position("", -1, -1)
    while True:
        with connection.transaction():
            # The rows stay locked until they are noted, so that two requeues at once don't send the same.
            after = {"last_topic": last.topic, "last_partition": last.partition, "last_offset": last.offset}
            limits = {"again": again, "batch": _BATCH}
            rows = connection.execute(_NEXT, {**selection.values, **after, **limits})
            batch = [(Position(t, p, o), _payload(*rest)) for t, p, o, *rest in rows]
            if not batch:
                return total
            _send(producer, batch)
            with connection.cursor() as cursor:
                cursor.executemany(
                    'UPDATE dead_letters SET requeued_at = now() WHERE topic = %s AND partition = %s AND "offset" = %s',
                    [(at.topic, at.partition, at.offset) for at, _ in batch],
                )
        last = batch[-1][0]
        total += len(batch)


_NEXT = sql.SQL(
    'SELECT topic, partition, "offset", key, value, header_names, header_values FROM dead_letters'
    ' WHERE {} AND (%(again)s OR requeued_at IS NULL) AND (topic, partition, "offset") > '
    "(%(last_topic)s, %(last_partition)s, %(last_offset)s)"
    ' ORDER BY topic, partition, "offset" LIMIT %(batch)s FOR UPDATE'
).format(_SELECTED)


def _payload(
    key: bytes | None, value: bytes | None, names: list[str] | None, values: list[bytes | None] | None
) -> Payload:
    return Payload(key, value, list(zip(names or [], values or [], strict=True)))


def _send(producer: Producer, batch: list[tuple[Position, Payload]]) -> None:
    failures: list[str] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        del message
        if error is not None:
            failures.append(error.str())

    for at, record in batch:
        headers: list[tuple[str, str | bytes | None]] = [h for h in record.headers if h[0] != REQUEUED_FROM]
        headers.append((REQUEUED_FROM, str(at).encode()))
        producer.produce(at.topic, key=record.key, value=record.value, headers=headers, on_delivery=delivered)
    left = producer.flush(_FLUSH_SECONDS)
    if left:
        failures.append(f"no answer for {plural(left, 'record')} in {_FLUSH_SECONDS:.0f} s")
    if failures:
        raise UserError(
            f"Kafka didn't take all dead letters back: {failures[0]}",
            "requeue again: what was noted as requeued is left alone",
        )
