"""The data-quality report: what it says of a day, on its page and in Markdown."""

import html
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from quality.checks.completeness import check_books
from quality.checks.quarantine import check_quarantine
from quality.masking import Masker
from quality.outcome import Sample
from quality.report.gather import lines_of
from quality.report.markdown import markdown
from quality.report.model import Hour, QuarantineRule, Report, Requeue
from quality.report.page import gauge, render
from quality.results import Result
from tests.unit.test_quality_checks import BOOKS, USERS

DAY = datetime(2026, 11, 5, tzinfo=UTC)
SAMPLE = Sample("event_type: missing", "app-user-events", 2, 7, {"user_id": "masked 1234abcd, 3 characters"})


def key(hour: int) -> str:
    return f"2026-11-05-{hour:02}"


def result(check: str, hour: int, status: Any = "passed", **other: Any) -> Result:
    built = Result(
        "facts/user_events",
        check,
        key(hour),
        DAY + timedelta(days=1),
        status,
        "error",
        "10 seen",
        "10 to 12",
        0,
        10,
        (),
        {},
        None,
    )
    return replace(built, **other)


def sample_report(**change: Any) -> Report:
    hours = [Hour(DAY + timedelta(hours=i)) for i in range(24)]
    hours[11] = replace(hours[11], facts=9_950, quarantined=50, late=3, final=True, unexplained=0)
    hours[12] = replace(hours[12], facts=400, duplicates=7, outdated=True)
    results = [
        *(result("contract", h) for h in range(10, 14)),
        result("completeness", 11, failing=0),
        result("completeness", 12, "failed", failing=2, denominator=409, observed="99.5% of the lake's records",
               samples=({"position": "app-user-events/0/5", "rule": "missing", "fields": {}},)),
        result("volume", 11, "unknown", severity="warning", observed="9,950 facts; not enough history: 0 days"),
    ]  # fmt: skip
    rule = QuarantineRule("event_type: missing", 50, key(11), key(11), (SAMPLE,), Requeue("contract", 0))
    report = Report(
        USERS,
        "2026-11-05",
        DAY + timedelta(days=1, hours=1),
        hours,
        lines_of(results),
        (rule,),
        check_books(USERS, BOOKS),
    )
    return replace(report, **change)


def text_of(page: str) -> str:
    body = re.sub(r"<(style|title)\b.*?</\1>", " ", page, flags=re.S)
    return re.sub(r"[ \n]+", " ", html.unescape(re.sub(r"<[^>]+>", " ", body)))


def test_a_check_over_the_day_is_as_bad_as_its_worst_hour() -> None:
    lines = {line.check: line for line in sample_report().lines}
    assert [line.check for line in sample_report().lines] == ["contract", "completeness", "volume"]
    assert {check: line.status for check, line in lines.items()} == {
        "contract": "passed",
        "completeness": "failed",
        "volume": "unknown",
    }
    failed = lines["completeness"]
    assert (failed.failing, failed.denominator, failed.shown.partition) == (2, 419, key(12))


@pytest.mark.parametrize(
    ("change", "reading"),
    [
        ({}, "errors"),
        ({"lines": lines_of([result("contract", 1)])}, "sound"),
        ({"lines": lines_of([result("contract", 1), result("volume", 1, "failed", severity="warning")])}, "warnings"),
        ({"lines": lines_of([result("volume", 1, "unknown")])}, "nothing checked"),
        ({"lines": ()}, "nothing checked"),
        ({"lines": lines_of([result("contract", 1)]), "books": check_books(USERS, replace(BOOKS, late=9))}, "errors"),
    ],
)
def test_the_reading_of_the_day(change: dict[str, Any], reading: str) -> None:
    report = sample_report(**change)
    assert report.reading == reading
    assert markdown(report).startswith(f"**user_events, 2026-11-05: {reading}**")
    assert f"2026-11-05: {reading}</title>" in render(report)


def test_the_page_says_it_all_in_words() -> None:
    text = text_of(render(sample_report()))
    for message in (
        "user_events 2026-11-05",
        "10,350",  # facts of the day
        "50 0.48 %",  # quarantined, of all that came
        "1 of 2 with events",
        "99.5% of the lake's records 12\u201313",
        "10 to 12",
        "2 419 0.47 %",  # failing, of, share
        "9,950 facts; not enough history: 0 days",
        "app-user-events/2/7 user_id masked 1234abcd, 3 characters",
        "streamgauge dead-letters requeue app-user-events/2/7",
        "streamgauge dead-letters requeue --stream user_events --reason contract",
        "streamgauge backfill facts --from 2026-11-05-12 --to 2026-11-05-13 --stream user_events",
        "provisional, to be built again",
        "100 acknowledged to the worker = 90 counted + 4 late + 3 duplicates + 3 dead letters",
    ):
        assert message in text, message


def test_what_the_worker_has_no_dead_letter_of_is_built_again_instead() -> None:
    rule = replace(sample_report().quarantine[0], requeue=None, last=key(23))
    text = text_of(render(sample_report(quarantine=(rule,))))
    assert "dead-letters requeue" not in text
    assert "streamgauge backfill facts --from 2026-11-05-11 --to 2026-11-06-00 --stream user_events" in text


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    page = render(sample_report())
    assert not re.search(r"<script|<link|@import|url\(|https?://|\son\w+=", page)
    assert "default-src 'none'" in page


def test_text_from_outside_stays_text() -> None:
    evil = Sample("<b>rule</b>", "t", 0, 1, {"event_type": "<script>alert(1)</script>"})
    rule = replace(sample_report().quarantine[0], rule="<b>rule</b>", samples=(evil,))
    page = render(sample_report(quarantine=(rule,)))
    assert "<script" not in page
    assert "<b>rule" not in page
    assert "&lt;b>rule" in markdown(sample_report(quarantine=(rule,)))


def test_a_day_without_events() -> None:
    hours = [Hour(DAY + timedelta(hours=i)) for i in range(24)]
    report = sample_report(hours=hours, lines=(), quarantine=())
    assert "Nothing was quarantined." in text_of(render(report))
    assert {b.height for b in gauge(report).bars} == {0.0}


def test_the_gauge_is_to_scale() -> None:
    built = gauge(sample_report())
    assert [label for _, label in built.ticks] == ["0", "5,000", "10,000"]
    full = built.bars[11]
    assert full.height == pytest.approx(built.height * 0.995)
    assert full.y + full.height == pytest.approx(built.height)
    assert full.bad_height >= 2


def test_check_and_report_mean_the_same_share_of_quarantined_records() -> None:
    hours = [Hour(DAY, facts=90, duplicates=6, quarantined=4)]
    quarantined = pl.DataFrame({"rule": ["future"] * 4, "partition": [0] * 4, "offset": range(4)})
    outcome = check_quarantine(USERS, hours[0].facts + hours[0].duplicates, quarantined, Masker(USERS))
    assert (outcome.failing / outcome.denominator, outcome.observed) == (0.04, "4.00% quarantined")
    assert sample_report(hours=hours).quarantined_share == 0.04
