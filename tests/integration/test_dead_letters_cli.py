"""`streamgauge dead-letters` on the real servers."""

import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from typer.testing import CliRunner, Result

from streamgauge.apply.execute import apply
from streamgauge.cli.dead_letters import app
from streamgauge.errors import UserError
from streamgauge.stores.kafka import consumer_config
from streamgauge.stores.postgres import connect
from tests.integration.own_stream import OwnStream

pytestmark = pytest.mark.usefixtures("stack")

VALUE = b"\x00\x00\x00\x00\x07\xff\xfesecret"
HEADERS = [("traceparent", b"00-abc"), ("empty", None)]


@pytest.fixture
def stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnStream:
    built = OwnStream(tmp_path)
    apply(built.settings(), (built.contract,))
    monkeypatch.setenv("STREAMGAUGE_CONTRACTS_DIR", str(tmp_path))
    return built


def store(
    stream: OwnStream, offset: int, reason: str = "undecodable", key: bytes | None = b"k", value: bytes | None = VALUE
) -> str:
    """A dead letter as the worker writes it; returns its position."""
    with connect(stream.settings("worker")) as connection:
        connection.execute(
            'INSERT INTO dead_letters (topic, partition, "offset", stream, reason, detail, key, value, header_names,'
            " header_values, ingest_time) VALUES (%s, 2, %s, %s, %s, 'field x', %s, %s, %s, %s, now())",
            (
                stream.contract.topic,
                offset,
                stream.name,
                reason,
                key,
                value,
                [n for n, _ in HEADERS],
                [v for _, v in HEADERS],
            ),
        )
    return f"{stream.contract.topic}/2/{offset}"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def text(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def records(stream: OwnStream) -> list[Any]:
    """Everything in the stream's topic."""
    settings = {**consumer_config(stream.settings("batch"), "unused"), "enable.partition.eof": True}
    consumer = Consumer(settings)
    try:
        partitions = range(stream.contract.topic_spec.partitions)
        consumer.assign([TopicPartition(stream.contract.topic, p, 0) for p in partitions])
        found: list[Any] = []
        ended = 0
        while ended < len(partitions):
            for record in consumer.consume(100, timeout=0.3):
                if record.error():
                    ended += 1
                else:
                    found.append(record)
        return found
    finally:
        consumer.close()


def test_list_counts_by_reason_and_names_positions(stream: OwnStream) -> None:
    at = store(stream, 1)
    store(stream, 2)
    store(stream, 3, reason="contract")
    listed = json.loads(text("list", "--stream", stream.name, "--json"))
    assert [(c["reason"], c["count"], c["requeued"]) for c in listed["counts"]] == [
        ("undecodable", 2, 0),
        ("contract", 1, 0),
    ]
    assert at in {d["position"] for d in listed["latest"]}
    assert len(listed["latest"]) == 3
    only = json.loads(text("list", "--stream", stream.name, "--reason", "contract", "--json"))
    assert [d["reason"] for d in only["latest"]] == ["contract"]


def test_a_payload_is_shown_only_when_asked_for(stream: OwnStream) -> None:
    at = store(stream, 1)
    shown = text("show", at)
    assert "undecodable" in shown
    assert "field x" in shown
    assert "secret" not in shown
    assert "abc" not in shown
    assert "secret" not in text("list", "--stream", stream.name)
    whole = text("show", at, "--payload")
    assert "00000000  00 00 00 00 07 ff fe 73 65 63 72 65 74" in whole
    assert ".......secret" in whole
    assert "00-abc" in whole


def test_a_requeued_record_is_the_same_but_for_one_header(stream: OwnStream) -> None:
    at = store(stream, 1)
    store(stream, 2)
    assert "1 dead letter requeued" in text("requeue", at)
    (record,) = records(stream)
    assert (record.key(), record.value()) == (b"k", VALUE)
    assert record.headers() == [*HEADERS, ("streamgauge-requeued-from", at.encode())]


def test_requeue_does_nothing_the_second_time_unless_told(stream: OwnStream) -> None:
    store(stream, 1)
    store(stream, 2, reason="contract")
    assert "1 dead letter requeued" in text("requeue", "--stream", stream.name, "--reason", "contract")
    assert "1 dead letter requeued" in text("requeue", "--stream", stream.name)
    assert "Nothing to requeue" in text("requeue", "--stream", stream.name)
    assert len(records(stream)) == 2
    assert "2 dead letters requeued" in text("requeue", "--stream", stream.name, "--again")
    assert len(records(stream)) == 4
    listed = json.loads(text("list", "--stream", stream.name, "--json"))
    assert [c["requeued"] for c in listed["counts"]] == [1, 1]


def test_records_without_key_or_value_can_be_requeued(stream: OwnStream) -> None:
    at = store(stream, 1, key=None, value=None)
    assert "no key, no value" in text("show", at)
    text("requeue", at)
    (record,) = records(stream)
    assert (record.key(), record.value()) == (None, None)


def test_more_than_one_batch_is_requeued_whole(stream: OwnStream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamgauge.state.dead_letters._BATCH", 2)
    for offset in range(5):
        store(stream, offset, value=str(offset).encode())
    assert "5 dead letters requeued" in text("requeue", "--stream", stream.name, "--again")
    assert sorted(r.value() for r in records(stream)) == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["requeue"], "requeue which"),
        (["show", "nonsense"], "no position"),
        (["show", "topic/1/99"], "no dead letter at topic/1/99"),
        (["requeue", "topic/1/99"], "no dead letter at topic/1/99"),
    ],
)
def test_what_is_not_there_is_reported(stream: OwnStream, arguments: list[str], what: str) -> None:
    error = run(*arguments).exception
    assert isinstance(error, UserError)
    assert what in error.what


def test_what_is_not_there_is_an_error(stream: OwnStream) -> None:
    store(stream, 0, "contract")
    for arguments, what in (
        (["list", "--reason", "contrct"], "no dead letter has the reason"),
        (["list", "--stream", "nix"], "no stream"),
        (["requeue", "--reason", "contrct"], "no dead letter has the reason"),
        (["requeue", "--stream", "nix"], "no stream"),
    ):
        error = run(*arguments).exception
        assert isinstance(error, UserError)
        assert what in error.what
    assert "contract" in text("list", "--reason", "contract")
