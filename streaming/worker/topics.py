"""What the publisher sends to Kafka: minute counts, and dead letters with the reason and the place they came from."""

import io
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from opentelemetry.trace import Span, SpanKind

from streamgauge.contract.model import Contract
from streamgauge.records.avro import counts_schema, frame, parse, write_record
from streamgauge.records.fetcher import RawRecord
from streamgauge.records.registry import Registry
from streamgauge.telemetry.tracing import messaging, span

_FLUSH_SECONDS = 3.0
"""A publisher that waited longer for Kafka would hold up Redis."""
_ROOM_SECONDS = 0.1
"""Until a full queue is tried again; an acknowledgement ends them at once."""
_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)


class NotAcknowledged(Exception):
    """Kafka did not take everything; what was sent may be sent again."""


class Topics:
    def __init__(self, contract: Contract, producer: Producer, registry: Registry) -> None:
        self._contract = contract
        self._producer = producer
        self._registry = registry
        self._refused: str | None = None
        self._again: list[Callable[[], None]] = []
        self._schema = parse(counts_schema(contract))
        self._frame: bytes | None = None

    def send_counts(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """`rows` are (minute in epoch ms, dimensions …, count, late, duplicates). The key is minute and
        dimensions.
        """
        topic, subject = self._contract.counts_topic, self._contract.counts_subject
        if topic is None or subject is None:
            return
        if self._frame is None:
            latest = self._registry.latest(subject)
            if latest is None:
                raise NotAcknowledged(f"the registry has no {subject}: run streamgauge apply")
            self._frame = frame(latest.id)
        names = ("minute", *self._contract.dimension_names, "count", "late", "duplicates")
        with _publishing(topic, len(rows)):
            for row in rows:
                body = io.BytesIO()
                body.write(self._frame)
                write_record(body, self._schema, dict(zip(names, row, strict=True)))
                self._send(topic, "|".join(map(str, row[:-3])).encode(), body.getvalue(), [])
            self._flush()

    def send_dead_letters(self, letters: Sequence[tuple[RawRecord, str]]) -> None:
        """The record as it was, its own headers first. One that is too large for the topic goes without its value, key
        and headers, which Postgres has: it must not hold up those behind it.
        """
        with _publishing(self._contract.dead_letter_topic, len(letters)):
            self._send_dead_letters(letters)

    def _send_dead_letters(self, letters: Sequence[tuple[RawRecord, str]]) -> None:
        topic = self._contract.dead_letter_topic
        for record, reason in letters:
            place = {
                "dead_letter_reason": reason,
                "dead_letter_topic": self._contract.topic,
                "dead_letter_partition": str(record.partition),
                "dead_letter_offset": str(record.offset),
            }
            headers = [(k, v.encode()) for k, v in place.items()]
            whole = partial(self._send, topic, record.key, record.value, [*record.headers, *headers])
            without = partial(self._send, topic, None, None, [*headers, ("dead_letter_too_large", b"true")])
            # Kafka refuses batches: one that is refused is sent again alone before it is known to be too large itself
            whole(partial(whole, without))
        self._flush()

    def _send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        too_large: Callable[[], None] | None = None,
    ) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            del message
            if error is None:
                return
            if too_large is not None and error.code() in _TOO_LARGE:
                self._again.append(too_large)
            else:
                self._refused = error.str()

        while True:
            try:
                self._producer.produce(topic, key=key, value=value, headers=list(headers), on_delivery=delivered)
                return None
            except BufferError:
                self._producer.poll(_ROOM_SECONDS)
            except KafkaException as e:
                error: KafkaError = e.args[0]
                if too_large is None or error.code() not in _TOO_LARGE:
                    raise
                return too_large()

    def _flush(self) -> None:
        left = self._producer.flush(_FLUSH_SECONDS)
        while self._again and not left:
            self._again.pop()()
            left = self._producer.flush(_FLUSH_SECONDS)
        self._again.clear()
        refused, self._refused = self._refused, None
        if left or refused:
            raise NotAcknowledged(refused or f"{left} records were not acknowledged in {_FLUSH_SECONDS} s")


def _publishing(topic: str, records: int) -> AbstractContextManager[Span]:
    return span(f"publish {topic}", messaging(topic, "publish", "send", records), kind=SpanKind.PRODUCER)
