"""Spans of a log are read whole, however the consumer mixes records with news of a partition's end."""

from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition

from streamgauge import log_spans
from streamgauge.contracts import find_contract, load_contracts
from streamgauge.log_spans import LogSpans
from streamgauge.settings import CHECKOUT

CONTRACT = find_contract(load_contracts(CHECKOUT / "platform" / "contracts"), "user_events")


def record(partition: int, offset: int) -> Message:
    return Message(topic=CONTRACT.topic, partition=partition, offset=offset, value=b"x", timestamp=(2, 1000 + offset))


def end(partition: int, offset: int) -> Message:
    error = KafkaError(KafkaError._PARTITION_EOF)  # pyright: ignore[reportPrivateUsage]
    return Message(topic=CONTRACT.topic, partition=partition, offset=offset, error=error)


class Told:
    """A consumer that gives these batches, and then nothing."""

    def __init__(self, batches: Sequence[list[Message]]) -> None:
        self._batches = list(batches)
        self.left: list[int] = []

    def consume(self, count: int, seconds: float) -> list[Message]:
        assert self._batches, "it reads on though it has all"
        return self._batches.pop(0)

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self.left += [p.partition for p in partitions]

    def assign(self, partitions: list[TopicPartition]) -> None: ...
    def unassign(self) -> None: ...


def read(monkeypatch: pytest.MonkeyPatch, spans: dict[int, tuple[int, int]], *batches: list[Message]) -> list[Any]:
    told = Told(batches)

    def consumer(config: dict[str, Any]) -> Told:
        return told

    def config(settings: Any, group: str) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(log_spans, "Consumer", consumer)
    monkeypatch.setattr(log_spans, "consumer_config", config)
    settings: Any = None
    found: list[Any] = []
    for records in LogSpans(settings, CONTRACT).read(spans):
        found += zip(records.partitions.tolist(), records.offsets.tolist(), strict=True)
    assert sorted(told.left) == sorted(p for p, (first, last) in spans.items() if first < last)
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
