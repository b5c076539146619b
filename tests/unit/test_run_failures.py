"""Failed runs and checks: once a failure, not a retry, until something made it good."""

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import WILL_RETRY_TAG

from sensors import run_failures
from sensors.alerting.incidents import Acceptance
from sensors.run_failures import (
    Failing,
    Finished,
    Memory,
    check_alerts,
    partitions_of,
    read_checks,
    read_runs,
    run_alerts,
    take_in,
    without_accepted,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOURS = dg.StaticPartitionsDefinition(["2026-11-23-10", "2026-11-23-11"])
OWNERS = {"facts/s": ("s", "team")}


class Secret(Exception):
    """Its text quotes an event."""


class Switch:
    fails = True
    passes = False


@dg.asset(key=["facts", "s"], partitions_def=HOURS)
def facts() -> None:
    if Switch.fails:
        raise Secret("user ann bought a bicycle")


@dg.asset(key=["lake", "s"])
def lake() -> None: ...


@dg.asset_check(asset=lake, name="volume")
def volume() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=Switch.passes, severity=dg.AssetCheckSeverity.ERROR)


@dg.asset_check(asset=lake, name="skew")
def skew() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)


@pytest.fixture
def instance() -> Generator[dg.DagsterInstance]:
    Switch.fails, Switch.passes = True, False
    with dg.DagsterInstance.ephemeral() as built:  # pyright: ignore[reportUnknownMemberType]
        yield built


def run(instance: dg.DagsterInstance, key: str, *, again: bool = False, **tags: str) -> None:
    result = dg.materialize([facts], instance=instance, partition_key=key, raise_on_error=False, tags=tags)
    if again:
        instance.add_run_tags(result.run_id, {WILL_RETRY_TAG: "true"})


def look(instance: dg.DagsterInstance, memory: Memory | None = None) -> Memory:
    """As a tick that comes once Dagster has decided on retries."""
    later = datetime.now(UTC) + run_failures.SETTLED
    return read_runs(instance, memory or Memory((later - timedelta(hours=1)).timestamp()), later)


def test_a_failure_is_reported_without_what_its_error_quotes(instance: dg.DagsterInstance) -> None:
    run(instance, "2026-11-23-10")
    (alert,) = run_alerts(look(instance).failing, OWNERS)
    assert (alert.cause, alert.name, alert.stream, alert.owner) == (
        "run/facts/s", "StreamgaugeRunFailed", "s", "team",
    )  # fmt: skip
    assert "Secret" in alert.description and "2026-11-23-10" in alert.description
    assert "ann" not in repr(alert)


def test_a_run_that_dagster_retries_has_not_failed_yet(instance: dg.DagsterInstance) -> None:
    run(instance, "2026-11-23-10", again=True)
    memory = look(instance)
    assert not memory.failing
    run(instance, "2026-11-23-10", again=True)
    run(instance, "2026-11-23-10")
    memory = look(instance, memory)
    assert len(list(run_alerts(memory.failing, OWNERS))) == 1


def test_a_retry_that_succeeds_leaves_nothing_to_tell(instance: dg.DagsterInstance) -> None:
    run(instance, "2026-11-23-10", again=True)
    Switch.fails = False
    run(instance, "2026-11-23-10")
    assert not look(instance).failing


def test_a_failure_is_made_good_by_a_success_of_the_same_partition_only(instance: dg.DagsterInstance) -> None:
    run(instance, "2026-11-23-10")
    Switch.fails = False
    run(instance, "2026-11-23-11")
    memory = look(instance)
    assert list(memory.failing["facts/s"]) == ["2026-11-23-10"]
    run(instance, "2026-11-23-10")
    assert not look(instance, memory).failing


def test_the_same_runs_seen_twice_change_nothing(instance: dg.DagsterInstance) -> None:
    run(instance, "2026-11-23-10")
    Switch.fails = False
    run(instance, "2026-11-23-10")
    memory = look(instance)
    assert not look(instance, memory).failing


def test_a_failed_error_check_is_reported_until_it_passes(instance: dg.DagsterInstance) -> None:
    def check() -> None:
        dg.materialize([lake, volume, skew], instance=instance, raise_on_error=False)

    check()
    memory = read_checks(instance, Memory(0), frozenset(), datetime.now(UTC))
    assert list(memory.failing) == ["lake/s:volume"]
    check()
    memory = read_checks(instance, memory, frozenset(), datetime.now(UTC))
    (alert,) = check_alerts(memory.failing, OWNERS)
    assert (alert.cause, alert.asset) == ("check/lake/s/volume", "lake/s")
    Switch.passes = True
    check()
    assert not read_checks(instance, memory, frozenset(), datetime.now(UTC)).failing


def test_a_check_whose_event_is_committed_late_is_not_stepped_over(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is lower than that of an event which was seen before."""
    dg.materialize([lake, volume], instance=instance, raise_on_error=False)
    dg.materialize([lake, skew], instance=instance, raise_on_error=False)
    storage = instance.event_log_storage
    visible = storage.get_event_records

    def without_first(*args: Any, **options: Any) -> Any:
        return list(visible(*args, **options))[1:]

    monkeypatch.setattr(storage, "get_event_records", without_first)
    memory = read_checks(instance, Memory(0), frozenset(), datetime.now(UTC))
    assert not memory.failing
    monkeypatch.undo()
    memory = read_checks(instance, memory, frozenset(), datetime.now(UTC))
    assert list(memory.failing) == ["lake/s:volume"]
    later = datetime.now(UTC) + timedelta(minutes=10)
    settled = read_checks(instance, memory, frozenset(), later)
    assert settled.seen > 0
    assert list(settled.failing) == ["lake/s:volume"]


def test_a_check_that_others_judge_is_left_to_them(instance: dg.DagsterInstance) -> None:
    dg.materialize([lake, volume], instance=instance, raise_on_error=False)
    assert not read_checks(instance, Memory(0), frozenset({"volume"}), datetime.now(UTC)).failing


def test_a_range_is_its_partitions() -> None:
    ends = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    assert partitions_of(dict(zip(ends, ("2026-11-22-23", "2026-11-23-01"), strict=True))) == (
        "2026-11-22-23", "2026-11-23-00", "2026-11-23-01",
    )  # fmt: skip
    assert partitions_of(dict(zip(ends, ("2026-11-22", "2026-11-23"), strict=True))) == ("2026-11-22", "2026-11-23")
    assert partitions_of({"dagster/partition": "2026-11-22"}) == ("2026-11-22",)
    assert partitions_of({}) == ()


def test_a_range_that_succeeds_makes_its_hours_good() -> None:
    failing = {"facts/s": {"2026-11-23-10": Failing(NOW, "x"), "2026-11-23-11": Failing(NOW, "x")}}
    built = Finished(("facts/s", "rollups/s_hourly"), ("2026-11-23-10", "2026-11-23-11"), NOW + MINUTE, None)
    assert take_in(failing, [built]) == {}


def test_a_success_from_before_the_failure_does_not_make_it_good() -> None:
    earlier = Finished(("facts/s",), (), NOW - MINUTE, None)
    assert take_in({"facts/s": {"": Failing(NOW, "x")}}, [earlier]) != {}


def test_a_failure_that_nothing_made_good_is_not_forgotten(instance: dg.DagsterInstance) -> None:
    run(instance, "2026-11-23-10")
    dg.materialize([lake, volume], instance=instance, raise_on_error=False)
    runs, checks = look(instance), read_checks(instance, Memory(0), frozenset(), datetime.now(UTC))
    month = datetime.now(UTC) + timedelta(days=30)
    assert list(read_runs(instance, runs, month).failing) == ["facts/s"]
    assert list(read_checks(instance, checks, frozenset(), month).failing) == ["lake/s:volume"]


def test_acceptance_ends_what_failed_before_it_and_nothing_later() -> None:
    failing = {
        "facts/s": {"2026-11-23-10": Failing(NOW, "x"), "2026-11-23-11": Failing(NOW + 2 * MINUTE, "x")},
        "facts/s:volume": {"": Failing(NOW, "x")},
        "facts/t": {"": Failing(NOW, "x")},
    }
    left = without_accepted(Memory(1, failing), [Acceptance("facts/s", NOW + MINUTE)])
    assert {s: list(of) for s, of in left.failing.items()} == {"facts/s": ["2026-11-23-11"], "facts/t": [""]}
