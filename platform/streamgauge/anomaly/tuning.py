"""How often a series may be wrongly accused, and what follows from it."""

from dataclasses import dataclass
from math import log
from statistics import NormalDist
from typing import Literal

Sensitivity = Literal["low", "normal", "high"]
Direction = Literal["both", "up", "down"]

FALSE_ALARMS: dict[Sensitivity, float] = {"low": 0.1, "normal": 1.0, "high": 10.0}
"""Of a thousand quiet series, so many a day."""

SCALES = (1, 3, 10)
"""Minutes that are judged together: a peak shows in one of them, a slight drop only in several."""

_MINUTES_A_DAY = 1440


@dataclass(frozen=True)
class Tuning:
    """`direction`: which side is looked at."""

    sensitivity: Sensitivity = "normal"
    direction: Direction = "both"

    @property
    def up(self) -> bool:
        return self.direction != "down"

    @property
    def down(self) -> bool:
        return self.direction != "up"

    @property
    def probability(self) -> float:
        """Of a false alarm in one test: each minute has one for each scale and side, and one for gaps.

        As if all tests were independent: neighbours are not, so there are fewer false alarms than this allows.
        """
        tests = len(SCALES) * (self.up + self.down) + self.down
        return FALSE_ALARMS[self.sensitivity] / 1000 / _MINUTES_A_DAY / tests

    @property
    def deviations(self) -> float:
        """The same as a number of standard deviations of normal noise."""
        return -NormalDist().inv_cdf(self.probability)

    @property
    def gap(self) -> float:
        """So many events missed in a row are no chance: where n are expected, none come with probability exp(-n)."""
        return -log(self.probability)
