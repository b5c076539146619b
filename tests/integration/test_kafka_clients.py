"""What becomes of clients of Kafka that don't go on by themselves: they are replaced."""

import threading
import time
from collections.abc import Iterable
from contextlib import closing

import pytest

from serving.ingest import publisher as ingest
from streamgauge.records.registry import registry
from streamgauge.rollup.pseudonyms import Pseudonyms
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect
from streaming.worker.assignment import Assignment, Takeover
from streaming.worker.heartbeats import Heartbeats
from streaming.worker.pipeline import Pipeline
from streaming.worker.publisher import Publisher
from streaming.worker.reader import FetchStalled, Reader, Unassigned
from tests.integration.own_stream import block
from tests.integration.running import Running, events
from tests.integration.workers import wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(120)]

PARTITIONS = range(6)


def read(reader: Reader, seconds: float, most: int = 0, paused: Iterable[int] = ()) -> int:
    """As a session does, which looks for stalled partitions every few seconds. Ends early after `most` records, and
    returns how many they were.
    """
    count, checked = 0, time.monotonic()
    until = checked + seconds
    while time.monotonic() < until and not 0 < most <= count:
        records = reader.read()
        count += 0 if records is None else len(records.positions)
        if time.monotonic() - checked > 2:
            checked = time.monotonic()
            reader.check_stalled(set(paused))
    return count


def test_a_partition_that_is_no_longer_fetched_ends_the_session(running: Running) -> None:
    running.apply()
    contract = running.contract

    def take_over(topic_id: str, ends: dict[int, tuple[int, int]]) -> Takeover:
        at = dict.fromkeys(ends, 0)
        return Takeover(
            Assignment(Pipeline(contract, lambda _: None, Pseudonyms("a secret", contract.stream)), topic_id),
            dict(at),
            dict(at),
        )

    reader = Reader(running.own.settings("worker"), contract, take_over)
    try:
        running.send(events(contract, 3_000))
        assert read(reader, 30, most=3_000) == 3_000
        # as silent as a client that has lost its partitions
        reader._fetcher.pause(PARTITIONS)  # pyright: ignore[reportPrivateUsage]
        assert read(reader, 15) == 0, "nothing was sent, so nothing stands still"
        running.send(events(contract, 3_000, start=10_000))
        assert read(reader, 15, paused=PARTITIONS) == 0, "these stand still because they are paused"
        with pytest.raises(FetchStalled, match="nothing is fetched of partition"):
            read(reader, 30)
    finally:
        reader.close()


NOWHERE = ("STREAMGAUGE_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")


def never(topic_id: str, ends: dict[int, tuple[int, int]]) -> Takeover:
    raise AssertionError(f"no broker has said {topic_id}, {ends}")


def test_a_member_that_reaches_no_broker_ends_the_session(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.worker.reader._UNASSIGNED_SECONDS", 2.0)
    monkeypatch.setenv(*NOWHERE)
    reader = Reader(Settings.for_role("worker"), running.contract, never)
    try:
        with pytest.raises(Unassigned, match="no partitions of"):
            read(reader, 30)
    finally:
        reader.close()


def test_a_member_for_which_there_is_nothing_waits(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """More members than partitions are no fault."""
    monkeypatch.setattr("streaming.worker.reader._UNASSIGNED_SECONDS", 4.0)
    running.edit(lambda document: block(document, "topic").update(partitions=1))
    running.apply()
    contract = running.contract

    def take_over(topic_id: str, ends: dict[int, tuple[int, int]]) -> Takeover:
        at = dict.fromkeys(ends, 0)
        return Takeover(
            Assignment(Pipeline(contract, lambda _: None, Pseudonyms("a secret", contract.stream)), topic_id),
            dict(at),
            dict(at),
        )

    readers = [Reader(running.own.settings("worker"), contract, take_over) for _ in range(2)]
    try:
        until = time.monotonic() + 15
        while time.monotonic() < until:
            for reader in readers:
                reader.read()
        assert sorted(reader.assignment is None for reader in readers) == [False, True]
    finally:
        for reader in readers:
            reader.close()


def test_the_publisher_gets_another_producer(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    running.apply()
    running.send_raw((b"key", b"no Avro"))
    process = running.workers.start()
    wait_until_read(running.contract)
    running.workers.stop(process)
    with connect(Settings.for_role("admin"), autocommit=True) as connection:
        connection.execute("update dead_letters set forwarded = false where topic = %s", (running.contract.topic,))
    monkeypatch.setattr("streaming.worker.publisher.UNREACHED_SECONDS", 1.0)
    monkeypatch.setenv(*NOWHERE)
    settings, stop = Settings.for_role("worker"), threading.Event()
    with closing(registry(settings)) as client:
        publisher = Publisher(settings, running.contract, client, stop, Heartbeats())
        first = publisher._topics  # pyright: ignore[reportPrivateUsage]
        thread = threading.Thread(target=publisher.run)
        thread.start()
        try:
            wait_for(lambda: publisher._topics is not first, "its producer is another one")  # pyright: ignore[reportPrivateUsage]
        finally:
            stop.set()
            thread.join(20)


def test_the_api_gets_another_producer(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.ingest.publisher.UNREACHED_SECONDS", 1.0)
    monkeypatch.setenv(*NOWHERE)
    publisher = ingest.Publisher(Settings.for_role("api"))
    publisher.open()
    first = publisher._producer  # pyright: ignore[reportPrivateUsage]
    try:
        wait_for(lambda: publisher._producer is not first, "its producer is another one")  # pyright: ignore[reportPrivateUsage]
    finally:
        publisher.close()
