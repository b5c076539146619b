"""How far what was observed is from what was expected, on a scale where chance is normal.

All arrays are of several minutes together: `observed` and `expected` their sums, `minutes` how many have a value.
"""

from typing import Protocol

import numpy as np

from streamgauge.types import Float64s

_ROUNDS = 4
"""Of Newton's method: from its first guess it has the bound to a thousandth of the band's width."""


class Noise(Protocol):
    """`CountNoise` or `ValueNoise`."""

    def deviation(self, observed: Float64s, expected: Float64s, minutes: Float64s) -> Float64s: ...

    def doubt(self, expected: Float64s, minutes: Float64s, uncertainty: Float64s) -> Float64s:
        """The variance that the deviation has because what is expected is uncertain, as a season says it."""
        ...

    def least(self, expected: Float64s, mean: Float64s) -> Float64s | float:
        """The least variance of the noise that is believed, of a minute in a series of that mean."""
        ...

    def bound(self, expected: Float64s, minutes: Float64s, deviation: Float64s) -> Float64s:
        """What has that deviation: the inverse of `deviation`."""
        ...


class CountNoise:
    """Of a Poisson process: the signed root of the deviance, with half an event of continuity. It is nearly normal down
    to a mean of one event, and errs on the side of no alarm below that.
    """

    def deviation(self, observed: Float64s, expected: Float64s, minutes: Float64s) -> Float64s:
        expected = np.maximum(expected, 1e-9)
        off = observed - expected
        nearer = observed - np.copysign(np.minimum(np.abs(off), 0.5), off)
        half = nearer * np.log(np.maximum(nearer, 1e-9) / expected) - (nearer - expected)
        return np.copysign(np.sqrt(2 * np.maximum(half, 0.0)), off)

    def doubt(self, expected: Float64s, minutes: Float64s, uncertainty: Float64s) -> Float64s:
        return expected * uncertainty

    def least(self, expected: Float64s, mean: Float64s) -> Float64s | float:
        return 1.0

    def bound(self, expected: Float64s, minutes: Float64s, deviation: Float64s) -> Float64s:
        expected = np.maximum(expected, 1e-9)
        x = np.maximum(np.sqrt(expected) + deviation / 2, 0.1) ** 2
        for _ in range(_ROUNDS):
            far = np.log(x / expected)
            reached = np.sqrt(2 * np.maximum(x * far - (x - expected), 1e-12))
            off = np.copysign(reached, far) - deviation
            x = np.maximum(x - off * reached / np.maximum(np.abs(far), 1e-6), x / 4)
        return np.where(deviation < -np.sqrt(2 * expected), 0.0, np.maximum(x + np.copysign(0.5, deviation), 0.0))


class ValueNoise:
    """Normal, with a variance that only the series itself tells."""

    _LEAST = 0.005
    """Of what is expected or usual: a series that never moved may move by as little."""

    def deviation(self, observed: Float64s, expected: Float64s, minutes: Float64s) -> Float64s:
        return (observed - expected) / np.sqrt(np.maximum(minutes, 1.0))

    def doubt(self, expected: Float64s, minutes: Float64s, uncertainty: Float64s) -> Float64s:
        return minutes * uncertainty

    def least(self, expected: Float64s, mean: Float64s) -> Float64s | float:
        return (self._LEAST * np.maximum(np.abs(expected), np.abs(mean))) ** 2 + 1e-18

    def bound(self, expected: Float64s, minutes: Float64s, deviation: Float64s) -> Float64s:
        return expected + deviation * np.sqrt(np.maximum(minutes, 1.0))
