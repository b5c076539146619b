"""How far out chance goes: peaks over a threshold, as SPOT does, begun as if the noise were normal.

Noise with heavier tails than normal would be accused again and again. So what lies beyond THRESHOLD deviations is
counted, with how far beyond it lies, as a logarithm: Hill's estimate of the tail. A single far one moves it little, and
a tail that goes on and on moves the limit out, until there are as few false alarms as with normal noise. Never further
in.
"""

from math import log
from statistics import NormalDist

import numpy as np

from streamgauge.types import Float64s

THRESHOLD = 3.0
_FREQUENCY = NormalDist().cdf(-THRESHOLD)
_NORMAL_TAIL = 0.0873
"""Of normal noise beyond THRESHOLD, the mean logarithm of how many times as far it lies."""
_BEGUN_WITH = 20.0
"""Peaks of normal noise that every series is taken to have had."""


def limits(deviations: float, probability: float, peaks: Float64s, tails: Float64s, seen: Float64s) -> Float64s:
    """Beyond how many standard deviations a value is no chance. `peaks` lay beyond THRESHOLD, of `seen` values;
    `tails` is the sum of their logarithms. `deviations` is the limit of normal noise for the same `probability`.
    """
    tail = (_BEGUN_WITH * _NORMAL_TAIL + tails) / (_BEGUN_WITH + peaks)
    often = (_BEGUN_WITH + peaks) / (_BEGUN_WITH + seen * _FREQUENCY)
    heavier = (tail - _NORMAL_TAIL) * log(_FREQUENCY / probability) + tail * np.log(often)
    return deviations * np.exp(np.maximum(heavier, 0.0))


def beyond(z: Float64s) -> Float64s:
    """What a peak adds to `tails`, and 0 for what is none."""
    return np.log(np.maximum(np.abs(z), THRESHOLD) / THRESHOLD)
