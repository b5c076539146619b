"""What may go wrong with an hour of the lake: two runs at once, transactions, a new contract, an hour that is gone."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import polars as pl
import pytest
from confluent_kafka import Producer, TopicPartition

from assets.lake import make_lake
from assets.lake.load import LoadedHour, load_hour
from assets.partitions import ALL
from assets.resources import BatchResource
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.errors import UserError
from streamgauge.records.log_spans import LogSpans
from streamgauge.settings import Settings
from streamgauge.stores.kafka import admin_client, client_config
from streamgauge.stores.lake import LakeConflict, lake_table
from streamgauge.stores.postgres import connect
from tests.integration.log import read_log
from tests.integration.own_stream import add_field
from tests.integration.running import Running, events

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(240)]

_START = datetime(2020, 1, 1, tzinfo=UTC).date()


def batch() -> Settings:
    return Settings.for_role("batch")


def take(contract: Contract, hour: datetime) -> LoadedHour:
    with connect(batch(), autocommit=True) as connection:
        now = datetime.now(UTC)
        return load_hour(batch(), contract, connection, hour, now=now, start=_START, run_id="test")


@pytest.fixture
def hour(running: Running) -> Iterator[datetime]:
    """Not one that ends within the test."""
    while datetime.now(UTC) + timedelta(seconds=90) > hour_start(datetime.now(UTC)) + HOUR:
        time.sleep(1)
    running.apply()
    yield hour_start(datetime.now(UTC))


def rows(contract: Contract, *columns: str) -> pl.DataFrame:
    return lake_table(batch().lake, contract).read().sort("partition", "offset").select("partition", "offset", *columns)


def in_log(contract: Contract) -> list[tuple[int, int]]:
    return [(m.partition() or 0, m.offset() or 0) for m in read_log(Settings.for_role("worker"), contract)]


def test_two_runs_at_once_without_a_lock_leave_each_record_once(running: Running, hour: datetime) -> None:
    running.send(events(running.contract, 2000))
    ended: list[LoadedHour | BaseException] = []

    def run() -> None:
        try:
            ended.append(take(running.contract, hour))
        except LakeConflict as e:
            ended.append(e)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(ended) == 3
    assert any(isinstance(e, LoadedHour) for e in ended)
    assert rows(running.contract).rows() == in_log(running.contract)


def test_markers_and_aborted_records_are_no_rows(running: Running, hour: datetime) -> None:
    running.send(events(running.contract, 100))
    producer = Producer({**client_config(Settings.for_role("admin")), "transactional.id": running.contract.stream})
    producer.init_transactions(20)
    for verdict in ("abort", "commit", "abort"):
        producer.begin_transaction()
        for i in range(10):
            producer.produce(running.contract.topic, f"{verdict}-{i}".encode(), partition=0)
        # what an abort finds unsent is never sent
        assert producer.flush(20) == 0
        (producer.abort_transaction if verdict == "abort" else producer.commit_transaction)(20)
    loaded = take(running.contract, hour)
    held = rows(running.contract, "record")
    assert held.height == 110
    assert sorted(held["record"].drop_nulls()) == [f"commit-{i}".encode() for i in range(10)]
    # three markers and twenty aborted records stand in the log too, the last of them at its end
    span = loaded.spans[0]
    assert span[1] - span[0] == held.filter(partition=0).height + 23


def test_a_field_that_comes_later_is_there_for_old_hours_too(running: Running, hour: datetime) -> None:
    running.send(events(running.contract, 50))
    take(running.contract, hour)
    before = rows(running.contract, "event_id")
    running.edit(lambda d: add_field(d, "colour", "grey"))
    running.apply()
    # as the older contract wrote it
    assert rows(running.contract, "colour")["colour"].null_count() == 50
    assert rows(running.contract, "event_id").equals(before)
    running.send(events(running.contract, 20, start=50, colour="red"))
    take(running.contract, hour)
    colours = rows(running.contract, "colour")["colour"].value_counts().sort("colour").rows()
    assert colours == [("grey", 50), ("red", 20)]


def test_an_hour_that_is_gone_doesnt_keep_the_others_of_its_run(running: Running, hour: datetime) -> None:
    running.send(events(running.contract, 200))
    with LogSpans(batch(), running.contract, {}) as log:
        gone = [TopicPartition(running.contract.topic, p, 1) for p in log.ends()]
    admin: Any = admin_client(Settings.for_role("admin"))
    for future in admin.delete_records(gone).values():
        future.result(60)
    key = dg.AssetKey(asset_keys.lake(running.contract))
    hours = [hour - HOUR, hour]
    with connect(batch()) as connection:
        connection.cursor().executemany(
            """insert into lake_hours (stream, hour, partition, from_offset, to_offset, rows, closed, version, run_id)
            values (%s, %s, %s, 0, 1, 1, true, 0, 'test')""",
            [(running.contract.stream, hours[0], p.partition) for p in gone],
        )
    with dg.DagsterInstance.ephemeral() as instance:  # pyright: ignore[reportUnknownMemberType]
        result = dg.materialize(
            [make_lake(running.contract, ALL)],
            resources={"batch": BatchResource()},
            instance=instance,
            raise_on_error=False,
            tags={
                "dagster/asset_partition_range_start": hour_key(hours[0]),
                "dagster/asset_partition_range_end": hour_key(hours[1]),
            },
        )
        assert not result.success
        assert instance.get_materialized_partitions(key) == {hour_key(hours[1])}
    assert rows(running.contract).rows() == in_log(running.contract)


def test_less_is_never_written_over_more(running: Running, hour: datetime) -> None:
    running.send(events(running.contract, 100))
    take(running.contract, hour)
    before = rows(running.contract)
    with connect(batch()) as connection:
        # as if the topic had been made anew since
        connection.execute("update lake_hours set rows = rows + 1 where stream = %s", (running.contract.stream,))
    with pytest.raises(UserError, match="records of it, the log only"):
        take(running.contract, hour)
    assert rows(running.contract).equals(before)
