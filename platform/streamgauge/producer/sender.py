"""Records into Kafka: a bounded queue, backpressure instead of loss, and what became of every record."""

import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.stores.kafka import producer_config
from streamgauge.telemetry.metrics import ACKNOWLEDGED, SENT

Headers = list[tuple[str, str | bytes | None]]
OnDelivered = Callable[[int, Message], None]
"""Is called with a record's index in its batch, and the acknowledged record with partition, offset and ingest time."""

_SERVE_EVERY = 1000
"""Records between two looks for acknowledgements: more, and they pile up in memory and a failure is seen late."""
_QUEUE_FULL_WAIT = 0.1
"""Seconds until a full queue is tried again; an acknowledgement ends them at once."""
_FLUSH_STEP = 0.2
"""Seconds between two reports while everything is waited for: longer, and progress bars would stand still."""
_REFUSED_SECONDS = 5.0
"""How long a login must have been refused before it is believed to be wrong: one that a broker breaks off as it ends or
starts is reported as refused too, and the client goes on by itself.
"""
_MARGIN_SECONDS = 5
"""Waited beyond librdkafka's own deadline: at the same time, its reason would be lost."""


class NotDelivered(UserError):
    """Records that the broker has not acknowledged. They may or may not be in the log."""


@dataclass
class Deliveries:
    """What became of the records given to a sender."""

    sent: int = 0
    acknowledged: Counter[int] = field(default_factory=Counter[int])
    """By partition."""
    failed: Counter[str] = field(default_factory=Counter[str])
    """By the broker's or the client's reason."""
    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    """Seconds from a record's entry into the queue to its acknowledgement."""

    @property
    def outstanding(self) -> int:
        return self.sent - self.acknowledged.total() - self.failed.total()


class Sender:
    """Sends to one topic. `config` overrides librdkafka's settings, for tests."""

    def __init__(
        self,
        settings: Settings,
        stream: str,
        topic: str,
        *,
        config: dict[str, Any] | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        self.deliveries = Deliveries()
        self._stream, self._topic = stream, topic
        self._on_progress = on_progress
        self._reported = Counter[str]()
        ACKNOWLEDGED.add([], stream)
        self._dead: KafkaError | None = None
        self._refused_since: float | None = None
        merged: dict[str, Any] = {**producer_config(settings), **(config or {}), "error_cb": self._on_error}
        self._patience: float = merged["delivery.timeout.ms"] / 1000 + _MARGIN_SECONDS
        self._producer = Producer(merged)

    def send(
        self,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        headers: Headers,
        on_delivered: OnDelivered | None = None,
    ) -> None:
        """Queues every record, waiting while the queue is full. Raises NotDelivered as soon as one has failed."""
        produce, topic, count = self._producer.produce, self._topic, self._count
        for i, (key, value) in enumerate(zip(keys, values, strict=True)):
            callback = count if on_delivered is None else self._noting(i, on_delivered)
            while True:
                try:
                    produce(topic, value, key, on_delivery=callback, headers=headers)
                    break
                except BufferError:
                    self._serve(_QUEUE_FULL_WAIT)
                except KafkaException as e:
                    raise NotDelivered(f"{self._topic}: {e.args[0].str()}", _hint(e.args[0])) from e
            self.deliveries.sent += 1
            if i % _SERVE_EVERY == 0:
                self._serve(0)
        self._serve(0)

    def flush(self, seconds: float | None = None) -> None:
        """Waits until every record is acknowledged. Raises NotDelivered if one failed or the time is up.

        By default it waits as long as the client itself would go on trying.
        """
        deadline = time.monotonic() + (self._patience if seconds is None else seconds)
        while self._producer.flush(min(_FLUSH_STEP, max(0.0, deadline - time.monotonic()))):
            self._report()
            if time.monotonic() >= deadline:
                raise NotDelivered(
                    f"{self._topic}: {self.deliveries.outstanding} records not acknowledged in time",
                    "see streamgauge stack status",
                )
        self._report()

    def wait(self, seconds: float) -> None:
        """Takes in acknowledgements for so long, or until one came."""
        self._serve(seconds)

    def close(self) -> None:
        """Gives up what is still in the queue; flush first."""
        self._producer.purge()
        self._producer.flush(1)

    def _serve(self, seconds: float) -> None:
        self._producer.poll(seconds)
        self._report()

    def _report(self) -> None:
        """Once a call and not once a record: counters and progress bars are slow."""
        done = self.deliveries
        now = Counter(acknowledged=done.acknowledged.total(), failed=done.failed.total())
        for result, n in (now - self._reported).items():
            SENT.add(n, {"stream": self._stream, "result": result})
            if result == "acknowledged":
                self._refused_since = None
                ACKNOWLEDGED.add(done.latencies[-n:], self._stream)
            if result == "acknowledged" and self._on_progress is not None:
                self._on_progress(n)
        self._reported = now
        if self._dead is not None:
            raise NotDelivered(f"{self._topic}: {self._dead.str()}", _hint(self._dead))
        if done.failed:
            reasons = "; ".join(f"{n} records: {reason}" for reason, n in done.failed.most_common(3))
            raise NotDelivered(f"{self._topic}: not delivered: {reasons}", "see streamgauge stack status")

    def _count(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.deliveries.failed[error.str()] += 1
            return
        self.deliveries.acknowledged[message.partition() or 0] += 1
        self.deliveries.latencies.append(message.latency() or 0.0)

    def _noting(self, index: int, on_delivered: OnDelivered) -> Callable[[KafkaError | None, Message], None]:
        def note(error: KafkaError | None, message: Message) -> None:
            self._count(error, message)
            if error is None:
                on_delivered(index, message)

        return note

    def _on_error(self, error: KafkaError) -> None:
        """Brokers that are away come back; a login that is refused again and again, or a fatal error, stays."""
        code, now = error.code(), time.monotonic()
        if error.fatal():
            self._dead = error
        elif code == KafkaError._AUTHENTICATION:  # pyright: ignore[reportPrivateUsage]
            since = self._refused_since = self._refused_since or now
            if now - since > _REFUSED_SECONDS:
                self._dead = error
        elif code == KafkaError._TRANSPORT:  # pyright: ignore[reportPrivateUsage]
            # the broker itself is away
            self._refused_since = None


def _hint(error: KafkaError) -> str:
    if error.code() == KafkaError._AUTHENTICATION:  # pyright: ignore[reportPrivateUsage]
        return "the producer's login is in the environment or in the instance's credentials folder"
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return "the record is larger than the topic allows"
    return "see streamgauge stack status"
