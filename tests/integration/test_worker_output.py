"""What comes out of a worker, and how it follows what changes around it."""

import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streamgauge.contract.load import find_contract, load_contracts
from streamgauge.errors import UserError
from streamgauge.records.avro import counts_schema, frame, parse, read_record
from streamgauge.records.registry import registry
from streamgauge.settings import CHECKOUT, Settings
from streamgauge.stores.postgres import connect
from tests.integration.expectation import assert_as_expected, expected_of
from tests.integration.own_stream import add_field, block
from tests.integration.running import (
    Running,
    events,
    now_ms,
    read_topic,
    rows_of,
    same_tops,
    schema_of,
    send_with,
    started,
    stored,
    streamgauge,
)
from tests.integration.workers import Workers, wait_for, wait_until_read

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(180)]


def test_an_idle_partition_does_not_hold_the_watermark_back(running: Running) -> None:
    running.edit(lambda d: block(d, "time").update(idleAfterSeconds=2))
    running.apply()
    contract = running.contract
    long_ago = now_ms() - 600_000
    running.send(events(contract, 1000, at=long_ago))
    running.workers.start()
    wait_until_read(contract)

    def watermarks() -> list[int]:
        return [w for (w,) in rows_of("stream_offsets", "watermark_ms", contract)]

    wait_for(lambda: min(watermarks()) > now_ms() - 30_000, "all watermarks are near now")
    assert max(watermarks()) <= now_ms() - 2000
    running.send(events(contract, 10, start=1000, at=long_ago))
    assert wait_until_read(contract).late == 10


def test_minutes_without_their_offsets_are_not_counted_again(running: Running) -> None:
    """As after a restore of one table and not of the other."""
    running.apply()
    contract = running.contract
    running.send(events(contract, 500))
    first = started(running)
    before = stored(contract)
    running.workers.stop(first)
    with connect(Settings.for_role("admin")) as connection:
        connection.execute("delete from stream_offsets where topic = %s", (contract.topic,))
    running.workers.start()
    wait_for(lambda: "both must come from the same backup" in running.workers.log(), "the worker says what is wrong")
    assert stored(contract) == before == [(500,)]


def test_enrichment_follows_the_reference_table(running: Running) -> None:
    running.apply()
    contract = running.contract
    running.send(events(contract, 100, user_id="ann"))
    started(running)
    assert stored(contract, "distinct actor_kind") == [("unknown",)]
    with connect(Settings.for_role("admin")) as connection:
        table = f"reference_{running.own.name}"
        connection.execute(f"insert into {table} values ('ann', 'human', 'acme')".encode())
    sent = 100

    def known() -> bool:
        nonlocal sent
        running.send(events(contract, 1, start=sent, user_id="ann"))
        sent += 1
        wait_until_read(contract)
        return ("human",) in stored(contract, "distinct actor_kind")

    wait_for(known, "new events are enriched", 20)
    assert stored(contract) == [(sent,)]


def test_minute_counts_on_their_topic(running: Running) -> None:
    running.apply()
    contract = running.contract
    counts_topic = contract.topic_spec.countsTopic
    assert counts_topic is not None and contract.counts_subject is not None
    started_at = now_ms() - 200_000
    running.workers.start()
    for i in range(3):
        running.send(events(contract, 500, start=i * 400, at=started_at + i * 61_000))
        wait_until_read(contract)

    def all_published() -> bool:
        return all(p == n for p, n in rows_of("stream_offsets", "published_offset, next_offset", contract))

    wait_for(all_published, "the counts topic has all that is committed")
    found = registry(Settings.for_role("admin")).latest(contract.counts_subject)
    assert found is not None
    latest: dict[bytes, dict[str, Any]] = {}
    for message in read_topic(counts_topic, contract.group):
        value = message.value() or b""
        assert value.startswith(frame(found.id))
        latest[message.key() or b""] = read_record(io.BytesIO(value[5:]), parse(counts_schema(contract)))
    columns = ("event_type", "actor_kind", "count", "late", "duplicates")
    assert sorted((r["minute"], *(r[c] for c in columns)) for r in latest.values()) == sorted(
        stored(contract, f"window_start, {', '.join(columns)}")
    )


FOURTH = """
apiVersion: v3.1.0
kind: DataContract
id: streamgauge.NAME
name: NAME
version: 1.0.0
status: active
description: { purpose: "What is paid, one record a payment." }
team: { name: payments, description: "Owns it." }
schema:
  - name: NAME
    physicalName: app-NAME
    physicalType: topic
    properties:
      - { name: payment, logicalType: string, physicalType: string, required: true, primaryKey: true,
          primaryKeyPosition: 1, classification: internal, description: "Its id.",
          logicalTypeOptions: { maxLength: 64 } }
      - { name: paid_at, logicalType: timestamp, physicalType: timestamp-millis, required: true,
          classification: public, description: "When.",
          logicalTypeOptions: { minimum: "2000-01-01T00:00:00Z" } }
      - { name: amount, logicalType: number, physicalType: double, required: true, classification: internal,
          description: "How much.", logicalTypeOptions: { minimum: 0 } }
      - { name: shop, logicalType: string, physicalType: string, required: false, classification: public,
          description: "Where.", logicalTypeOptions: { maxLength: 64 } }
slaProperties:
  - { property: freshness, value: 60, unit: s }
  - { property: retention, value: 1, unit: d }
customProperties:
  - { property: topic, value: { partitions: 2, partitionKey: payment } }
  - property: time
    value: { allowedLatenessSeconds: 60, futureToleranceSeconds: 300, duplicateHorizonSeconds: 600,
             idleAfterSeconds: 3600 }
  - { property: deadLetters, value: { limit: 1000, perSeconds: 60 } }
  - property: rollup
    value:
      dimensions: [{ name: shop, source: shop }]
      measures: [{ name: paid, source: amount, quantiles: true }]
      top: [{ name: shops, source: shop, exactKeys: 100 }]
"""


def test_a_fourth_stream_by_one_file(tmp_path: Path) -> None:
    name = f"t{os.urandom(4).hex()}"
    for file in (CHECKOUT / "platform" / "contracts").glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    streamgauge(tmp_path, "apply")
    (tmp_path / f"{name}.yaml").write_text(FOURTH.replace("NAME", name))
    streamgauge(tmp_path, "apply")
    loaded = json.loads(
        streamgauge(tmp_path, "load", name, "--events", "3000", "--duplicates", "0.1", "--bad", "0.05", "--json")
    )
    assert loaded["acknowledged"] == 3000
    contract = find_contract(load_contracts(tmp_path), name)
    with Workers([], tmp_path) as workers:
        workers.start()
        account = wait_until_read(contract)
        wait_for(lambda: same_tops(contract), "Redis has the top-N")
    assert account.acknowledged == 3000 and account.duplicates and account.dead_letters
    expected = expected_of(contract)
    assert_as_expected(contract, expected)
    start = str(min(key[0] for key in expected.minutes))
    shown = json.loads(
        streamgauge(
            tmp_path, "rollups", name, "--window", "1h", "--group-by", "shop", "--json", "--from", iso(int(start))
        )
    )
    assert sum(row["count"] for row in shown["rows"]) == expected.total("counted")
    assert {row["shop"] for row in shown["rows"]} == {key[1][0] for key in expected.minutes}


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms // 3_600_000 * 3600, UTC).isoformat()


def test_old_and_new_producers_while_the_contract_changes(running: Running) -> None:
    running.apply()
    old = running.contract
    running.send(events(old, 100))
    process = started(running)
    running.edit(lambda d: add_field(d, "colour", default="blue"))
    running.apply()
    new = running.contract

    def send(start: int) -> None:
        for contract in (old, new):
            send_with(contract, start)
            start += 100

    send(100)
    assert wait_until_read(new).counted == 300, "by a worker that knows the old version"
    running.workers.stop(process)
    send(300)
    started(running)
    send(500)
    account = wait_until_read(new)
    assert (account.counted, account.dead_letters) == (700, 0)
    assert_as_expected(new, expected_of(new, schemas=schema_of(old)))

    running.edit(lambda d: add_field(d, "size", default=None))
    with pytest.raises(UserError, match="size"):
        running.apply()
    send_with(new, 700)
    assert wait_until_read(new).counted == 800, "a refused version changes nothing"
