"""The sensor that runs outdated hours, tick after tick, against the demand in Postgres. What it runs here only keeps
the books: the layers themselves have their own tests.
"""

import itertools
from collections.abc import Generator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from psycopg import sql

from assets import event_hours
from assets.facts.build import Built
from assets.jobs import event_hours_job, lake_job, reconcile_job
from assets.partitions import ALL, HOURLY_RUNS, hours_of
from quality.reconciliation.finality import reasons
from sensors import late_data
from sensors.alerting.unexplained import unexplained_hours
from streamgauge.apply.execute import apply
from streamgauge.contract.model import Contract
from streamgauge.dagster import keys as asset_keys
from streamgauge.dagster.hours import HOUR, hour_key, hour_start
from streamgauge.settings import Settings
from streamgauge.stack.control import Stack
from streamgauge.state.starts import Starts
from streamgauge.stores.postgres import Connection, connect
from tests.integration.own_stream import OwnStream

OLD = hour_start(datetime.now(UTC)) - timedelta(days=40)


class Batch:
    """A batch layer that keeps the books of `event_hours` and notes what it was asked for."""

    def __init__(self, contract: Contract, instance: dg.DagsterInstance) -> None:
        self.contract, self.instance = contract, instance
        self.settings = Settings.for_role("batch")
        self.broken: set[datetime] = set()
        self.built: list[tuple[str, list[datetime]]] = []
        self.starts = {contract.stream: Starts(OLD, OLD)}
        self.reloads = 0
        rest = (asset_keys.rollups_hourly, asset_keys.reconciliation)
        paths = [(asset_keys.lake(contract),), asset_keys.facts_tables(contract), *((of(contract),) for of in rest)]
        assets = [self._asset(paths[0], None, None)]
        assets += [self._asset(paths[i], paths[i - 1], self._STEPS[i - 1]) for i in (1, 2, 3)]
        jobs = [lake_job(contract), event_hours_job(contract), reconcile_job(contract)]
        connection = partial(connect, self.settings, autocommit=True)
        self._definitions = dg.Definitions.merge(
            dg.Definitions(assets=assets),
            late_data.definitions([contract], jobs, connection, self.starts, self._reload),
        )
        self._sensor = self._definitions.resolve_sensor_def("late_data")

    _STEPS = (("built", "touched"), ("rolled", "built"), ("reconciled", "rolled"))

    def _asset(
        self,
        paths: tuple[asset_keys.AssetPath, ...],
        after: tuple[asset_keys.AssetPath, ...] | None,
        step: tuple[str, str] | None,
    ) -> dg.AssetsDefinition:
        path = paths[0]
        deps = [dg.AssetKey(after[0])] if after else []
        specs = [dg.AssetSpec(dg.AssetKey(p), deps=deps, partitions_def=ALL.event_hours) for p in paths]

        @dg.multi_asset(name=path[1], specs=specs, backfill_policy=HOURLY_RUNS)
        def make(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[Any]]:
            hours = hours_of(context)
            self.built.append((path[0], hours))
            if step and path[0] == "rollups" and self.broken & set(hours):
                raise RuntimeError("as told")
            if step:
                compared = ", compared_at = now(), passed = true" if step[0] == "reconciled" else ""
                query = f"update event_hours set {step[0]} = {step[1]}{compared} where stream = %s and hour = any(%s)"
                with self.connect() as connection:
                    connection.execute(query.encode(), (self.contract.stream, hours))
                    if step[0] == "reconciled":
                        connection.execute(
                            "insert into hour_revisions (stream, hour, revision, run_id, facts, reason, checked)"
                            " select %s, unnest(%s), 1, '', 0, '', true on conflict do nothing",
                            (self.contract.stream, hours),
                        )
            for p in paths:
                yield dg.MaterializeResult(asset_key=dg.AssetKey(p))

        return make

    def _reload(self) -> None:
        self.reloads += 1

    def connect(self) -> Connection:
        return connect(self.settings, autocommit=True)

    def touch(self, *hours: datetime) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.executemany(
                "insert into event_hours (stream, hour) values (%s, %s) on conflict (stream, hour)"
                " do update set touched = event_hours.touched + 1, touched_at = now()",
                [(self.contract.stream, h) for h in hours],
            )

    def close_lake(self, hour: datetime) -> None:
        query = """insert into lake_hours (stream, hour, partition, from_offset, to_offset, rows, closed, version,
            run_id) values (%s, %s, 0, 0, 0, 0, true, 0, 'r')"""
        with self.connect() as connection:
            connection.execute(query, (self.contract.stream, hour))

    def settled(self) -> bool:
        query = "select from event_hours where stream = %s and least(built, rolled, reconciled) < touched"
        query += " or compared_at is null and stream = %s"
        with self.connect() as connection:
            return not connection.execute(query.encode(), (self.contract.stream, self.contract.stream)).fetchall()

    def tick(self) -> list[dg.RunRequest]:
        with dg.build_sensor_context(self.instance, definitions=self._definitions) as context:
            result = self._sensor.evaluate_tick(context)
        return list(result.run_requests or [])

    def start(self, request: dg.RunRequest) -> dg.DagsterRun:
        """A run that has begun and not ended."""
        job = self._definitions.resolve_job_def(str(request.job_name))
        tags = {**request.tags, **({"dagster/partition": request.partition_key} if request.partition_key else {})}
        return self.instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)

    def start_lake(self, hour: datetime) -> dg.DagsterRun:
        lake = dg.AssetKey(asset_keys.lake(self.contract))
        job = self._definitions.resolve_implicit_global_asset_job_def().get_subset(asset_selection={lake})
        return self.instance.create_run_for_job(
            job,
            asset_selection=frozenset({lake}),
            tags={"dagster/partition": hour_key(hour)},
            status=dg.DagsterRunStatus.STARTED,
        )

    def run(self, request: dg.RunRequest) -> bool:
        job = self._definitions.resolve_job_def(str(request.job_name))
        done = job.execute_in_process(
            instance=self.instance, partition_key=request.partition_key, tags=dict(request.tags), raise_on_error=False
        )
        return done.success


def asked(requests: list[dg.RunRequest]) -> list[tuple[str, str]]:
    """The first and last hour of each request."""
    span = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    return [
        (r.partition_key, r.partition_key) if r.partition_key else (r.tags[span[0]], r.tags[span[1]]) for r in requests
    ]


@pytest.fixture
def batch(stack: Stack, tmp_path: Path) -> Generator[Batch]:
    own = OwnStream(tmp_path)
    apply(own.settings(), (own.contract,))
    with dg.instance_for_test() as instance:
        yield Batch(own.contract, instance)


def hours(*numbers: int) -> Iterator[datetime]:
    return (OLD + n * HOUR for n in numbers)


def test_late_data_for_three_old_hours_rebuilds_exactly_those(batch: Batch) -> None:
    batch.touch(*hours(0, 1, 7))
    requests = batch.tick()
    assert asked(requests) == [(hour_key(OLD), hour_key(OLD + HOUR)), (hour_key(OLD + 7 * HOUR),) * 2]
    assert all(batch.run(r) for r in requests)
    wanted = sorted(itertools.product(("facts", "reconciliation", "rollups"), hours(0, 1, 7)))
    assert sorted((layer, hour) for layer, built in batch.built for hour in built) == wanted
    assert batch.settled()
    assert batch.tick() == []


def test_an_hour_touched_again_is_built_again(batch: Batch) -> None:
    batch.touch(OLD)
    (request,) = batch.tick()
    assert batch.run(request)
    assert batch.settled()
    batch.touch(OLD)
    assert len(batch.tick()) == 1


def test_no_two_runs_for_the_same_hours_at_once(batch: Batch) -> None:
    batch.touch(*hours(0, 1))
    (request,) = batch.tick()
    batch.start(request)
    batch.touch(*hours(1, 2))
    assert asked(batch.tick()) == [(hour_key(OLD + 2 * HOUR),) * 2]


def test_a_lake_run_is_waited_for(batch: Batch) -> None:
    batch.touch(OLD)
    run = batch.start_lake(OLD)
    assert batch.tick() == []
    batch.instance.report_run_canceled(run)
    assert len(batch.tick()) == 1


def test_what_a_failed_run_left_behind_is_still_due_and_waits(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its facts are built; only its rollups are missing."""
    batch.touch(OLD)
    batch.broken = {OLD}
    (request,) = batch.tick()
    assert not batch.run(request)
    assert batch.tick() == []
    monkeypatch.setattr("streamgauge.dagster.attempts.FIRST_WAIT", timedelta(0))
    (again,) = batch.tick()
    batch.broken = set()
    assert batch.run(again)
    assert batch.settled()
    assert batch.tick() == []


def test_hours_that_are_no_partitions_are_not_asked_for(batch: Batch) -> None:
    batch.touch(hour_start(datetime.now(UTC)) + HOUR, datetime(2001, 1, 1, tzinfo=UTC))
    assert batch.tick() == []


def test_many_scattered_hours_wait_for_their_turn(batch: Batch) -> None:
    batch.touch(*hours(*range(0, 40, 2)))
    requests = batch.tick()
    assert 0 < len(requests) < 20
    for request in requests:
        batch.start(request)
    assert batch.tick() == []


def layers(batch: Batch, watermark: datetime, *, read: int = 10, in_lake: int = 10) -> None:
    """One partition, read up to an offset at which the watermark was reached; the lake ends at another."""
    contract = batch.contract
    with batch.connect() as connection, connect(Settings.for_role("admin"), autocommit=True) as admin:
        admin.execute("delete from stream_offsets where topic = %s", (contract.topic,))
        admin.execute(
            "insert into stream_offsets (topic, partition, start_offset, next_offset, epoch, counted, watermark_ms)"
            " values (%s, 0, 0, %s, 1, %s, %s)",
            (contract.topic, read, read, int(watermark.timestamp() * 1000)),
        )
        connection.execute("delete from lake_hours where stream = %s", (contract.stream,))
        connection.execute(
            "insert into lake_hours (stream, hour, partition, from_offset, to_offset, rows, closed, version, run_id)"
            " values (%s, %s, 0, 0, %s, %s, true, 0, '')",
            (contract.stream, OLD, in_lake, in_lake),
        )


def compared(
    batch: Batch, hour: datetime, *, passed: bool = True, waits_for: str | None = None, at: datetime | None = None
) -> None:
    with batch.connect() as connection:
        connection.execute(
            "insert into event_hours (stream, hour, touched, compared_at, passed, waits_for, differences)"
            " values (%s, %s, 0, %s, %s, %s, %s) on conflict (stream, hour) do update set"
            " compared_at = excluded.compared_at, passed = excluded.passed, waits_for = excluded.waits_for",
            (batch.contract.stream, hour, at or datetime.now(UTC), passed, waits_for, None if passed else "abc"),
        )


def make_final(batch: Batch, *hours: datetime) -> None:
    with batch.connect() as connection, connection.cursor() as cursor:
        cursor.executemany(
            "insert into hour_revisions (stream, hour, revision, run_id, facts, reason) values (%s, %s, 1, '', 0, '')"
            " on conflict do nothing",
            [(batch.contract.stream, h) for h in hours],
        )


def assert_compared_again(batch: Batch, *hours: datetime) -> None:
    requests = batch.tick()
    assert {r.job_name for r in requests} <= {asset_keys.reconcile_job(batch.contract)}
    assert asked(requests) == [(hour_key(h),) * 2 for h in hours]


def test_an_hour_is_compared_again_when_what_it_waited_for_has_come(batch: Batch) -> None:
    lateness = timedelta(milliseconds=batch.contract.lateness_ms)
    end = OLD + HOUR + lateness
    for_watermark, for_lake = reasons(OLD, lateness)
    compared(batch, OLD, waits_for=for_watermark)
    layers(batch, end - timedelta(seconds=53))
    assert batch.tick() == []
    # the watermark has passed, and the lake has what came until then: nobody waits for the lake's next move
    layers(batch, end)
    assert_compared_again(batch, OLD)
    # the reason is past, and another one has taken its place: that is said
    layers(batch, end, read=20, in_lake=10)
    assert_compared_again(batch, OLD)
    compared(batch, OLD, waits_for=for_lake)
    assert batch.tick() == []
    layers(batch, end)
    assert_compared_again(batch, OLD)
    make_final(batch, OLD)
    assert batch.tick() == []


def test_an_hour_that_waits_for_records_is_compared_again_when_the_lake_moved_on(batch: Batch) -> None:
    layers(batch, OLD + 9 * HOUR)
    compared(batch, OLD, waits_for="3 of 5 records that the lake lacks")
    assert batch.tick() == []
    layers(batch, OLD + 9 * HOUR)
    assert_compared_again(batch, OLD)


def test_an_hour_that_differs_is_compared_again_until_somebody_accepts_it(batch: Batch) -> None:
    layers(batch, OLD + 9 * HOUR)
    compared(batch, OLD, passed=False)
    assert_compared_again(batch, OLD)
    with batch.connect() as connection:
        assert [p.stream for p in unexplained_hours(connection, [batch.contract])] == [batch.contract.stream]
        connection.execute(
            "insert into accepted_differences (stream, hour, differences, accepted_by, reason)"
            " values (%s, %s, 'abc', 'ann', 'known')",
            (batch.contract.stream, OLD),
        )
        assert unexplained_hours(connection, [batch.contract]) == []
    assert batch.tick() == []


def test_facts_built_by_themselves_are_followed_by_the_rest(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from Dagster's page, of an hour without any record: else it could never be final."""
    layers(batch, OLD + 9 * HOUR)
    with batch.connect() as connection:
        event_hours.note_built(connection, batch.contract, {OLD: 0}, [Built(OLD, 0, 0, 0)], "page")
    (request,) = batch.tick()
    assert request.job_name == asset_keys.event_hours_job(batch.contract)
    assert batch.run(request)
    assert batch.settled()
    # and so are rollups
    monkeypatch.setattr("streamgauge.dagster.attempts.FIRST_WAIT", timedelta(0))
    with batch.connect() as connection:
        event_hours.note_rolled(connection, batch.contract, {OLD: 0})
    (request,) = batch.tick()
    assert request.job_name == asset_keys.event_hours_job(batch.contract)


def test_the_lakes_open_hour_is_taken_when_only_that_is_missing(batch: Batch) -> None:
    lateness = timedelta(milliseconds=batch.contract.lateness_ms)
    now = hour_start(datetime.now(UTC))
    last = now - 2 * HOUR
    batch.starts[batch.contract.stream] = Starts(OLD, OLD + HOUR)
    layers(batch, last + HOUR + lateness, read=20, in_lake=10)
    assert batch.tick() == [], "nobody has rows of that hour"
    with connect(Settings.for_role("admin"), autocommit=True) as admin:
        admin.execute(
            sql.SQL(
                "insert into {} (minute, event_type, actor_kind, partition, count, upto)"
                " values (%s, 'A', 'bot', 0, 1, 5)"
            ).format(sql.Identifier(batch.contract.minutes_table)),
            (last,),
        )
    (request,) = batch.tick()
    assert request.job_name == asset_keys.lake_job(batch.contract)
    assert asked([request]) in ([(hour_key(now),) * 2], [(hour_key(now + HOUR),) * 2])
    run = batch.start(request)
    assert batch.tick() == [], "it is being taken"
    batch.instance.report_run_canceled(run)
    layers(batch, last + HOUR + lateness - timedelta(seconds=1), read=20, in_lake=10)
    assert batch.tick() == [], "events on time may still come"
    layers(batch, last + HOUR + lateness, read=20, in_lake=20)
    assert batch.tick() == [], "the lake has it"
    layers(batch, last + HOUR + lateness, read=20, in_lake=10)
    make_final(batch, last)
    assert batch.tick() == [], "it is final"


def test_final_hours_are_compared_again_within_a_week_the_newest_first(batch: Batch) -> None:
    now = datetime.now(UTC)
    fresh, old = [OLD + i * HOUR for i in (7, 8)], [OLD + i * HOUR for i in (0, 1, 3, 4)]
    for hour in (*fresh, *old):
        compared(batch, hour, at=now - timedelta(days=3 if hour in fresh else 7))
    layers(batch, OLD + 30 * HOUR)
    make_final(batch, *fresh, *old)
    (request,) = batch.tick()
    assert asked([request]) == [(hour_key(old[2]), hour_key(old[3]))]
    assert request.job_name == asset_keys.reconcile_job(batch.contract)
    assert batch.run(request)
    assert batch.tick() == [], "slow and steady"
    for hour in old[2:]:
        compared(batch, hour)
    batch.touch(fresh[0])
    assert {r.job_name for r in batch.tick()} == {asset_keys.event_hours_job(batch.contract)}, "what is due comes first"


def settle(batch: Batch, *hours: datetime) -> None:
    for hour in hours:
        compared(batch, hour)
    make_final(batch, *hours)


def test_events_before_the_first_partition_load_the_definitions_anew(batch: Batch) -> None:
    batch.starts[batch.contract.stream] = Starts(OLD, OLD)
    batch.touch(OLD)
    assert asked(batch.tick()) == [(hour_key(OLD),) * 2]
    assert batch.reloads == 0
    batch.touch(OLD - HOUR)
    assert asked(batch.tick()) == [(hour_key(OLD),) * 2]
    assert batch.reloads == 1


def test_hours_without_events_are_made_once_nothing_else_is_to_be_done(batch: Batch) -> None:
    batch.starts[batch.contract.stream] = Starts(OLD, OLD)
    first, second, third, last = hours(0, 1, 2, 3)
    batch.close_lake(last)
    batch.touch(second)
    (request,) = batch.tick()
    assert asked([request]) == [(hour_key(second),) * 2]
    assert batch.run(request)
    settle(batch, second)
    assert asked(batch.tick()) == [(hour_key(third), hour_key(last))]
    settle(batch, third, last)
    assert asked(batch.tick()) == [(hour_key(first),) * 2]
    settle(batch, first)
    assert batch.tick() == []
