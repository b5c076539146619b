"""How the speed layer is judged, and what Dagster hears of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from quality.speed import NOTHING, SpeedState, Totals, check_speed
from sensors.observer import Memory, reports
from streamgauge.contract.load import load_contract
from streamgauge.settings import CHECKOUT
from streamgauge.telemetry.delays import BOUNDS_MS, bound_ms, percentile_ms

CONTRACT = load_contract(CHECKOUT / "platform" / "contracts" / "user_events.yaml")
NOW = datetime(2026, 11, 5, 12, tzinfo=UTC)
WELL = SpeedState(
    totals=Totals(1000, 10, 5, 1),
    lag=3,
    watermark=NOW - timedelta(seconds=2),
    committed_at=NOW - timedelta(seconds=1),
    paused=None,
    delays={100: 900, 251: 100},
)


def failing(state: SpeedState, recent: Totals | None = None) -> set[str]:
    return {v.check for v in check_speed(CONTRACT, state, recent or state.totals, NOW) if not v.passed}


def reported(state: SpeedState, memory: Memory, now: datetime = NOW) -> tuple[set[str], set[str]]:
    """The assets and checks that are reported."""
    events = list(reports(CONTRACT, state, memory, now))
    assets = {e.asset_key.path[0] for e in events if isinstance(e, dg.AssetMaterialization)}
    return assets, {e.check_name for e in events if isinstance(e, dg.AssetCheckEvaluation)}


def test_a_well_worker_passes_every_check() -> None:
    assert failing(WELL) == set()


def test_a_stopped_slow_or_paused_worker_lags() -> None:
    assert failing(replace(WELL, committed_at=NOW - timedelta(seconds=61))) == {"lag"}
    assert failing(replace(WELL, delays={100: 98, 63_096: 2})) == {"lag"}
    assert failing(replace(WELL, paused="partition 1: too many dead letters")) == {"lag"}


def test_shares_are_of_the_recent_records() -> None:
    assert failing(WELL, Totals(100, 6, 0, 0)) == {"late_share"}
    assert failing(WELL, Totals(100, 5, 0, 2)) == {"dead_letter_share"}
    assert failing(WELL, NOTHING) == set()


def test_assets_are_reported_when_the_watermark_moved() -> None:
    memory: Memory = {}
    everything = {"kafka", "speed", "redis"}
    assert reported(WELL, memory)[0] == everything
    assert reported(replace(WELL, lag=4), memory)[0] == set()
    assert reported(replace(WELL, watermark=NOW), memory)[0] == everything
    assert reported(replace(WELL, watermark=None), {})[0] == set()


def test_checks_are_reported_when_they_change_and_every_ten_minutes() -> None:
    memory: Memory = {}
    checks = {"lag", "late_share", "dead_letter_share"}
    assert reported(WELL, memory)[1] == checks
    assert reported(WELL, memory)[1] == set()
    assert reported(replace(WELL, paused="x"), memory)[1] == {"lag"}
    assert reported(WELL, memory, NOW + timedelta(minutes=10))[1] == checks


def test_old_records_drop_out_of_the_shares() -> None:
    memory: Memory = {}
    bad = replace(WELL, totals=Totals(100, 50, 0, 0))
    states = [replace(bad, totals=Totals(100 + 1000 * hour, 50, 0, 0)) for hour in range(4)]
    verdicts: list[bool] = []
    for hour, state in enumerate(states):
        moment = NOW + timedelta(hours=hour)
        events = reports(CONTRACT, replace(state, committed_at=moment), memory, moment)
        verdicts += [
            e.passed for e in events if isinstance(e, dg.AssetCheckEvaluation) and e.check_name == "late_share"
        ]
    assert verdicts == [False, True, True, True]
    assert memory["older"]["records"] == states[2].totals.records


def test_a_report_says_how_fresh_it_is() -> None:
    minutes = [e for e in reports(CONTRACT, WELL, {}, NOW) if e.asset_key.path[0] == "speed"]
    assert isinstance(minutes[0], dg.AssetMaterialization)
    figures = {name: value.value for name, value in minutes[0].metadata.items()}
    assert figures["freshness_seconds"] == 2.0
    assert (figures["delay_p50_ms"], figures["delay_p95_ms"]) == (100, 251)
    assert (figures["records"], figures["late"], figures["records_behind"]) == (1000, 10, 3)


def test_a_percentile_is_the_bound_that_share_stayed_within() -> None:
    assert percentile_ms({}, 0.5) is None
    assert percentile_ms({10: 1, 100: 98, 1000: 1}, 0.99) == 100
    assert percentile_ms({10: 1, 100: 97, 1000: 2}, 0.99) == 1000


def test_a_delay_is_counted_at_the_next_bound() -> None:
    assert bound_ms(0) == bound_ms(10) == 10
    assert bound_ms(10.1) == BOUNDS_MS[1]
    assert bound_ms(10**12) == BOUNDS_MS[-1]
