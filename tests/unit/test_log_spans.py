"""Spans of a log are read whole, however the consumer mixes records with news of a partition's end."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from confluent_kafka import KafkaError

from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.records import log_spans
from streamgauge.records.fetcher import Fetched, FetchEvent
from streamgauge.records.log_spans import LogSpans
from streamgauge.records.payloads import Payloads
from streamgauge.settings import CHECKOUT
from streamgauge.types import Int64s

CONTRACT = find_contract(load_contracts(CHECKOUT / "platform" / "contracts"), "user_events")


@dataclass(frozen=True)
class Event:
    partition: int
    offset: int


def record(partition: int, offset: int) -> Event:
    return Event(partition, offset)


def end(partition: int, offset: int) -> FetchEvent:
    return FetchEvent(partition, offset, KafkaError(KafkaError._PARTITION_EOF))  # pyright: ignore[reportPrivateUsage]


class Records(Fetched):
    """As fetched, but made here: their ingest times are their offsets."""

    @classmethod
    def of(cls, events: Sequence[Event]) -> "Records":
        partitions = np.array([e.partition for e in events], np.int64)
        offsets = np.array([e.offset for e in events], np.int64)
        return cls(Payloads.of([b"x"] * len(events)), partitions, offsets, offsets)

    def take(self, rows: Int64s) -> "Records":
        return Records(self.payloads.take(rows), self.partitions[rows], self.offsets[rows], self.messages[rows])

    def ingest_ms(self, rows: Int64s) -> Int64s:
        return self.offsets[rows]


class FakeClient:
    """A fetcher that gives these batches, and then nothing."""

    def __init__(self, batches: Sequence[Sequence[Event | FetchEvent]]) -> None:
        self._batches = list(batches)
        self.left: list[int] = []

    def start_from(self, first_positions: Mapping[int, int]) -> None: ...

    def fetch(self, most: int, seconds: float) -> tuple[Fetched, list[FetchEvent]]:
        assert self._batches, "it reads on though it has all"
        batch = self._batches.pop(0)
        return Records.of([e for e in batch if isinstance(e, Event)]), [e for e in batch if isinstance(e, FetchEvent)]

    def pause(self, partitions: Iterable[int]) -> None:
        self.left += partitions

    def assign(self, offsets: Mapping[int, int]) -> None: ...


def read(
    monkeypatch: pytest.MonkeyPatch, spans: dict[int, tuple[int, int]], *batches: Sequence[Event | FetchEvent]
) -> list[Any]:
    reported = FakeClient(batches)

    def client(*_: Any) -> FakeClient:
        return reported

    def config(settings: Any, group: str) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(log_spans, "Consumer", client)
    monkeypatch.setattr(log_spans, "Fetcher", client)
    monkeypatch.setattr(log_spans, "consumer_config", config)
    settings: Any = None
    found: list[Any] = []
    for records in LogSpans(settings, CONTRACT, {}).read(spans):
        assert records.ingest_ms.tolist() == records.offsets.tolist()
        found += zip(records.partitions.tolist(), records.offsets.tolist(), strict=True)
    assert sorted(reported.left) == sorted(p for p, (first, last) in spans.items() if first < last)
    return found


def test_records_that_come_along_with_the_end_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [record(0, 0), record(0, 1), end(0, 2), record(1, 0), end(1, 1)]
    assert read(monkeypatch, {0: (0, 2), 1: (0, 1)}, batch) == [(0, 0), (0, 1), (1, 0)]


def test_the_end_may_come_before_the_span_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker told of it before the last records were there."""
    found = read(monkeypatch, {0: (0, 3)}, [record(0, 0), end(0, 1)], [record(0, 1), record(0, 2)])
    assert found == [(0, 0), (0, 1), (0, 2)]


def test_a_span_may_end_without_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last offset is a transaction's marker."""
    assert read(monkeypatch, {0: (0, 3), 1: (5, 5)}, [record(0, 0), record(0, 1)], [end(0, 3)]) == [(0, 0), (0, 1)]


def test_what_lies_behind_the_span_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    found = read(monkeypatch, {0: (0, 2), 1: (0, 1)}, [record(0, 0), record(0, 1), record(0, 2)], [record(1, 0)])
    assert found == [(0, 0), (0, 1), (1, 0)]
