"""A stream of a test's own with its workers, and what the tests look at."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from streamgauge.apply.execute import apply
from streamgauge.contract.model import Contract
from streamgauge.producer.frame import frame_of
from streamgauge.producer.producer import EventProducer, find_schema_id
from streamgauge.records.avro import avro_schema, frame, parse, write_record
from streamgauge.rollup.tops import from_postgres, from_redis
from streamgauge.settings import PREFIX, Settings
from streamgauge.state.accounts import log_offsets
from streamgauge.stores.kafka import admin_client, consumer_config, producer_config
from streamgauge.stores.postgres import connect
from streamgauge.stores.redis import redis_client
from tests.integration.own_stream import Document, OwnStream
from tests.integration.workers import Workers, wait_until_read

MEGABYTE = 1_000_000
_LARGE = {"message.max.bytes": 2 * MEGABYTE}

Edit = Callable[[Document], None]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Running:
    """A stream of the test's own, and workers for it."""

    own: OwnStream
    workers: Workers

    @property
    def contract(self) -> Contract:
        return self.own.contract

    def edit(self, change: Edit) -> None:
        document = self.own.document()
        change(document)
        self.own.write(document)

    def apply(self) -> None:
        apply(self.own.settings(), (self.contract,))

    def send(self, events: pl.DataFrame) -> None:
        with EventProducer(Settings.for_role("producer"), self.contract) as producer:
            assert not producer.send(events)

    def send_raw(
        self,
        *records: tuple[bytes | None, bytes | None],
        producer: str = "raw",
        partitioner: str = "murmur2_random",
        traceparent: str = "00-1-2-01",
    ) -> list[tuple[int, int]]:
        """Returns each record's position. `producer` and `traceparent` are in their headers."""
        config = producer_config(Settings.for_role("producer"))
        client = Producer({**config, **_LARGE, "partitioner": partitioner})
        headers: list[tuple[str, str | bytes | None]] = [("traceparent", traceparent), ("producer", producer)]
        placed: list[tuple[int, int]] = []

        def note(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            placed.append((message.partition() or 0, message.offset() or 0))

        for key, value in records:
            client.produce(self.contract.topic, value, key, on_delivery=note, headers=headers)
            assert client.flush(20) == 0
        return placed


def events(contract: Contract, n: int, *, start: int = 0, at: int | None = None, **other: Any) -> pl.DataFrame:
    """Events `e<start>` onwards, a hundredth of a second apart, ending at `at` (now)."""
    last = now_ms() if at is None else at
    rows: list[dict[str, Any]] = [
        {
            "event_id": f"e{i}",
            "user_id": f"u{i % 50}",
            "event_type": ("PushEvent", "ForkEvent")[i % 2],
            "timestamp": last - (start + n - i) * 10,
            "properties": {"size": str(i % 7)},
            "metadata": {},
            **other,
        }
        for i in range(start, start + n)
    ]
    built, mistyped = frame_of(contract, rows)
    assert not mistyped
    return built


def one(contract: Contract, **other: Any) -> dict[str, Any]:
    """An event as fastavro takes it."""
    return {
        "event_id": os.urandom(8).hex(),
        "user_id": "ann",
        "event_type": "PushEvent",
        "timestamp": now_ms(),
        "properties": {"size": "2"},
        "metadata": {},
        "schema_version": 1,
        **other,
    }


def encoded(schema: dict[str, Any], schema_id: int, event: dict[str, Any]) -> bytes:
    body = io.BytesIO()
    body.write(frame(schema_id))
    write_record(body, parse(schema), event)
    return body.getvalue()


def read_topic(topic: str, group: str) -> list[Message]:
    """All that is in a topic now, by partition and offset."""
    consumer = Consumer(consumer_config(Settings.for_role("admin"), group))
    try:
        partitions = [
            TopicPartition(topic, p) for p in consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ]
        ends = [consumer.get_watermark_offsets(p, timeout=10) for p in partitions]
        consumer.assign([TopicPartition(topic, p.partition, low) for p, (low, _) in zip(partitions, ends, strict=True)])
        wanted = sum(high - low for low, high in ends)
        found: list[Message] = []
        while len(found) < wanted:
            batch = consumer.consume(1000, timeout=10)
            assert batch, f"{wanted - len(found)} records of {topic} don't arrive"
            found += batch
    finally:
        consumer.close()
    return sorted(found, key=lambda m: (m.partition() or 0, m.offset() or 0))


def header(message: Message, name: str) -> str | None:
    values = [v for k, v in message.headers() or [] if k == name]
    return values[0].decode() if values and isinstance(values[0], bytes) else None


def stored(contract: Contract, columns: str = "sum(count)::bigint") -> list[tuple[Any, ...]]:
    """From the contract's view of minutes."""
    with connect(Settings.for_role("admin")) as connection:
        query = f'select {columns} from "{contract.stream}_1m"'
        return connection.execute(query.encode()).fetchall()


def rows_of(table: str, columns: str, contract: Contract) -> list[tuple[Any, ...]]:
    """Of one of the tables that all streams share."""
    with connect(Settings.for_role("admin")) as connection:
        query = f"select {columns} from {table} where topic = %s order by partition"
        return connection.execute(query.encode(), (contract.topic,)).fetchall()


def lagging(contract: Contract) -> list[tuple[int]]:
    """The partitions that are not read to their end."""
    ends = log_offsets(admin_client(Settings.for_role("admin")), contract)
    known = dict(rows_of("stream_offsets", "partition, next_offset", contract))
    return [(p,) for p, (_, end) in ends.items() if known.get(p, 0) < end]


def started(running: Running) -> Any:
    """A worker that has read all there is."""
    process = running.workers.start()
    wait_until_read(running.contract)
    return process


def send_with(contract: Contract, start: int) -> None:
    with EventProducer(Settings.for_role("producer"), contract) as producer:
        assert not producer.send(events(contract, 100, start=start))


def schema_of(contract: Contract) -> dict[int, dict[str, Any]]:
    return {find_schema_id(Settings.for_role("producer"), contract): avro_schema(contract)}


def streamgauge(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "streamgauge.cli", *arguments],
        env={**os.environ, f"{PREFIX}CONTRACTS_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def same_tops(contract: Contract) -> bool:
    """Redis has every top-N of every window, equal to what Postgres gives."""
    redis = redis_client(Settings.for_role("admin"))
    for window in ("1m", "5m", "1h"):
        held = from_redis(redis, contract, window, 20)
        if held is None:
            return False
        with connect(Settings.for_role("admin")) as connection:
            wanted = from_postgres(connection, contract, window, 20)
        if [replace(a, source="postgres") for a in held] != wanted:
            return False
    return True
