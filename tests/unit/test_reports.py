"""Where reports lie: written whole, found by day, and nothing outside of their folder."""

from pathlib import Path

import pytest

from streamgauge.errors import UserError
from streamgauge.stores.reports import Reports


def test_a_report_is_found_by_its_day(tmp_path: Path) -> None:
    reports = Reports(f"{tmp_path}/a lake/")
    assert (reports.days("user_events"), reports.read("user_events", "2026-11-05")) == ([], None)
    where = reports.write("user_events", "2026-11-05", "<p>größer</p>")
    reports.write("user_events", "2026-11-06", "second")
    assert Path(where).read_text() == reports.read("user_events", "2026-11-05") == "<p>größer</p>"
    assert reports.days("user_events") == ["2026-11-06", "2026-11-05"]
    reports.write("user_events", "2026-11-05", "again")
    assert reports.read("user_events", "2026-11-05") == "again"
    assert len(list(tmp_path.rglob("*.*"))) == 2


@pytest.mark.parametrize(
    ("stream", "day"), [("..", "2026-11-05"), ("a/b", "2026-11-05"), ("a", "../x"), ("a", "2026-11-05\n")]
)
def test_a_name_that_leads_elsewhere_is_refused(stream: str, day: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no report"):
        Reports(str(tmp_path)).read(stream, day)
