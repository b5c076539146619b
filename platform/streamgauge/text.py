"""Numbers and times as people read them: on the command line, in messages and in reports.

The live page writes numbers in the same way (`serving/page/static/js/numbers.js`); a test holds the two together.
"""

import math
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal

NONE = "\N{EN DASH}"
_FINE = Context(prec=4, rounding=ROUND_HALF_UP)
_WHOLE = 10_000


def number(value: float | None) -> str:
    """Whole numbers and large ones in full, with commas; others with four significant digits."""
    if value is None:
        return NONE
    if isinstance(value, int) or value.is_integer() or abs(value) >= _WHOLE:
        return f"{math.floor(value + 0.5) if isinstance(value, float) else value:,}"
    fine = _FINE.create_decimal(Decimal(value)).normalize()
    return f"{fine:,f}"


def share(ratio: float | None) -> str:
    """Never rounded up to 100 %, nor down to 0 %: what is missing is seen."""
    if ratio is None:
        return NONE
    if 0 < ratio < 0.0001:
        return "< 0.01 %"
    hundredths = math.floor(ratio * 10_000 + 1e-9) / 100
    if hundredths in (0, 100):
        return f"{hundredths:.0f} %"
    return f"{_rounded(hundredths, 2 if hundredths > 99 or hundredths < 1 else 1)} %"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    sign, s = "-" if seconds <= -0.05 else "", abs(seconds)
    if s < 9.95:
        return f"{sign}{_rounded(s, 1)} s"
    for limit, unit, name in ((99.5, 1, "s"), (99.5 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if s < limit:
            return f"{sign}{_rounded(s / unit)} {name}"
    return f"{sign}{_rounded(s / 86_400)} days"


def _rounded(value: float, digits: int = 0) -> Decimal:
    """Halves up, as the page does."""
    return Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)


def moment(value: datetime | None) -> str:
    return NONE if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 event`, `2 events`."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"
