"""An hour's number of facts against the same hour of the days before."""

from collections.abc import Sequence
from statistics import median

from quality.outcome import CheckOutcome, verdict
from streamgauge.contract.model import Contract
from streamgauge.text import number, plural

CHECK = "volume"
_NORMAL = 1.4826
"""Times the median absolute deviation: the standard deviation, if the numbers were normally distributed."""
_FLOOR_SHARE = 0.05
_FLOOR = 1.0
"""Hours that hardly ever differ must not make one event more a surprise."""
_NEVER_SILENT = 10
"""Where so many are usual and no hour before was empty, silence is a surprise, however much the hours differ: by chance
alone it would come once in 20,000 hours."""


def check_volume(contract: Contract, facts: int, history: Sequence[int]) -> CheckOutcome:
    """`history`: facts of the same hour on the days before that the stream has; an hour without events is a zero.

    Median and deviation from it, not mean and variance: one broken day would widen those until nothing stands out.
    """
    spec = contract.checks.volume
    if len(history) < spec.minimumDays:
        return CheckOutcome(
            CHECK,
            "unknown",
            spec.severity,
            observed=f"{plural(facts, 'fact')}; not enough history: {plural(len(history), 'day')}",
            expected=f"like the same hour of at least {spec.minimumDays} days before",
            details={"facts": facts, "days": len(history)},
        )
    middle = median(history)
    spread = max(_NORMAL * median(abs(n - middle) for n in history), _FLOOR_SHARE * middle, _FLOOR)
    least = 1.0 if middle >= _NEVER_SILENT and min(history) > 0 else 0.0
    low, high = max(least, middle - spec.deviations * spread), middle + spec.deviations * spread
    away = (facts - middle) / spread
    return CheckOutcome(
        CHECK,
        verdict(low <= facts <= high),
        spec.severity,
        observed=plural(facts, "fact"),
        expected=f"{number(round(low))} to {number(round(high))}, by the same hour of {plural(len(history), 'day')}",
        failing=0 if low <= facts <= high else 1,
        denominator=1,
        details={"facts": facts, "median": middle, "spread": round(spread, 3), "deviations": round(away, 2)},
    )
