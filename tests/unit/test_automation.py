"""What Dagster asks for by itself, tick after tick."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from assets.automation import automation_sensor, daily_condition, lake_condition
from assets.partitions import ALL
from streamgauge.dagster.hours import HOUR, SETTLED, hour_key, hour_start
from streamgauge.state.starts import LOOK_BACK

LAKE, HOURS, DAYS = (dg.AssetKey(k) for k in ("lake", "hours", "days"))


class Ticks:
    """One tick after another over a lake, hours and days that fail when told to."""

    def __init__(self) -> None:
        self.instance = dg.DagsterInstance.ephemeral()  # pyright: ignore[reportUnknownMemberType]
        self.failing = False
        self._cursor: Any = None

        def make(context: dg.AssetExecutionContext) -> None:
            if self.failing:
                raise RuntimeError("as told")
            context.add_output_metadata({"closed": True})

        self._assets = [
            dg.asset(name="lake", partitions_def=ALL.event_hours, automation_condition=lake_condition())(make),
            dg.asset(name="hours", partitions_def=ALL.event_hours)(make),
            dg.asset(name="days", partitions_def=ALL.event_days, deps=[HOURS], automation_condition=daily_condition())(
                make
            ),
        ]
        self._definitions = dg.Definitions(self._assets, sensors=[automation_sensor()])

    def tick(self, now: datetime) -> dict[dg.AssetKey, list[str]]:
        found = dg.evaluate_automation_conditions(
            self._definitions, self.instance, evaluation_time=now, cursor=self._cursor
        )
        self._cursor = found.cursor
        return {key: sorted(found.get_requested_partitions(key) - {None}) for key in (LAKE, DAYS)}  # pyright: ignore[reportArgumentType]

    def requests(self) -> list[dg.RunRequest]:
        """Of the sensor itself, as the daemon sees them."""
        sensor = self._definitions.resolve_sensor_def("automation")
        repository = self._definitions.get_repository_def()
        with dg.build_sensor_context(self.instance, repository_def=repository) as context:
            return list(sensor.evaluate_tick(context).run_requests or [])

    def materialize(self, asset: dg.AssetKey, *partitions: str, closed: bool = True) -> None:
        for key in partitions:
            event = dg.AssetMaterialization(asset, partition=key, metadata={"closed": closed})
            self.instance.report_runless_asset_event(event)

    def run(self, asset: dg.AssetKey, partition: str) -> None:
        job = self._definitions.resolve_implicit_global_asset_job_def()
        job.execute_in_process(
            asset_selection=[asset], partition_key=partition, instance=self.instance, raise_on_error=False
        )


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


NOW = datetime.now(UTC).replace(minute=20, second=0, microsecond=0)
OPEN = hour_start(NOW)


def closed(count: int, now: datetime = NOW) -> list[str]:
    """The latest closed hours, oldest first."""
    return [hour_key(hour_start(now) - i * HOUR) for i in range(count, 0, -1)]


def test_closed_hours_are_asked_for_and_the_open_one_is_not(ticks: Ticks) -> None:
    assert ticks.tick(NOW)[LAKE] == closed(LOOK_BACK // HOUR)


def test_after_five_hours_without_the_daemon_exactly_those_are_made_up(ticks: Ticks) -> None:
    ticks.materialize(LAKE, *closed(80))
    assert ticks.tick(NOW)[LAKE] == []
    later = NOW + timedelta(hours=5)
    assert ticks.tick(later)[LAKE] == closed(5, later)


def test_many_hours_are_one_request(ticks: Ticks) -> None:
    assert len(ticks.requests()) == 1
    *others, latest = closed(80, datetime.now(UTC) - SETTLED)
    ticks.materialize(LAKE, *others)
    (request,) = ticks.requests()
    assert request.partition_key == latest


def test_an_hour_taken_while_it_was_open_is_taken_again(ticks: Ticks) -> None:
    ticks.materialize(LAKE, *closed(80))
    ticks.materialize(LAKE, hour_key(OPEN), closed=False)
    assert ticks.tick(NOW)[LAKE] == []
    assert ticks.tick(OPEN + HOUR)[LAKE] == []
    over = OPEN + HOUR + SETTLED
    assert ticks.tick(over)[LAKE] == [hour_key(OPEN)]
    ticks.materialize(LAKE, hour_key(OPEN), closed=False)
    assert ticks.tick(over)[LAKE] == [hour_key(OPEN)]
    ticks.materialize(LAKE, hour_key(OPEN))
    assert ticks.tick(over)[LAKE] == []


def test_an_hour_is_asked_for_until_it_is_made(ticks: Ticks) -> None:
    ticks.materialize(LAKE, *closed(80)[:-1])
    assert ticks.tick(NOW)[LAKE] == closed(1)
    assert ticks.tick(NOW + timedelta(seconds=30))[LAKE] == closed(1)
    ticks.run(LAKE, closed(1)[0])
    assert ticks.tick(NOW + timedelta(seconds=60))[LAKE] == []


def test_a_failed_hour_is_asked_for_again_after_longer_and_longer_waits(ticks: Ticks) -> None:
    hour = closed(1)[0]
    ticks.materialize(LAKE, *closed(80)[:-1])
    ticks.failing = True
    waits: list[int] = []
    for _ in range(4):
        ticks.run(LAKE, hour)
        failed = datetime.now(UTC)
        # beside an hour that may end within these minutes
        waits.append(next(m for m in range(80) if hour in ticks.tick(failed + timedelta(minutes=m, seconds=5))[LAKE]))
    assert waits == [1, 2, 4, 8]
    ticks.failing = False
    ticks.run(LAKE, hour)
    assert hour not in ticks.tick(datetime.now(UTC) + timedelta(hours=1))[LAKE]


def test_a_day_that_cannot_succeed_waits_up_to_an_hour_and_the_others_do_not(ticks: Ticks) -> None:
    ticks.materialize(HOURS, "2026-05-01-03", "2026-05-02-03")
    ticks.failing = True
    for _ in range(9):
        ticks.run(DAYS, "2026-05-01")
    failed = datetime.now(UTC)
    assert ticks.tick(failed + timedelta(minutes=59))[DAYS] == ["2026-05-02"]
    assert ticks.tick(failed + timedelta(minutes=61))[DAYS] == ["2026-05-01", "2026-05-02"]


def test_a_day_follows_its_hours(ticks: Ticks) -> None:
    assert ticks.tick(NOW)[DAYS] == []
    ticks.materialize(HOURS, "2026-05-01-03", "2026-05-01-04", "2026-05-03-00")
    assert ticks.tick(NOW)[DAYS] == ["2026-05-01", "2026-05-03"]
    ticks.materialize(DAYS, "2026-05-01", "2026-05-03")
    assert ticks.tick(NOW)[DAYS] == []
    ticks.materialize(HOURS, "2026-05-01-04")
    assert ticks.tick(NOW)[DAYS] == ["2026-05-01"]


def test_a_day_whose_hours_moved_on_after_it_was_asked_for_is_asked_for_again(ticks: Ticks) -> None:
    ticks.tick(NOW)
    ticks.materialize(HOURS, "2026-05-01-03")
    assert ticks.tick(NOW)[DAYS] == ["2026-05-01"]
    ticks.materialize(HOURS, "2026-05-01-04")
    ticks.materialize(DAYS, "2026-05-01")
    assert ticks.tick(NOW)[DAYS] == ["2026-05-01"]
    ticks.materialize(DAYS, "2026-05-01")
    assert ticks.tick(NOW)[DAYS] == []


def test_hours_made_before_the_first_tick_count_too(ticks: Ticks) -> None:
    ticks.materialize(HOURS, "2026-05-01-03")
    assert ticks.tick(NOW)[DAYS] == ["2026-05-01"]
