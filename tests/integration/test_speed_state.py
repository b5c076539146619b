"""What the worker keeps in Postgres is enough to tell Dagster how it does."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import dagster as dg

from quality.speed import SpeedState, read_speed
from sensors import observer
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect
from tests.integration.running import Running, events, now_ms, started
from tests.integration.workers import wait_until_read


def state_of(contract: Contract) -> SpeedState:
    with connect(Settings.for_role("batch")) as connection:
        return read_speed(connection, [contract], datetime.now(UTC))[contract.stream]


def until(contract: Contract, wanted: Callable[[SpeedState], bool]) -> SpeedState:
    ends = time.monotonic() + 30
    while not wanted(state := state_of(contract)):
        assert time.monotonic() < ends, state
        time.sleep(0.5)
    return state


def test_every_record_has_a_delay_and_a_verdict(running: Running) -> None:
    running.apply()
    worker = started(running)
    running.send(events(running.contract, 300))
    running.send_raw((b"k", b"no event"))
    wait_until_read(running.contract)
    state = until(running.contract, lambda s: s.totals.records == 301)
    assert state.totals.dead_letters == 1
    assert sum(state.delays.values()) == 301
    assert state.paused is None
    assert 0 < max(state.delays) < 30_000
    assert state.watermark is not None
    assert worker.poll() is None


def test_a_lag_is_seen_without_asking_kafka(running: Running) -> None:
    running.apply()
    worker = started(running)
    running.send(events(running.contract, 100))
    wait_until_read(running.contract)
    with connect(Settings.for_role("admin"), autocommit=True) as connection:
        query = "select coalesce(sum(end_offset), 0)::bigint from stream_offsets where topic = %s"

        def ends() -> int:
            found = connection.execute(query, (running.contract.topic,)).fetchone()
            assert found is not None
            return found[0]

        until(running.contract, lambda _: ends() == 100)
        # as if the log had grown while the worker was busy
        worker.kill()
        worker.wait()
        connection.execute(
            "update stream_offsets set end_offset = end_offset + 7 where topic = %s and partition = 0",
            (running.contract.topic,),
        )
    assert state_of(running.contract).lag == 7


def test_dagster_hears_of_it(running: Running) -> None:
    running.apply()
    started(running)
    running.send(events(running.contract, 100))
    wait_until_read(running.contract)
    contract = running.contract
    connection = partial(connect, Settings.for_role("batch"), autocommit=True)
    built = observer.definitions([contract], connection)
    sensor = built.resolve_sensor_def("speed_layer")
    with dg.instance_for_test() as instance:
        cursor = _tick(sensor, instance, None)
        for path in (asset_keys.kafka(contract), asset_keys.minutes(contract), asset_keys.redis_top(contract)):
            assert instance.get_latest_materialization_event(dg.AssetKey(path)), path
        assert _count(instance, contract) == 1
        cursor = _tick(sensor, instance, cursor)
        assert _count(instance, contract) == 1
        running.send(events(contract, 10, start=200, at=now_ms() + 1000))
        wait_until_read(contract)
        _tick(sensor, instance, cursor)
        assert _count(instance, contract) == 2


def _tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None) -> str | None:
    with dg.build_sensor_context(instance, cursor=cursor) as context:
        return sensor.evaluate_tick(context).cursor


def _count(instance: dg.DagsterInstance, contract: Contract) -> int:
    key = dg.AssetKey(asset_keys.minutes(contract))
    return len(instance.fetch_materializations(key, limit=10).records)
