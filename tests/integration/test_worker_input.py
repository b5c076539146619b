"""What a worker makes of the records it is given, on the real servers."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from confluent_kafka import TopicPartition

from sensors import arrivals
from streamgauge.contract.model import Contract
from streamgauge.producer.producer import EventProducer
from streamgauge.records.avro import avro_schema, frame
from streamgauge.records.registry import registry
from streamgauge.settings import Settings
from streamgauge.state.accounts import Account
from streamgauge.state.arrivals import read_arrivals
from streamgauge.stores.kafka import admin_client
from streamgauge.stores.postgres import connect
from tests.integration.expectation import assert_as_expected, expected_of
from tests.integration.own_stream import block
from tests.integration.running import (
    Running,
    encoded,
    events,
    header,
    lagging,
    now_ms,
    one,
    read_topic,
    rows_of,
    started,
    stored,
    streamgauge,
)
from tests.integration.workers import wait_for, wait_until_read
from tests.oracle import java_partition

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(180)]


def test_every_bad_record_is_a_dead_letter_and_no_good_one_is(running: Running) -> None:
    running.apply()
    contract = running.contract
    schema = avro_schema(contract)
    client = registry(Settings.for_role("admin"))
    own = client.lookup(contract.subject, schema)
    assert own is not None

    def other(name: str, change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> tuple[int, dict[str, Any]]:
        """A schema of somebody else's subject."""
        built = {**schema, "fields": change([dict(f) for f in schema["fields"]])}
        return client.register(f"{contract.topic}-{name}", built), built

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
        "end of time": (good(timestamp=2**63 - 1), "contract"),
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

    with connect(Settings.for_role("admin")) as connection:
        rows = connection.execute(
            'select partition, "offset", key, value, reason from dead_letters where topic = %s', (contract.topic,)
        ).fetchall()
    held = {(p, o): (key, value, reason) for p, o, key, value, reason in rows}
    assert held == {position_of[name]: (name.encode(), value, reason) for name, (value, reason) in bad.items()}

    wait_for(lambda: all(f for (f,) in rows_of("dead_letters", "forwarded", contract)), "they are on their topic")
    sent = read_topic(contract.dead_letter_topic, contract.group)
    forwarded = {(m.key() or b"").decode(): m for m in sent}
    assert forwarded.keys() == bad.keys()
    for name, message in forwarded.items():
        value, reason = bad[name]
        assert message.value() == value
        assert header(message, "dead_letter_reason") == reason
        place = [header(message, f"dead_letter_{part}") for part in ("topic", "partition", "offset")]
        assert place == [contract.topic, *map(str, position_of[name])]
        assert header(message, "traceparent") == "00-1-2-01"
    assert_as_expected(contract, expected)


def test_more_dead_letters_than_the_limit_pause_their_partition_only(running: Running) -> None:
    running.edit(lambda d: block(d, "deadLetters").update(limit=20, perSeconds=600))
    running.apply()
    contract = running.contract
    with EventProducer(Settings.for_role("producer"), contract) as producer:
        (good,) = producer.encode(events(contract, 1, start=5000))
    ((partition, first_bad), *_) = running.send_raw(*[(b"one key", b"bad")] * 30, (b"one key", good))
    running.send(events(contract, 5000))
    running.workers.start()

    wait_for(lambda: rows_of("stream_pauses", "partition", contract) == [(partition,)], "a partition is paused")
    wait_for(
        lambda: all(p == partition for (p,) in lagging(contract)),
        "the other partitions are read to their end",
    )
    assert rows_of("dead_letters", "count(*) over ()", contract)[0] == (20,)
    ((_, stands),) = [r for r in rows_of("stream_offsets", "partition, next_offset", contract) if r[0] == partition]
    assert stands == first_bad + 20
    assert f"partition {partition} is paused: more than 20 dead letters in 600 s" in running.workers.log()

    restarted = running.workers.start()
    wait_for(lambda: running.workers.log().count("is paused") > 1, "another worker finds it paused")
    running.workers.stop(restarted)
    streamgauge(running.own.folder, "resume", contract.stream)
    account = wait_until_read(contract)
    assert (account.counted, account.dead_letters) == (5001, 30)
    assert_as_expected(contract, expected_of(contract))


def test_late_duplicate_and_future_events(running: Running) -> None:
    running.edit(lambda d: block(d, "topic").update(partitions=1))
    running.apply()
    contract = running.contract
    schema = avro_schema(contract)
    own = registry(Settings.for_role("admin")).lookup(contract.subject, schema)
    assert own is not None
    now = now_ms()
    sent = [
        ("a", now - 1000, "counted"),
        ("a", now - 1000, "duplicate"),
        ("b", now - 1000 - contract.lateness_ms, "counted"),
        ("c", now - 1001 - contract.lateness_ms, "late"),
        ("c", now, "duplicate"),
        ("d", now - 1000 - contract.lateness_ms, "late"),
        ("e", now + contract.time.futureToleranceSeconds * 1000 + 60_000, "future"),
        ("e", now, "counted"),
        ("f", now - contract.lateness_ms, "counted"),
    ]
    placed = running.send_raw(
        *((i.encode(), encoded(schema, own.id, one(contract, event_id=i, timestamp=at))) for i, at, _ in sent)
    )
    started(running)
    expected = expected_of(contract)
    assert [expected.verdicts[p] for p in placed] == [verdict for _, _, verdict in sent]
    assert_as_expected(contract, expected)
    sums = "sum(count)::bigint, sum(late)::bigint, sum(duplicates)::bigint"
    assert stored(contract, sums) == [(4, 2, 2)]


def test_a_clock_that_is_ahead_makes_nobody_late(running: Running) -> None:
    running.edit(lambda d: block(d, "topic").update(partitions=1))
    running.apply()
    contract = running.contract
    tolerated = contract.time.futureToleranceSeconds * 1000
    (ahead,) = running.send_raw(
        (b"ahead", encoded_one(running, timestamp=now_ms() + tolerated - 500)), producer="fast:1"
    )
    running.send(events(contract, 2_000))
    account = wait_until_read_by_new_worker(running)
    assert (account.counted, account.late) == (2_001, 0)
    assert account.watermark is not None
    assert account.watermark.timestamp() * 1000 <= now_ms()
    assert_as_expected(contract, expected_of(contract))
    assert arrived(contract, "ahead") == [Noted(1, ahead[1], ahead[1], ("fast:1",))]
    assert arrived(contract, "all") == [Noted(2_001, 0, 2_000, ())]
    reported = alerts_of(contract)
    assert reported == {
        "StreamgaugeProducerAhead": f"Partition 0: 1 of 2,001, offsets {ahead[1]} to {ahead[1]}, sent by fast:1."
    }


def test_late_events_and_those_in_other_partitions_are_reported_with_their_producers(running: Running) -> None:
    running.edit(lambda d: block(d, "topic").update(partitions=2))
    running.apply()
    contract = running.contract
    running.send(events(contract, 500))
    slow = now_ms() - contract.lateness_ms - 600_000
    late = [(f"l{i}".encode(), encoded_one(running, timestamp=slow)) for i in range(200)]
    running.send_raw(*late, producer="slow:1")
    names = [f"c{i}".encode() for i in range(50)]
    by_crc = [(name, encoded_one(running, event_id=name.decode())) for name in names]
    placed = running.send_raw(*by_crc, producer="crc:1", partitioner="consistent_random")
    away = [at for name, at in zip(names, placed, strict=True) if java_partition(name, 2) != at[0]]
    assert away
    account = wait_until_read_by_new_worker(running)
    assert (account.counted, account.late) == (550, 200)

    found = arrived(contract, "misplaced")
    assert sum(t.records for t in found) == len(away)
    assert {offset for t in found for offset in (t.first, t.last)} <= {offset for _, offset in away}
    assert all(t.producers == ("crc:1",) for t in found)
    found = arrived(contract, "late")
    assert sum(t.records for t in found) == 200
    assert all(t.producers == ("slow:1",) for t in found)
    assert alerts_of(contract).keys() == {"StreamgaugeManyLate", "StreamgaugeRecordsMisplaced"}


def encoded_one(running: Running, **change: Any) -> bytes:
    schema = avro_schema(running.contract)
    own = registry(Settings.for_role("admin")).lookup(running.contract.subject, schema)
    assert own is not None
    return encoded(schema, own.id, one(running.contract, **change))


def wait_until_read_by_new_worker(running: Running) -> Account:
    running.workers.start()
    return wait_until_read(running.contract)


@dataclass(frozen=True)
class Noted:
    records: int
    first: int
    last: int
    producers: tuple[str, ...]


def arrived(contract: Contract, kind: str) -> list[Noted]:
    """By partition."""
    with connect(Settings.for_role("batch")) as connection:
        found = read_arrivals(connection, [contract.topic], datetime.now(UTC) - timedelta(hours=1))
    return [
        Noted(a.records, a.first_offset, a.last_offset, a.producers) for a in found[contract.topic] if a.kind == kind
    ]


def alerts_of(contract: Contract) -> dict[str, str]:
    with connect(Settings.for_role("batch")) as connection:
        now = datetime.now(UTC)
        found = arrivals.alerts([contract], arrivals.read_arrived(connection, [contract], now), now)
    return {p.name: p.description for p in found}


def test_records_that_the_log_no_longer_has(running: Running) -> None:
    running.edit(lambda d: block(d, "topic").update(partitions=2))
    running.apply()
    contract = running.contract
    running.send(events(contract, 1000))
    running.workers.stop(started(running))
    known = dict(rows_of("stream_offsets", "partition, next_offset", contract))
    running.send(events(contract, 1000, start=1000))
    first_kept = known[0] + 100
    admin: Any = admin_client(Settings.for_role("admin"))
    for future in admin.delete_records([TopicPartition(contract.topic, 0, first_kept)]).values():
        future.result(20)

    running.workers.start()
    account = wait_until_read(contract)
    assert (account.counted, account.lost) == (1900, 100)
    assert rows_of("stream_gaps", "partition, from_offset, to_offset", contract) == [(0, known[0], first_kept)]
    assert [line for line in running.workers.log().splitlines() if "ERROR" in line and "no longer" in line]
    assert stored(contract) == [(1900,)]


def test_no_schema_in_the_registry_stops_a_stream(running: Running) -> None:
    """All that a registry takes: no records, other formats, and Avro that is not this contract's."""
    running.apply()
    contract = running.contract
    schema = avro_schema(contract)
    client = registry(Settings.for_role("admin"))
    own = client.lookup(contract.subject, schema)
    assert own is not None

    def union(f: dict[str, Any]) -> dict[str, Any]:
        return {**f, "type": ["string", "long"]} if f["name"] == "user_id" else f

    odd: dict[str, dict[str, str]] = {
        "a string": {"schema": '{"type": "string"}'},
        "a union": {"schema": json.dumps(["null", schema])},
        "an enum": {"schema": json.dumps({"type": "enum", "name": "E", "symbols": ["A"]})},
        "a union field": {"schema": json.dumps({**schema, "fields": [union(f) for f in schema["fields"]]})},
        "Protobuf": {"schema": 'syntax = "proto3"; message R { string a = 1; }', "schemaType": "PROTOBUF"},
        "JSON Schema": {
            "schema": '{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}',
            "schemaType": "JSON",
        },
    }
    ids: dict[str, int] = {}
    for name, body in odd.items():
        url = f"{Settings.for_role('admin').registry_url}/subjects/{contract.topic}-{name.replace(' ', '-')}/versions"
        answer = httpx.post(url, json={"schemaType": "AVRO", **body}, timeout=10)
        assert answer.is_success, f"{name}: {answer.text}"
        ids[name] = answer.json()["id"]
    ids |= {"id zero": 0, "id beyond all": 2**32 - 1}
    whole = encoded(schema, own.id, one(contract))
    running.send_raw((b"first", whole))
    running.send_raw(*((name.encode(), frame(schema_id) + whole[5:]) for name, schema_id in ids.items()))
    running.send_raw((b"last", encoded(schema, own.id, one(contract))))
    running.workers.start()
    account = wait_until_read(contract)
    assert (account.counted, account.dead_letters) == (2, len(ids))
    with connect(Settings.for_role("admin")) as connection:
        rows = connection.execute("select key, detail from dead_letters where topic = %s", (contract.topic,)).fetchall()
    assert {key.decode() for key, _ in rows} == ids.keys()
    assert all("schema" in detail for _, detail in rows)
    assert "session ended" not in running.workers.log()
