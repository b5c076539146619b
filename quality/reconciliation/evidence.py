"""The single values behind a bucket, and what leaving some of them out could have made of it."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from math import fsum


@dataclass(frozen=True)
class Figures:
    """Of one measure in one bucket of one layer."""

    n: int
    sum: float
    min: float | None
    max: float | None


@dataclass(frozen=True)
class Values:
    """Of one measure, the least first, and the times (epoch ms) of the events that have them."""

    values: Sequence[float] = ()
    times: Sequence[int] = ()

    @property
    def pairs(self) -> list[tuple[float, int]]:
        return list(zip(self.values, self.times, strict=True))


@dataclass(frozen=True)
class Evidence:
    """A bucket's facts and duplicates: some event ids, and by measure the values of each."""

    event_ids: tuple[str, ...] = ()
    facts: dict[str, Values] = field(default_factory=dict[str, Values])
    duplicates: dict[str, Values] = field(default_factory=dict[str, Values])


def unreachable(
    speed: Figures, facts: Sequence[float], duplicates: Sequence[float], left_out: int, admitted: int, tolerance: float
) -> set[str]:
    """Which of speed's figures can't come of leaving `left_out` facts at most out of the sum (they were late) and
    taking `admitted` duplicates at most in (only the batch layer found them). Both sequences are sorted.

    A sum that lies between the least and the greatest possible is taken to be possible; a single value left out must
    be one of the facts'.
    """
    wrong = {"sum", "min", "max"}
    possible = False
    sums = list(accumulate(facts, initial=0.0))
    extra = list(accumulate(duplicates, initial=0.0))
    for q in range(min(admitted, len(duplicates)) + 1):
        r = q + len(facts) - speed.n
        if not 0 <= r <= min(left_out, len(facts)):
            continue
        possible = True
        target = fsum(facts) - speed.sum
        low = sums[r] - (extra[-1] - extra[len(duplicates) - q])
        high = (sums[-1] - sums[len(facts) - r]) - extra[q]
        fits = low - tolerance <= target <= high + tolerance
        if q == 0 and r == 1:
            fits = _has(facts, target, tolerance)
        if fits:
            wrong.discard("sum")
        if _is_least(speed.min, facts, duplicates[: len(duplicates) if q else 0], r, speed.n):
            wrong.discard("min")
        turned = [-v for v in reversed(facts)]
        others = [-v for v in reversed(duplicates)] if q else []
        if _is_least(None if speed.max is None else -speed.max, turned, others, r, speed.n):
            wrong.discard("max")
        if not wrong:
            break
    return wrong if possible else {"n", *wrong}


def _is_least(value: float | None, facts: Sequence[float], duplicates: Sequence[float], left_out: int, n: int) -> bool:
    """Can `value` be the least of `n` values, which are the facts without some, and some duplicates?"""
    if value is None:
        return n == 0
    smaller = bisect_left(facts, value)
    if smaller > left_out:
        return False
    return _has(facts, value, 0.0) or _has(duplicates, value, 0.0)


def _has(values: Sequence[float], value: float, tolerance: float) -> bool:
    return bisect_left(values, value - tolerance) < bisect_right(values, value + tolerance)
