"""Series of which it is known what they do: a course of the day, other weekends, a slow drift, and noise."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from streamgauge.types import Float64s, Int64s

DAY = 1440
FIRST = 2960 * 7 * DAY
"""A Thursday's midnight, in minutes since 1970."""
DROP_MINUTES, DROP = 10, 0.3
Noise = Literal["poisson", "normal", "student"]


class Series:
    """`mean` is of all hours; `spread` the standard deviation of values as a part of it. With `drops`, each series
    loses DROP of what it has for DROP_MINUTES, once, from a minute of the last day on: `drop_at`.
    """

    def __init__(
        self,
        number: int,
        days: int,
        seed: int,
        mean: float,
        noise: Noise = "poisson",
        spread: float = 0.1,
        weekend: float = 0.6,
        drops: bool = False,
    ) -> None:
        self.number, self.days, self.mean, self.noise = number, days, mean, noise
        self._seed, self._spread, self._weekend, self._drops = seed, spread, weekend, drops
        rng = np.random.default_rng([seed, 1])
        self._phase = rng.uniform(0, DAY, number)
        self.drop_at = FIRST + rng.integers((days - 1) * DAY, days * DAY - 30, number)

    def expected(self, minutes: Int64s) -> Float64s:
        m, phase = minutes[:, None].astype(np.float64), self._phase
        day = 1 + 0.5 * np.sin(2 * np.pi * (m - phase) / DAY) + 0.15 * np.sin(4 * np.pi * (m - 1.3 * phase) / DAY)
        weekend = np.where((minutes // DAY + 3) % 7 >= 5, self._weekend, 1.0)[:, None]
        drift = 1 + 0.1 * np.sin(2 * np.pi * m / (9 * DAY) + phase)
        return self.mean * day * weekend * drift

    def first_of_day(self, day: int) -> int:
        return FIRST + day * DAY

    def before_drop(self) -> Float64s:
        """What is expected of each series where its drop begins."""
        return np.diag(self.expected(self.drop_at))

    def days_of(self) -> Iterator[tuple[Int64s, Float64s]]:
        """Day by day: its minutes, and a row for each."""
        rng = np.random.default_rng(self._seed)
        for day in range(self.days):
            minutes = FIRST + np.arange(day * DAY, (day + 1) * DAY)
            expected = self.expected(minutes)
            if self._drops:
                m = minutes[:, None]
                expected = np.where((m >= self.drop_at) & (m < self.drop_at + DROP_MINUTES), 1 - DROP, 1) * expected
            yield minutes, self._observed(rng, expected)

    def _observed(self, rng: np.random.Generator, expected: Float64s) -> Float64s:
        if self.noise == "poisson":
            return rng.poisson(expected).astype(np.float64)
        shape = expected.shape
        noise = rng.standard_normal(shape) if self.noise == "normal" else rng.standard_t(4, shape) / np.sqrt(2)
        return expected + self.mean * self._spread * noise
