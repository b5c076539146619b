"""The producer, replay and load on the real servers."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Message
from typer import Typer
from typer.testing import CliRunner

from streamgauge.apply.execute import apply
from streamgauge.contract.model import Contract
from streamgauge.errors import UserError
from streamgauge.producer.frame import Broken, frame_of
from streamgauge.producer.producer import EventProducer
from streamgauge.producer.sender import NotDelivered
from streamgauge.records.avro import avro_schema
from streamgauge.settings import PREFIX, Settings
from streamgauge.stack.control import Stack
from streamgauge.state.accounts import log_offsets
from streamgauge.stores.kafka import admin_client
from streaming.cli.load import load as load_command
from streaming.cli.replay import replay as replay_command
from streaming.ledger import Ledger, read_ledger
from streaming.load.generate import Shape
from streaming.load.load import Plan, load
from streaming.replay.replay import replay_files
from tests.integration import running as own_running
from tests.integration.breaking_off import logins_break_off
from tests.integration.log import read_log
from tests.integration.own_stream import OwnStream
from tests.integration.running import Running
from tests.integration.workers import wait_for, wait_until_read
from tests.oracle import LogRecord, from_ledger, java_partition, play


@pytest.fixture
def stream(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnStream:
    folder = tmp_path / "contracts"
    folder.mkdir()
    built = OwnStream(folder)
    apply(built.settings(), (built.contract,))
    monkeypatch.setenv("STREAMGAUGE_CONTRACTS_DIR", str(folder))
    return built


def events(contract: Contract, n: int, **other: Any) -> pl.DataFrame:
    rows = [
        {
            "event_id": f"e{i}",
            "user_id": "ann",
            "event_type": "PushEvent",
            "timestamp": 1_700_000_000_000 + i,
            "properties": {"size": "1"},
            "metadata": {},
            **other,
        }
        for i in range(n)
    ]
    frame, mistyped = frame_of(contract, rows)
    assert not mistyped
    return frame


def headers(message: Message) -> dict[str, str]:
    return {k: v.decode() for k, v in message.headers() or [] if isinstance(v, bytes)}


def plan(events: int, rate: float | None = None) -> Plan:
    return Plan(events, rate, time.time_ns() // 1_000_000, seed=1)


def producer(settings: Settings, contract: Contract, **config: Any) -> EventProducer:
    return EventProducer(settings, contract, config=config)


def test_a_record_has_its_key_its_schema_and_its_headers(stream: OwnStream) -> None:
    contract, settings = stream.contract, stream.settings("producer")
    reported: list[int] = []
    with EventProducer(settings, contract, correlation_id="order-1", on_progress=reported.append) as sender:
        assert sender.send(events(contract, 100)) == []
    assert sender.deliveries.acknowledged.total() == sum(reported) == 100
    assert not sender.deliveries.outstanding
    log = read_log(stream.settings("worker"), contract)
    assert {m.key() for m in log} == {f"e{i}".encode() for i in range(100)}
    assert len({m.partition() for m in log}) == contract.topic_spec.partitions
    for message in log:
        found = headers(message)
        assert found["correlation_id"] == "order-1"
        assert found["producer"] == f"{socket.gethostname()}:{os.getpid()}"
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[02]", found["traceparent"])
    records = [LogRecord(m.partition() or 0, m.offset() or 0, m.value(), m.timestamp()[1]) for m in log]
    assert play(contract, records, {sender.schema_id: avro_schema(contract)}).total("counted") == 100


def test_a_key_goes_where_the_java_clients_send_it(stream: OwnStream) -> None:
    contract = stream.contract
    with producer(stream.settings("producer"), contract) as sender:
        sender.send(events(contract, 3))
    placed = {m.key(): m.partition() for m in read_log(stream.settings("worker"), contract)}
    assert placed == {key: java_partition(key, 6) for key in (b"e0", b"e1", b"e2")}


def test_what_breaks_the_contract_is_returned_and_not_sent(stream: OwnStream) -> None:
    contract = stream.contract
    mixed = pl.concat((events(contract, 2), events(contract, 1, event_type="lower"), events(contract, 1)))
    with producer(stream.settings("producer"), contract) as sender:
        assert sender.send(mixed) == [Broken(2, "event_type: doesn't match ^[A-Z][A-Za-z0-9]*$")]
    assert sender.deliveries.acknowledged.total() == 3
    assert len(read_log(stream.settings("worker"), contract)) == 3


def test_a_full_queue_waits_and_loses_nothing(stream: OwnStream) -> None:
    contract, ledger = stream.contract, Ledger()
    config = {"queue.buffering.max.messages": 50, "batch.num.messages": 20}
    shape = Shape(duplicates=0.1, late=0.05, bad=0.05)
    result = load(stream.settings("producer"), contract, plan(5000), shape, ledger=ledger, config=config)
    assert result.deliveries.acknowledged.total() == result.deliveries.sent == 5000

    log = read_log(stream.settings("worker"), contract)
    book = ledger.frame()
    in_log = [(m.partition(), m.offset(), m.key(), m.value(), m.timestamp()[1]) for m in log]
    assert in_log == book.select("partition", "offset", "key", "value", "ingest_ms").rows()


def test_broker_away_and_back(stream: OwnStream, stack: Stack) -> None:
    contract, ledger, count = stream.contract, Ledger(), 20_000
    failures: list[BaseException] = []

    def send() -> None:
        try:
            load(stream.settings("producer"), contract, plan(count, rate=4000), Shape(), ledger=ledger)
        except BaseException as e:
            failures.append(e)

    thread = threading.Thread(target=send)
    thread.start()
    admin = admin_client(stream.settings("admin"))
    wait_for(lambda: sum(end for _, end in log_offsets(admin, contract).values()) > 1000, "some are in the log")
    stack.stop_program("kafka")
    time.sleep(1)  # it is away for longer than a reconnection takes
    stack.start_program("kafka")
    thread.join(120)
    assert not thread.is_alive() and not failures

    log = read_log(stream.settings("worker"), contract)
    assert len(log) == len({m.key() for m in log}) == count
    book = ledger.frame()
    assert [(m.partition(), m.offset(), m.key()) for m in log] == book.select("partition", "offset", "key").rows()


def test_a_login_that_breaks_off_is_not_a_refused_one(stream: OwnStream) -> None:
    settings = stream.settings("producer")
    with logins_break_off(settings.kafka_bootstrap_servers, 3) as (address, cut):
        with producer(settings, stream.contract, **{"bootstrap.servers": address}) as sender:
            sender.send(events(stream.contract, 10))
        assert len(cut) == 3 and sender.deliveries.acknowledged.total() == 10


def test_a_contract_that_was_never_applied(stream: OwnStream) -> None:
    with pytest.raises(UserError, match="no schema for other") as raised:
        producer(stream.settings("producer"), replace(stream.contract, stream="other", topic="app-other"))
    assert raised.value.hint == "run streamgauge apply"


def test_a_record_larger_than_the_topic_allows(stream: OwnStream) -> None:
    contract = stream.contract
    with pytest.raises(NotDelivered, match=r"(?i)too large"), producer(stream.settings("producer"), contract) as sender:
        sender.send(events(contract, 1, metadata={"a": "x" * 3_000_000}))


def test_nothing_answers_at_the_brokers_address(stream: OwnStream) -> None:
    config = {"bootstrap.servers": "127.0.0.1:1", "delivery.timeout.ms": 1500, "request.timeout.ms": 1000}
    sender = producer(stream.settings("producer"), stream.contract, **config)
    with pytest.raises(NotDelivered, match=r"10 records: .*timed out"), sender:
        sender.send(events(stream.contract, 10))
    assert sender.deliveries.failed.total() == 10 and not sender.deliveries.outstanding


def test_flush_has_an_end(stream: OwnStream) -> None:
    sender = producer(stream.settings("producer"), stream.contract, **{"bootstrap.servers": "127.0.0.1:1"})
    with pytest.raises(NotDelivered, match="10 records not acknowledged in time"), sender:
        sender.send(events(stream.contract, 10))
        sender.flush(0.5)


def test_a_refused_login_is_reported_at_once(stream: OwnStream) -> None:
    began = time.monotonic()
    sender = producer(stream.settings("producer"), stream.contract, **{"sasl.password": "wrong"})
    with pytest.raises(NotDelivered, match=r"(?i)authentication"), sender:
        sender.send(events(stream.contract, 10))
    assert time.monotonic() - began < 30


def write_mapping(stream: OwnStream, folder: Path) -> Path:
    mapping = folder / "mapping.yaml"
    mapping.write_text(
        f"{{stream: {stream.name}, files: x, fields: {{event_id: {{template: 'row-{{row}}'}}, user_id: {{from: who}},"
        " event_type: {const: Seen}, timestamp: {from: at, time: seconds}, properties: {entries: {}},"
        " metadata: {entries: {}}}}"
    )
    return mapping


def run(command: Any, *arguments: object) -> Any:
    app = Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    if result.exception is not None:
        raise result.exception
    return json.loads(result.stdout)


def test_replay_and_load_on_the_command_line(stream: OwnStream, tmp_path: Path) -> None:
    mapping, data = write_mapping(stream, tmp_path), tmp_path / "data.jsonl"
    data.write_text(
        '{"who": "ann", "at": 1700000020}\n{"who": "bob", "at": 1700000010}\n{"who": null, "at": 1700000030}\n'
    )
    with pytest.raises(UserError, match=r"1 bad line: line 3: user_id: missing"):
        run(replay_command, data, "--mapping", mapping)
    end = "2026-01-31T12:00:00+00:00"
    (replayed,) = run(replay_command, data, "--mapping", mapping, "--skip-bad", "--end", end)
    assert (replayed["sent"], replayed["acknowledged"], replayed["last"]) == (2, 2, end)
    assert replayed["bad_lines"] == [{"line": 3, "reason": "user_id: missing"}]

    book = tmp_path / "ledger.parquet"
    loaded = run(load_command, stream.name, "--rate", 2000, "--seconds", 0.5, "--bad", 0.1, "--ledger", book)
    assert loaded["acknowledged"] == sum(loaded["partitions"].values()) == 1000
    assert loaded["latency_p95"] < 5
    assert len(from_ledger(read_ledger(book))) == 1000
    assert len(read_log(stream.settings("worker"), stream.contract)) == 1002


def test_replay_says_what_will_be_late_and_what_was(running: Running, tmp_path: Path) -> None:
    contract = running.contract
    running.apply()
    running.workers.start()
    running.send(own_running.events(contract, 200))
    wait_until_read(contract)
    folder = tmp_path / "data"
    folder.mkdir()
    data = folder / "old.jsonl"
    data.write_text("".join(f'{{"who": "u{i}", "at": {1_700_000_000 + i}}}\n' for i in range(50)))
    mapping = write_mapping(running.own, folder)
    contracts = {f"{PREFIX}CONTRACTS_DIR": str(running.own.folder)}
    command = [sys.executable, "-m", "streamgauge.cli", "replay", str(data), "--mapping", str(mapping)]
    ran = subprocess.run(
        [*command, "--end", "original"], env={**os.environ, **contracts}, capture_output=True, text=True, check=True
    )
    before = " ".join(ran.stderr.split())
    assert "50 of 50 events will be late" in before and "50 of 50 events can never be final" in before
    (became,) = [line.split() for line in ran.stdout.splitlines() if line.startswith(contract.stream)]
    assert became[1:] == ["0", "50", "0", "0", "0"]
    assert "not in the minutes" in ran.stdout


def test_replayed_again_as_new_events_all_of_them_count(running: Running, tmp_path: Path) -> None:
    contract = running.contract
    running.apply()
    running.workers.start()
    folder = tmp_path / "data"
    folder.mkdir()
    data = folder / "data.jsonl"
    data.write_text("".join(f'{{"who": "u{i}", "at": {1_700_000_000 + i}}}\n' for i in range(600)))
    mapping = write_mapping(running.own, folder)
    counted = 0
    for again in (False, True, True):
        known = wait_until_read(contract)
        settings = Settings.for_role("producer").model_copy(update={"contracts_dir": running.own.folder})
        (sent,) = replay_files(
            settings, [data], mapping=mapping, end=datetime.now(UTC), fresh_ids=again, on_time_only=again,
            watermarks={contract.stream: known.watermark},
        )  # fmt: skip
        assert sent.sent == 600 if not again else 0 < sent.sent < 300
        counted += sent.sent
        books = wait_until_read(contract)
        assert (books.counted, books.late, books.duplicates) == (counted, 0, 0)


def test_a_paced_replay_ends_at_ctrl_c(stream: OwnStream, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("\n".join(json.dumps({"who": "ann", "at": 1_700_000_000 + i}) for i in range(1000)))
    command = [sys.executable, "-m", "streamgauge.cli", "replay", str(data), "--speed", "1"]
    process = subprocess.Popen([*command, "--mapping", str(write_mapping(stream, tmp_path))])
    try:
        settings, deadline = stream.settings("worker"), time.monotonic() + 30
        while not read_log(settings, stream.contract):
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    finally:
        process.kill()
