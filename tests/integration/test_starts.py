"""Where the partitions of a stream begin: where its data does, whichever store has the first of it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamgauge.apply.execute import apply
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.producer.producer import EventProducer
from streamgauge.settings import PREFIX, Settings
from streamgauge.stack.control import Stack
from streamgauge.state.starts import LOOK_BACK, Starts, first_day, where_data_begins
from streamgauge.stores.postgres import connect
from tests.integration.own_stream import OwnStream
from tests.integration.running import events

NOW = datetime.now(UTC)


@pytest.fixture
def contract(stack: Stack, tmp_path: Path) -> Contract:
    own = OwnStream(tmp_path)
    apply(own.settings(), (own.contract,))
    return own.contract


def starts(contract: Contract, now: datetime = NOW) -> Starts:
    return where_data_begins("batch", [contract], now)[contract.stream]


def test_a_stream_without_data_begins_when_it_was_applied_and_stays_there(contract: Contract) -> None:
    with connect(Settings.for_role("batch"), autocommit=True) as connection:
        applied = connection.execute(
            "select first_applied_at from applied_contracts where stream = %s", (contract.stream,)
        ).fetchone()
    assert applied is not None
    for later in (NOW, NOW + 5 * HOUR):
        assert starts(contract, later) == Starts(hour_start(applied[0]), hour_start(applied[0]))
    insert(contract, "event_hours (stream, hour)", "(%s, %s)", [NOW + 3 * HOUR])
    assert starts(contract, NOW + 5 * HOUR).event == hour_start(applied[0])


def test_the_lake_begins_with_the_logs_first_record_and_stays_there(contract: Contract) -> None:
    with EventProducer(Settings.for_role("producer"), contract) as producer:
        assert not producer.send(events(contract, 3))
    later = NOW + 5 * HOUR
    assert hour_start(later) - starts(contract, later).ingest in (4 * HOUR, 5 * HOUR)
    insert(contract, "lake_hours (stream, hour, partition, from_offset, to_offset, rows, closed, version, run_id)",
           "(%s, %s, 0, 0, 0, 0, true, 0, 'r')", [NOW - timedelta(days=9)])  # fmt: skip
    assert starts(contract, later).ingest == hour_start(NOW - timedelta(days=9))


def test_hours_of_event_time_begin_with_the_first_event_that_the_batch_layer_keeps(contract: Contract) -> None:
    old, older = NOW - timedelta(days=30), first_day() - HOUR
    insert(contract, "event_hours (stream, hour)", "(%s, %s)", [NOW, old, older])
    assert starts(contract).event == hour_start(old)


def test_without_kafka_the_lake_begins_as_far_back_as_it_is_made_up(
    contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr("streamgauge.state.starts._ANSWER_SECONDS", 0.5)
    assert starts(contract).ingest == hour_start(NOW - LOOK_BACK)


def test_without_postgres_every_hour_is_a_partition(contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}POSTGRES_DSN", "postgresql://nobody@127.0.0.1:1/nothing")
    assert starts(contract) == Starts(first_day(), first_day())


def insert(contract: Contract, table: str, values: str, hours: Sequence[datetime]) -> None:
    with connect(Settings.for_role("batch"), autocommit=True) as connection:
        for hour in hours:
            connection.execute(f"insert into {table} values {values}".encode(), (contract.stream, hour_start(hour)))
