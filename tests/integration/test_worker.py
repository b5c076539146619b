"""Workers as they run: processes on the real servers, and what they make of a stream."""

import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from streamgauge.apply.execute import apply
from streamgauge.avro import avro_schema, frame, parse, write_record
from streamgauge.contracts import Contract
from streamgauge.kafka import consumer_config
from streamgauge.postgres import connect
from streamgauge.registry import registry
from streamgauge.settings import Settings
from streaming.producer.frame import frame_of
from streaming.producer.producer import EventProducer
from tests.integration.expectation import assert_as_expected, expected_of
from tests.integration.own_stream import Document, OwnStream, block
from tests.integration.workers import Workers, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(180)]

MINUTE_MS = 60_000
MEGABYTE = 1_000_000
LARGE = {"message.max.bytes": 2 * MEGABYTE}

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

    def send_raw(self, *records: tuple[bytes | None, bytes | None]) -> list[tuple[int, int]]:
        """Returns each record's position."""
        placed: dict[int, tuple[int, int]] = {}

        def note(index: int, message: Message) -> None:
            placed[index] = (message.partition() or 0, message.offset() or 0)

        with EventProducer(Settings.for_role("producer"), self.contract, config=LARGE) as producer:
            producer.send_records([k for k, _ in records], [v for _, v in records], note)
        return [placed[i] for i in range(len(records))]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A stream that is never idle, so that what comes of a log doesn't hang on the clock."""
    own = OwnStream(tmp_path)
    with Workers([own.name], tmp_path) as workers:
        made = Running(own, workers)
        made.edit(lambda d: block(d, "time").update(idleAfterSeconds=3600))
        yield made


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
    made, mistyped = frame_of(contract, rows)
    assert not mistyped
    return made


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


def read_topic(topic: str, group: str, wanted: int) -> list[Message]:
    """The first `wanted` records of a topic."""
    consumer = Consumer(consumer_config(Settings.for_role("admin"), group))
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
        found: list[Message] = []
        deadline = time.monotonic() + 30
        while len(found) < wanted:
            assert time.monotonic() < deadline, f"{topic} has {len(found)} records, not {wanted}"
            found += [m for m in consumer.consume(wanted, timeout=0.5) if m.error() is None]
        return found
    finally:
        consumer.close()


def header(message: Message, name: str) -> str | None:
    values = [v for k, v in message.headers() or [] if k == name]
    return values[0].decode() if values and isinstance(values[0], bytes) else None


def test_every_bad_record_is_a_dead_letter_and_no_good_one_is(running: Running) -> None:
    running.apply()
    contract = running.contract
    schema = avro_schema(contract)
    client = registry(Settings.for_role("admin"))
    own = client.lookup(contract.subject, schema)
    assert own is not None

    def other(name: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> tuple[int, dict[str, Any]]:
        """A schema of somebody else's subject."""
        made = {**schema, "fields": change([dict(f) for f in schema["fields"]])}
        return client.register(f"{contract.topic}-{name}", made), made

    without_id, without = other("without", lambda fields: [f for f in fields if f["name"] != "event_type"])
    numbered_id, numbered = other(
        "numbered", lambda fields: [{**f, "type": "long"} if f["name"] == "user_id" else f for f in fields]
    )

    def good(**change: Any) -> bytes:
        return encoded(schema, own.id, one(contract, **change))

    large = {f"k{i}": "x" * 1000 for i in range(960)}
    whole, twice = good(), one(contract)
    numeric = encoded(numbered, numbered_id, one(contract, user_id=5))
    bad: dict[str, tuple[bytes | None, str]] = {
        "truncated": (whole[:-3], "undecodable"),
        "frame cut": (whole[:3], "undecodable"),
        "trailing bytes": (whole + b"xyz", "undecodable"),
        "wrong magic": (b"\x01" + whole[1:], "undecodable"),
        "unknown schema": (b"\x00\x7f\xff\xff\x00" + whole[5:], "unknown_schema"),
        "empty": (b"", "empty"),
        "tombstone": (None, "empty"),
        "large and bad": (good(metadata=large)[:-1], "undecodable"),
        "wrong type": (numeric, "undecodable"),
        "wrong type in disguise": (frame(own.id) + numeric[5:], "undecodable"),
        "missing field": (encoded(without, without_id, one(contract)), "undecodable"),
        "negative time": (good(timestamp=-1), "contract"),
        "zero time": (good(timestamp=0), "contract"),
        "far future": (good(timestamp=32_503_680_000_000), "future"),
        "end of time": (good(timestamp=2**63 - 1), "future"),
        "no UTF-8": (good(user_id="snowman").replace(b"snowman", b"sn\xff\xfeman"), "undecodable"),
        "one rule": (good(event_type="lower"), "contract"),
    }
    running.send(events(contract, 10_000))
    fine = running.send_raw(
        (None, good()),
        (b"large", good(metadata=large)),
        (b"twice", encoded(schema, own.id, twice)),
        (b"twice", encoded(schema, own.id, {**twice, "user_id": "bob", "properties": {"size": "9"}})),
        (b"future but tolerated", good(timestamp=now_ms() + 200_000)),
    )
    placed = running.send_raw(*((name.encode(), value) for name, (value, _) in bad.items()))
    position_of = dict(zip(bad, placed, strict=True))

    running.workers.start()
    account = wait_until_read(contract)
    assert (account.counted, account.duplicates, account.late) == (10_004, 1, 0)
    assert account.dead_letters == len(bad)
    expected = expected_of(contract, schemas={without_id: without, numbered_id: numbered})
    assert [expected.verdicts[p] for p in fine] == ["counted", "counted", "counted", "duplicate", "counted"]

    with connect(Settings.for_role("reader")) as connection:
        rows = connection.execute(
            'select partition, "offset", key, value, reason from dead_letters where topic = %s', (contract.topic,)
        ).fetchall()
    held = {(p, o): (key, value, reason) for p, o, key, value, reason in rows}
    assert held == {position_of[name]: (name.encode(), value, reason) for name, (value, reason) in bad.items()}

    sent = read_topic(contract.dead_letter_topic, contract.group, len(bad))
    forwarded = {(m.key() or b"").decode(): m for m in sent}
    assert forwarded.keys() == bad.keys()
    for name, message in forwarded.items():
        partition, offset = position_of[name]
        value, reason = bad[name]
        assert message.value() == value
        assert header(message, "dead_letter_reason") == reason
        assert header(message, "dead_letter_topic") == contract.topic
        assert (header(message, "dead_letter_partition"), header(message, "dead_letter_offset")) == (
            str(partition),
            str(offset),
        )
        assert header(message, "traceparent")
    assert_as_expected(contract, expected)
