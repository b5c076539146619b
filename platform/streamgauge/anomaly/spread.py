"""How far a series strays, learned one deviation at a time from what strays too far as well: robust variance."""

import numpy as np

from streamgauge.types import Float64s

CLIP = 3.0
_MEMORY = 3 * 1440
_BEGINNING = 30
"""Deviations before which it is not known what is too far."""
_KEPT_OF_NORMAL = 0.9950
"""Of a normal variable's variance, what is left when values beyond CLIP deviations count as CLIP."""


def updated(variance: Float64s, squares: Float64s, weight: Float64s, memory: Float64s) -> Float64s:
    """`squares` are of deviations in units where the variance is sought. `memory`: over how many of them to average. In
    the long run half of what the variance says is from the last two days: a series may become noisier.
    """
    gain = weight / np.minimum(memory, _MEMORY)
    limit = np.where(memory <= _BEGINNING, np.inf, CLIP**2 * variance)
    return variance + gain * (np.minimum(squares, limit) / _KEPT_OF_NORMAL - variance)
