"""What a new user asks of the page, in Chromium, of the real API over both layers: each number is that of a plain loop
over the events, and each line that the page gives to take along has the same numbers."""

import io
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from playwright.sync_api import Browser, Page, expect
from psycopg.rows import dict_row

from streamgauge.dagster.hours import HOUR, hour_start
from streamgauge.settings import Settings
from streamgauge.stores.postgres import connect
from tests.integration.browser import chromium, opened
from tests.integration.own_stream import OwnStream, block
from tests.integration.running import Running
from tests.integration.serving_client import served
from tests.integration.serving_data import MINUTE, Data, event, make_final, read_by_worker
from tests.integration.workers import Workers

pytestmark = [pytest.mark.usefixtures("stack"), pytest.mark.timeout(300)]

_BERLIN = ZoneInfo("Europe/Berlin")
"""The browser's zone: its yesterday is asked for."""
_DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def data(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Data, str]]:
    """Two days: of the first PushEvents are the most, of the second, yesterday, ForkEvents; one of these came late, and
    its hour was made final twice."""
    folder = tmp_path_factory.mktemp("explore")
    own = OwnStream(folder)
    today = datetime.now(_BERLIN).replace(hour=0, minute=0, second=0, microsecond=0)
    noons = [datetime.combine(today.date() - n * _DAY, datetime.min.time(), _BERLIN) + 12 * HOUR for n in (2, 1)]
    events = [
        event(f"{day}-{kind}-{i}", noon + i * MINUTE * 2, i, kind)
        for day, noon in enumerate(noons)
        for kind, n in (("PushEvent", 60), ("ForkEvent", 20 + 50 * day), ("WatchEvent", 9))
        for i in range(n)
    ]
    late = event("late", noons[1] + 10 * MINUTE, 5, "ForkEvent")
    with Workers([own.name], folder) as workers:
        running = Running(own, workers)
        running.edit(lambda d: block(d, "time").update(idleAfterSeconds=3600))
        built = read_by_worker(running, noons[0], sorted(events, key=lambda e: e["timestamp"]), [late])
    make_final(built, {hour_start(noons[1]): 2})
    with served(folder, folder) as api:
        yield built, f"{api.url}/"


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with chromium() as built:
        yield built


def counts(data: Data, begin: datetime, end: datetime) -> Counter[str]:
    """By event type, of what is to be served."""
    final = {hour_start(data.first + _DAY)}
    found: Counter[str] = Counter()
    for (minute, kind), bucket in data.minutes(final).items():
        if begin <= minute < end:
            found[kind] += bucket.count
    return found


def settled(page: Page) -> None:
    page.wait_for_timeout(100)
    expect(page.locator("#explore-result")).not_to_have_attribute("aria-busy", "true")


def totals(page: Page) -> dict[str, list[str]]:
    """The table of values as it stands there."""
    settled(page)
    rows = page.locator("#explore-totals tbody tr")
    return {r.locator("th").inner_text(): r.locator("td").all_inner_texts() for r in rows.all()}


def drawn(page: Page) -> list[list[str]]:
    settled(page)
    return [r.locator("th, td").all_inner_texts()[:4] for r in page.locator("#explore-windows tbody tr").all()]


def taken(page: Page, kind: str) -> str:
    page.locator("#takeaway").get_by_role("button", name=kind, exact=True).click()
    expect(page.locator("#takeaway-note")).to_have_text("Copied.")
    text = page.locator("#takeaway-text").text_content() or ""
    assert page.evaluate("() => navigator.clipboard.readText()") == text
    return text


def by_kind(frame: pl.DataFrame) -> dict[tuple[datetime, str], int]:
    times = frame["window_start"]
    assert times.dtype == pl.Datetime("us", "UTC")
    return {(at, kind): n for at, kind, n in zip(times, frame["event_type"], frame["count"], strict=True)}


def test_a_new_users_questions(data: tuple[Data, str], browser: Browser) -> None:
    built, url = data
    noon = built.first + _DAY
    midnight = (noon - 12 * HOUR).astimezone(_BERLIN)
    own, before = counts(built, midnight, midnight + _DAY), counts(built, midnight - _DAY, midnight)
    copying = {"permissions": ["clipboard-read", "clipboard-write"]}
    with opened(browser, url, **copying) as page:
        page.clock.set_fixed_time(midnight + 40 * HOUR)  # it may be midnight any moment
        page.get_by_role("link", name="Explore").click()

        # yesterday's busiest value, and how it was the day before
        page.get_by_label("broken down by").select_option("event_type")
        page.get_by_role("button", name="Yesterday").click()
        expect(page.locator("#explore-number")).to_have_text(f"{own.total():,}")
        found = totals(page)
        assert list(found) == ["ForkEvent", "PushEvent", "WatchEvent"]
        number, share, change, earlier = found["ForkEvent"]
        assert (number, earlier) == (str(own["ForkEvent"]), str(before["ForkEvent"])) == ("71", "20")
        assert float(share.split()[0]) == pytest.approx(100 * own["ForkEvent"] / own.total(), abs=0.1)
        assert change == f"+{100 * (71 - 20) / 20:.1f} %"

        # what it takes along is what is seen
        page.get_by_text("All windows as a table").click()
        shown = drawn(page)
        assert sum(int(r[1]) for r in shown) == own.total()
        with page.expect_download() as saved:
            page.locator("#takeaway").get_by_role("button", name="CSV").click()
        csv = by_kind(pl.read_csv(saved.value.path(), try_parse_dates=True))
        sums: Counter[datetime] = Counter()
        for (at, _), n in csv.items():
            sums[at.astimezone(_BERLIN)] += n
        assert [int(r[1]) for r in shown] == [n for _, n in sorted(sums.items(), reverse=True)]
        with page.expect_download() as saved:
            page.locator("#takeaway").get_by_role("button", name="Arrow").click()
        assert by_kind(pl.read_ipc_stream(saved.value.path())) == csv
        assert asked_by_curl(taken(page, "curl")) == csv
        assert asked_by_polars(taken(page, "polars")) == csv
        assert asked_by_sql(taken(page, "SQL")) == csv

        # a link shows the same to somebody else
        link = taken(page, "Link")
        picture = page.evaluate("() => document.querySelector('#explore-chart canvas').toDataURL()")
        with opened(browser, link) as other:
            expect(other.locator("#explore-number")).to_have_text(f"{own.total():,}")
            other.get_by_text("All windows as a table").click()
            assert (totals(other), drawn(other)) == (found, shown)
            assert other.evaluate("() => document.querySelector('#explore-chart canvas').toDataURL()") == picture

        # what it is made of
        page.get_by_role("button", name="Only event type ForkEvent").click()
        page.get_by_label("broken down by").select_option("actor_kind")
        expect(page.locator("#explore-number")).to_have_text("71")
        assert totals(page)["unknown"][0] == "71"
        page.go_back()
        page.go_back()
        expect(page.locator("#explore-number")).to_have_text(f"{own.total():,}")

        # why one minute changed
        page.get_by_label("From", exact=True).fill(f"{noon.astimezone(_BERLIN):%Y-%m-%dT%H:%M}")
        page.get_by_label("to", exact=True).fill(f"{(noon + HOUR).astimezone(_BERLIN):%Y-%m-%dT%H:%M}")
        page.get_by_role("button", name="Show", exact=True).click()
        minute = (noon + 10 * MINUTE).astimezone(_BERLIN)
        expect(page.locator("#explore-when")).to_contain_text("Final, unchecked")
        page.get_by_role("button", name=f"Show where the number of {minute:%-d %b %H:%M}").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Final, revision 2")
        expect(dialog.locator(".reading strong")).to_have_text("4")


def asked_by_curl(line: str) -> dict[tuple[datetime, str], int]:
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True, timeout=30)
    return by_kind(pl.read_csv(io.BytesIO(done.stdout), try_parse_dates=True))


def asked_by_polars(lines: str) -> dict[tuple[datetime, str], int]:
    script = f"{lines}import sys\ndf.write_ipc(sys.stdout.buffer)\n"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=60)
    return by_kind(pl.read_ipc(io.BytesIO(done.stdout)))


def asked_by_sql(query: Any) -> dict[tuple[datetime, str], int]:
    with connect(Settings.for_role("reader")) as connection, connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(query).fetchall()
    return {(row["window_start"], row["event_type"]): row["count"] for row in rows}


def test_the_reference_asks_the_api(data: tuple[Data, str], browser: Browser) -> None:
    built, url = data
    with opened(browser, f"{url}api") as page:
        asked = page.locator(".opblock", has=page.get_by_text("/v1/streams/{stream}/catalogue"))
        asked.locator(".opblock-summary-control").click()
        asked.get_by_role("button", name="Try it out").click()
        asked.locator("select[name=stream], .parameters select").first.select_option(built.contract.stream)
        asked.get_by_role("button", name="Execute").click()
        answer = asked.locator(".live-responses-table tbody")
        expect(answer.locator(".response-col_status")).to_contain_text("200")
        expect(answer).to_contain_text(built.contract.topic)
        page.get_by_role("link", name="What the API promises").click()
        expect(page.locator("h1")).to_have_text("The API")
