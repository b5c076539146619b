"""How fast anomalies are looked for: many series at once, on one core."""

import time
from dataclasses import dataclass

import numpy as np

from bench.report import Row
from streamgauge.anomaly.detector import Detector
from streamgauge.anomaly.episodes import follow
from streamgauge.anomaly.state import empty
from streamgauge.anomaly.tuning import Tuning

SERIES, MINUTES = 1000, 2880
POINTS_PER_SECOND = 200_000
_FIRST = 29_836_800
_LEVEL = 50.0


@dataclass(frozen=True)
class Speed:
    """Points a second of CPU."""

    counts: float
    values: float


def measure() -> Speed:
    """Two days of a thousand series, of which the second is judged."""
    return Speed(*(_points_per_second(counts) for counts in (True, False)))


def _points_per_second(counts: bool) -> float:
    detector, s = Detector(Tuning(), counts=counts), empty(SERIES)
    observed = np.random.default_rng(0).poisson(_LEVEL, (MINUTES, SERIES)).astype(np.float64)
    began = time.process_time()
    for i, row in enumerate(observed):
        for _ in follow(detector, s, _FIRST + i, detector.judge(s, _FIRST + i, row)):
            pass
    return observed.size / (time.process_time() - began)


def rows(found: Speed) -> list[Row]:
    slower = min(found.counts, found.values)
    return [
        Row(
            f"anomalies, {SERIES:,} series: counts / means of values",
            f"{found.counts:,.0f} / {found.values:,.0f} points/s of CPU",
            None,
            f">= {POINTS_PER_SECOND:,}/s",
            slower >= POINTS_PER_SECOND,
        )
    ]
