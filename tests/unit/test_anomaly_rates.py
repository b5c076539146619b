"""The rates that are promised hold: false alarms on quiet seasonal series, and drops that are found. Seeded."""

from collections.abc import Iterator

import numpy as np
import pytest

from streamgauge.anomaly.detector import Detector
from streamgauge.anomaly.episodes import Found, follow
from streamgauge.anomaly.state import empty
from streamgauge.anomaly.tuning import Tuning
from tests.examples import in_ci
from tests.seasonal import DROP_MINUTES, Noise, Series


def begun(series: Series, tuning: Tuning | None = None) -> Iterator[Found]:
    """The anomalies of these series, each at its first minute."""
    detector = Detector(tuning or Tuning(), counts=series.noise == "poisson")
    s = empty(series.number)
    for minutes, observed in series.days_of():
        for minute, row in zip(minutes.tolist(), observed, strict=True):
            for change in follow(detector, s, minute, detector.judge(s, minute, row)):
                if isinstance(change, Found) and s.began[change.series] == minute:
                    yield change


@pytest.mark.parametrize("mean", [pytest.param(0.3, marks=in_ci), 60.0, pytest.param(2000.0, marks=in_ci)])
def test_quiet_counts_raise_at_most_one_false_alarm_in_a_thousand_series_and_days(mean: float) -> None:
    series = Series(number=200, days=11, seed=3, mean=mean)
    assert len(list(begun(series))) <= 0.001 * series.number * series.days


@in_ci
def test_quiet_values_raise_at_most_one_false_alarm_in_a_thousand_series_and_days() -> None:
    series = Series(number=200, days=11, seed=3, mean=50, noise="normal")
    assert len(list(begun(series))) <= 0.001 * series.number * series.days


@in_ci
def test_noise_with_heavy_tails_is_learned() -> None:
    """Student's t with four degrees of freedom: a limit for normal noise would be passed thousands of times."""
    series = Series(number=60, days=12, seed=4, mean=50, noise="student", weekend=1.0)
    last = [f for f in begun(series) if f.minute >= series.first_of_day(10)]
    assert len(last) <= 0.1 * series.number * 2


@in_ci
def test_the_sensitivity_is_the_rate_of_false_alarms() -> None:
    """Ten times as many are allowed, and there are some: the limit is no farther out than it must be."""
    series = Series(number=200, days=14, seed=6, mean=60)
    assert 1 <= len(list(begun(series, Tuning("high")))) <= 10 / 1000 * series.number * series.days


@pytest.mark.parametrize(
    ("mean", "noise"),
    [
        (150.0, "poisson"),
        pytest.param(1000.0, "poisson", marks=in_ci),
        pytest.param(100.0, "normal", marks=in_ci),
    ],
)
def test_drops_of_thirty_percent_for_ten_minutes_are_found(mean: float, noise: Noise) -> None:
    """Of the series whose noise allows it: 80 events a minute at that hour, or values that stray by less than 8 %."""
    series = Series(number=300, days=10, seed=5, mean=mean, noise=noise, spread=0.05, drops=True)
    found = {f.series for f in begun(series) if _is_drop(f, series)}
    clear = np.flatnonzero(series.before_drop() >= (80 if noise == "poisson" else mean * 0.05 / 0.08))
    assert len(clear) > 100
    assert len(found.intersection(clear.tolist())) >= 0.95 * len(clear)


def _is_drop(f: Found, series: Series) -> bool:
    return f.side < 0 and 0 <= f.minute - series.drop_at[f.series] < DROP_MINUTES
