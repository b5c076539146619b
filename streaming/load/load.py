"""Sends generated records at a chosen rate."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.producer.producer import EventProducer
from streamgauge.producer.sender import Deliveries
from streamgauge.settings import Settings
from streaming.ledger import Ledger
from streaming.load.generate import Batch, Generator, Shape

BATCH = 4096
"""Records that are generated at once: the memory they take, and how long the first of them waits for the last."""
_TICK_SECONDS = 0.01
"""How long a paced sender sleeps: longer, and a rate would come in bursts that measure the worker's batches."""


@dataclass(frozen=True)
class Plan:
    """How many records, and when: at a rate from `start_ms` on, or (rate None) as fast as the broker takes them.

    At a rate, an event happens when it is due. Without one, they are spread evenly over the `span_seconds`
    before `start_ms`.
    """

    events: int
    rate: float | None
    start_ms: int
    seed: int
    span_seconds: float = 600.0

    def __post_init__(self) -> None:
        if self.events < 1 or self.span_seconds < 0 or (self.rate is not None and self.rate <= 0):
            raise UserError("the number of events and the rate must be above 0", "correct --events, --rate and --span")

    def times(self, first: int, n: int) -> Any:
        """The event times, in epoch ms, of `n` records from the `first` on."""
        numbers = np.arange(first, first + n)
        if self.rate is not None:
            return self.start_ms + (numbers * (1000 / self.rate)).astype(np.int64)
        span_ms = self.span_seconds * 1000
        return self.start_ms - int(span_ms) + (numbers * (span_ms / self.events)).astype(np.int64)

    def before(self, ms: int) -> int:
        """How many of the events happen before a moment; late ones, which a shape may ask for, aside."""
        low, high = 0, self.events
        while low < high:
            middle = (low + high) // 2
            if self.times(middle, 1)[0] < ms:
                low = middle + 1
            else:
                high = middle
        return low


@dataclass(frozen=True)
class LoadResult:
    deliveries: Deliveries
    kinds: Counter[str]
    seconds: float

    def latency(self, quantile: float) -> float | None:
        """Seconds from the producer's queue to the acknowledgement."""
        latencies = np.frombuffer(self.deliveries.latencies)
        return float(np.quantile(latencies, quantile)) if len(latencies) else None

    def as_json(self) -> dict[str, Any]:
        done = self.deliveries
        return {
            "sent": done.sent,
            "acknowledged": done.acknowledged.total(),
            "partitions": {str(p): n for p, n in sorted(done.acknowledged.items())},
            "failed": dict(done.failed),
            "kinds": dict(sorted(self.kinds.items())),
            "seconds": self.seconds,
            "rate": done.acknowledged.total() / self.seconds,
            "latency_p50": self.latency(0.5),
            "latency_p95": self.latency(0.95),
            "latency_p99": self.latency(0.99),
        }


def load(
    settings: Settings,
    contract: Contract,
    plan: Plan,
    shape: Shape,
    *,
    ledger: Ledger | None = None,
    on_progress: Callable[[int], None] | None = None,
    config: dict[str, Any] | None = None,
) -> LoadResult:
    """Sends the plan's records. The ledger is right also when this raises: it holds what was acknowledged so far."""
    kinds = Counter[str]()
    began = time.monotonic()
    with EventProducer(settings, contract, on_progress=on_progress, config=config) as producer:
        generator = Generator(contract, shape, plan.seed, plan.start_ms, producer)
        for batch in _paced(generator, plan, began, producer.wait):
            kinds.update(batch.kinds)
            on_delivered = None if ledger is None else ledger.page(batch).note
            producer.send_records(batch.keys, batch.values, on_delivered)
    return LoadResult(producer.deliveries, kinds, time.monotonic() - began)


def _paced(generator: Generator, plan: Plan, began: float, wait: Callable[[float], None]) -> Iterator[Batch]:
    """The records in pieces, each when it is due."""
    for first in range(0, plan.events, BATCH):
        n = min(BATCH, plan.events - first)
        batch = generator.batch(plan.times(first, n))
        if plan.rate is None:
            yield batch
            continue
        at = 0
        while at < n:
            due = min(n, int((time.monotonic() - began) * plan.rate) - first + 1)
            if due > at:
                yield batch.slice(at, due)
                at = due
            else:
                wait(_TICK_SECONDS)
