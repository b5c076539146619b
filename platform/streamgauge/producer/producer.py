"""One stream's producer."""

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any
from uuid import uuid4

import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.producer.encode import Encoder
from streamgauge.producer.frame import Broken, breaches
from streamgauge.producer.sender import Deliveries, OnDelivered, Sender
from streamgauge.producer.trace import publishing, tracer
from streamgauge.records.avro import avro_schema
from streamgauge.records.registry import registry
from streamgauge.settings import Settings


class EventProducer:
    """Sends events that keep the contract. Leaving its block waits until all are acknowledged.

    `on_progress` is called with how many more were acknowledged; `config` overrides librdkafka's settings, for tests.
    """

    def __init__(
        self,
        settings: Settings,
        contract: Contract,
        *,
        correlation_id: str | None = None,
        config: dict[str, Any] | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        self.contract = contract
        self.correlation_id = correlation_id or uuid4().hex
        self.schema_id = find_schema_id(settings, contract)
        self._encoder = Encoder(contract, self.schema_id)
        self._sender = Sender(settings, contract.stream, contract.topic, config=config, on_progress=on_progress)
        self._tracer = tracer()

    def __enter__(self) -> "EventProducer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if error is None:
                self.flush()
        finally:
            self._sender.close()

    @property
    def deliveries(self) -> Deliveries:
        return self._sender.deliveries

    def send(self, events: pl.DataFrame) -> list[Broken]:
        """Sends the events that keep the contract, and returns those that don't, which are not sent."""
        broken = breaches(self.contract, events)
        if broken:
            rows = pl.int_range(pl.len())
            events = events.filter(~rows.is_in([b.row for b in broken]))
        self.send_records(self.keys(events), self.encode(events))
        return broken

    def keys(self, events: pl.DataFrame) -> list[bytes]:
        return self._encoder.keys(events)

    def encode(self, events: pl.DataFrame) -> list[bytes]:
        """The events as they would be sent, contract or not."""
        return self._encoder.encode(events)

    def send_records(
        self,
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
        on_delivered: OnDelivered | None = None,
    ) -> None:
        """Sends records as they are, contract or not."""
        with publishing(self._tracer, self.contract.topic, len(values), self.correlation_id) as headers:
            self._sender.send(keys, values, headers, on_delivered)

    def wait(self, seconds: float) -> None:
        """For a pause between sends: takes in acknowledgements for so long, or until one came."""
        self._sender.wait(seconds)

    def flush(self, seconds: float | None = None) -> None:
        self._sender.flush(seconds)


def find_schema_id(settings: Settings, contract: Contract) -> int:
    """The id of exactly the contract's schema: an older producer keeps its own when a newer one is registered."""
    contract.check_written_here()
    schemas = registry(settings)
    try:
        found = schemas.lookup(contract.subject, avro_schema(contract))
    finally:
        schemas.close()
    if found is None:
        raise UserError(
            f"the registry has no schema for {contract.stream} {contract.version} (subject {contract.subject})",
            "run streamgauge apply",
        )
    return found.id
