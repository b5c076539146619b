"""The API's own producer: many requests at once, none of which waits longer than it must."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from serving.problems import AWAY, CROWDED, Problem
from streamgauge.settings import Settings
from streamgauge.stores.kafka import UNREACHED_SECONDS, producer_config
from streamgauge.telemetry.metrics import ACKNOWLEDGED, SENT
from streamgauge.telemetry.threads import supervised
from streamgauge.telemetry.tracing import Headers

log = logging.getLogger(__name__)

DELIVERY_SECONDS = 10.0
"""After which a record counts as not acknowledged, and its request is answered. It may be in the log all the same."""
MAX_OUTSTANDING = 50_000
"""Records that wait for the broker. With more the next request would wait longer than its sender does."""
_SLOW_SECONDS = 2.0
"""A request that waits so long says that the broker is slow, and that another one would wait longer still."""
_POLL_SECONDS = 0.1
_PROBE_SECONDS = 1.0
"""How long the broker has to answer when it is asked whether it is back."""
_RETRY_AFTER = {"Retry-After": "1"}

_GONE = (
    KafkaError._ALL_BROKERS_DOWN,  # pyright: ignore[reportPrivateUsage]
    KafkaError._AUTHENTICATION,  # pyright: ignore[reportPrivateUsage]
)
_OF_THE_RECORD = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD)
"""What the broker or the client has against this record, and would have again."""


@dataclass
class Delivery:
    """What became of a request's records: errors by their row. Done when `left` is 0."""

    left: int
    errors: dict[int, KafkaError] = field(default_factory=dict[int, KafkaError])
    latencies: list[float] = field(default_factory=list[float])
    """In seconds, of those that were acknowledged."""
    since: float = field(default_factory=time.monotonic)


class Publisher:
    """Opened and closed with the API. Its thread takes in what the broker answers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._thread = supervised("ingest", self._serve, self._stop)
        self._waiting: dict[int, Delivery] = {}
        """In the order in which they came."""
        self._away = False
        self._away_since = 0.0
        self._fatal = False

    def open(self) -> None:
        self._producer = self._make()
        self._thread.start()

    def close(self) -> None:
        """Requests under way were answered before; what is left is of those that were given up."""
        self._stop.set()
        self._thread.join(2)
        self._producer.purge()
        self._producer.flush(1)

    def admit(self, records: int) -> None:
        """Raises a problem where so many more can't be taken now."""
        if self._away:
            raise _away("Kafka is away.")
        oldest = next(iter(list(self._waiting.values())), None)
        slow = oldest is not None and time.monotonic() - oldest.since > _SLOW_SECONDS
        if slow or len(self._producer) + records > MAX_OUTSTANDING:
            raise _crowded("Kafka answers slowly." if slow else f"{len(self._producer):,} events wait for Kafka.")

    def send(
        self,
        stream: str,
        topic: str,
        keys: Sequence[bytes | None],
        values: Sequence[bytes],
        headers: Headers,
        done: Callable[[Delivery], None],
    ) -> None:
        """Queues the records; `done` is called when each one's fate is known, after DELIVERY_SECONDS at the latest.

        Raises a problem where the queue is full. Those queued by then are sent, and are duplicates when the request
        comes again.
        """
        delivery = Delivery(len(values))
        self._waiting[id(delivery)] = delivery
        lock = threading.Lock()

        def settled(row: int, error: KafkaError | None, message: Message | None) -> None:
            with lock:
                if error is not None:
                    delivery.errors[row] = error
                elif message is not None:
                    delivery.latencies.append(message.latency() or 0.0)
                delivery.left -= 1
                if delivery.left:
                    return
            self._finish(stream, delivery)
            done(delivery)

        produce, sent_headers = self._producer.produce, list(headers)
        for row, (key, value) in enumerate(zip(keys, values, strict=True)):
            try:
                produce(topic, value, key, on_delivery=partial(settled, row), headers=sent_headers)
            except BufferError as e:
                self._waiting.pop(id(delivery), None)
                raise _crowded("The queue to Kafka is full.") from e
            except KafkaException as e:
                settled(row, e.args[0], None)

    def _finish(self, stream: str, delivery: Delivery) -> None:
        self._waiting.pop(id(delivery), None)
        acknowledged, failed = len(delivery.latencies), len(delivery.errors)
        for result, n in (("acknowledged", acknowledged), ("failed", failed)):
            if n:
                SENT.add(n, {"stream": stream, "result": result})
        if acknowledged:
            ACKNOWLEDGED.add(delivery.latencies, stream)

    def _serve(self) -> None:
        while not self._stop.is_set():
            # Between two questions to a broker that is away there is a pause: each tries to connect all the time.
            self._producer.poll(_PROBE_SECONDS if self._away else _POLL_SECONDS)
            if self._fatal:
                self._replace()
            if self._away:
                self._away = not self._answers()
            if self._away and time.monotonic() - self._away_since > UNREACHED_SECONDS:
                self._away_since = time.monotonic()
                self._replace()

    def _answers(self) -> bool:
        try:
            self._producer.list_topics(timeout=_PROBE_SECONDS)
        except KafkaException:
            return False
        log.info("Kafka answers again: events are taken")
        return True

    def _replace(self) -> None:
        """After an error that ends an idempotent producer for good. Its requests are failed, and may come again."""
        self._producer.purge()
        self._producer.flush(1)
        self._producer, self._fatal = self._make(), False

    def _make(self) -> Producer:
        config: dict[str, Any] = {
            **producer_config(self._settings),
            "delivery.timeout.ms": round(DELIVERY_SECONDS * 1000),
            "error_cb": self._on_error,
            # That the broker is away is said once, here, and not twenty times a second.
            "log_level": 2,
        }
        return Producer(config)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            log.error("the producer is replaced: %s", error.str())
            self._fatal = True
        elif error.code() in _GONE and not self._away:
            log.warning("no events are taken: %s", error.str())
            self._away, self._away_since = True, time.monotonic()


def of_the_record(error: KafkaError) -> bool:
    return error.code() in _OF_THE_RECORD


def not_delivered(delivery: Delivery) -> Problem:
    """Where one record's fate is not known, the whole request is to come again."""
    reason = next(e for e in delivery.errors.values() if not of_the_record(e))
    if reason.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return _away("Kafka doesn't let the API write to the stream's topic.", "Run `streamgauge apply`.")
    return _away(f"Kafka has not acknowledged all events: {reason.str()}.")


def _away(detail: str, hint: str = "Send the same request again after `Retry-After` seconds.") -> Problem:
    return Problem(AWAY, detail, hint, headers=_RETRY_AFTER)


def _crowded(detail: str) -> Problem:
    return Problem(CROWDED, detail, headers=_RETRY_AFTER)
