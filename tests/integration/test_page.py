"""The live page in Chromium, against an API that says what each test wants."""

import re
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, Page, expect

from quality.report.model import Hour
from quality.report.page import render
from serving.schemas import Anomalies, Catalogue, SavedView, Stream, Traces
from streamgauge.dagster.hours import HOUR
from tests.integration.browser import chromium, opened, serious
from tests.integration.page_api import KINDS, ODD, Answers, serve
from tests.integration.workers import wait_for
from tests.unit.test_report import DAY, sample_report

MARKUP = "<img src=x onerror=alert(1)>"
NONE = "\N{EN DASH}"
EXPLORE = "#/user_events/explore?by=event_type&where=event_type%3AKind01&where=event_type%3AKind02"
VIEWS = ("", "#/operations", "#/all-streams", "#/saved-views", "#/user_events/about", EXPLORE)
VIEW = {"name": MARKUP, "stream": "user_events", "question": "by=event_type&range=7d", "shared": True}
FRESH = re.compile(r"^Fresh, complete until \d\d:\d\d, final until \d\d:\d\d\.$")
GONE = re.compile(r"^Disconnected since \d\d:\d\d:\d\d\. The numbers are from")


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with chromium() as built:
        yield built


@pytest.fixture
def answers() -> Answers:
    built = Answers()
    built.save(VIEW, own=False)
    return built


@pytest.fixture
def api(answers: Answers) -> Generator[str]:
    with serve(answers) as server:
        yield address(server.port)


def address(port: int) -> str:
    return f"http://127.0.0.1:{port}/"


@pytest.fixture
def shown(browser: Browser, api: str) -> Generator[Page]:
    with opened(browser, api) as built:
        expect(built.locator("#reading")).not_to_have_text(NONE)
        yield built


def status(page: Page) -> str | None:
    return page.locator("body").get_attribute("data-connection")


def test_the_answers_here_have_the_shape_of_the_apis(answers: Answers) -> None:
    Stream.model_validate(answers.stream("user_events"))
    Anomalies.model_validate(answers.anomalies("user_events"))
    Catalogue.model_validate(answers.catalogue("user_events"))
    Traces.model_validate(answers.traces("user_events"))
    SavedView.model_validate(answers.save(VIEW))


def test_the_answer_comes_first_then_the_numbers(shown: Page, answers: Answers) -> None:
    expect(shown.locator("h1:visible")).to_have_text("User events")
    expect(shown.locator("#verdict")).to_have_text(FRESH)
    expect(shown.locator("#reading")).to_have_text(f"{answers.minute(3)['count']:,}")
    expect(shown.locator("#account-counted")).to_have_text("100,900")
    expect(shown.locator("#account-dead_letters")).to_have_text("3")
    expect(shown.locator("#ranking li .key").first).to_have_text(MARKUP)
    expect(shown.locator("#checks tbody tr")).to_have_count(5)
    expect(shown.locator("#assets").get_by_role("link", name="facts/user_events_facts in Dagster")).to_have_attribute(
        "href", "http://127.0.0.1:1/assets/facts"
    )
    expect(shown.locator("#quality tbody tr").first).to_contain_text("Failed")
    expect(shown.locator("#reports a").first).to_have_attribute("href", "/v1/streams/user_events/reports/2026-11-22")


def test_the_table_behind_the_chart_says_what_the_chart_shows(shown: Page, answers: Answers) -> None:
    shown.get_by_text("Show as a table").click()
    rows = shown.locator("#chart-table tbody tr")
    expect(rows.first).to_contain_text("Still filling")
    expect(rows.nth(3)).to_contain_text("Provisional")
    expect(rows.nth(30)).to_contain_text("Final")
    numbers = rows.locator("td.numeric").all_text_contents()
    assert numbers == [f"{answers.minute(back)['count']:,}" for back in range(len(numbers))]
    assert len(numbers) >= 55


def test_the_band_is_behind_the_bars_and_what_lies_beyond_is_marked_and_listed(shown: Page, answers: Answers) -> None:
    expect(shown.locator("#legend-band")).to_be_visible()
    expect(shown.locator("#legend-anomaly")).to_be_visible()
    chart = shown.locator("#chart")
    chart.focus()
    shown.keyboard.press("End")
    for _ in range(ODD):
        shown.keyboard.press("ArrowLeft")
    odd = answers.minute(ODD)["count"]
    text = chart.get_attribute("aria-valuetext") or ""
    expected = f"{odd * 2:,} ({round(odd * 1.8):,} to {round(odd * 2.2):,})"
    assert text.endswith(f": {odd:,} events, provisional, expected {expected}, not as expected")
    shown.keyboard.press("ArrowLeft")
    assert not (chart.get_attribute("aria-valuetext") or "").endswith("not as expected")
    marked = _pixels(shown, "--bad")
    assert marked > 20
    assert _pixels(shown, "--rule") > 2000
    rows = shown.locator("#anomalies tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("Count, all events")
    expect(rows.nth(1)).to_contain_text(MARKUP)
    expect(rows.nth(1)).to_contain_text("Goes on")
    shown.get_by_label("Measure").select_option("late")
    expect(shown.locator("#legend-band")).to_be_hidden()
    expect(shown.locator("#legend-anomaly")).to_be_hidden()


def _pixels(shown: Page, colour: str) -> int:
    """How many of the chart's are of this colour."""
    return shown.evaluate(
        """(name) => {
        const canvas = document.querySelector("#chart canvas");
        const probe = document.createElement("canvas").getContext("2d");
        probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
        probe.fillRect(0, 0, 1, 1);
        const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let found = 0;
        for (let i = 0; i < data.length; i += 4) if (data[i] === r && data[i + 1] === g && data[i + 2] === b) found++;
        return found;
        }""",
        colour,
    )


def test_where_all_is_as_expected_it_says_so(browser: Browser, answers: Answers) -> None:
    answers.unusual = False
    with serve(answers) as server, opened(browser, address(server.port)) as page:
        expect(page.locator("#anomalies-none")).to_have_text("Every series is as expected.")
        expect(page.locator("#legend-anomaly")).to_be_hidden()


def test_a_bucket_tells_where_it_comes_from_by_mouse_and_by_keyboard(shown: Page) -> None:
    dialog = shown.get_by_role("dialog")
    shown.locator(".u-over").click(position={"x": 300, "y": 150})
    expect(dialog).to_contain_text("Where does this number come from?")
    expect(dialog).to_contain_text("rollups/user_events_hourly")
    expect(dialog).to_contain_text("2 events arrived late.")
    expect(dialog.locator("pre")).to_contain_text(
        re.compile(r"streamgauge proof user_events count --window 1m --at \S+ -o")
    )
    shown.keyboard.press("Escape")
    expect(dialog).to_be_hidden()

    chart = shown.locator("#chart")
    chart.focus()
    before = chart.get_attribute("aria-valuetext")
    shown.keyboard.press("ArrowLeft")
    after = chart.get_attribute("aria-valuetext")
    assert before != after
    assert after is not None
    assert re.search(r"\d\d:\d\d .+ \d\d:\d\d: [\d,]+ events, provisional", after)
    shown.keyboard.press("Enter")
    expect(dialog).to_contain_text(after.split(":", 3)[0])
    shown.keyboard.press("Escape")
    expect(chart).to_be_focused()


def test_times_are_the_readers_and_utc_is_one_click_away(shown: Page) -> None:
    shown.get_by_text("Show as a table").click()
    first = shown.locator("#chart-table tbody th").first
    local = first.text_content() or ""
    shown.get_by_role("radio", name="UTC").check()
    expect(first).not_to_have_text(local)
    utc = first.text_content() or ""
    assert (int(local[-5:-3]) - int(utc[-5:-3])) % 24 in (1, 2)  # Berlin
    shown.reload()
    expect(shown.get_by_role("radio", name="UTC")).to_be_checked()


def test_the_top_list_moves(shown: Page, answers: Answers) -> None:
    second = shown.locator("#ranking li").nth(1)
    expect(second.locator(".key")).to_have_text("~3f9a1c")
    shown.evaluate("() => { window.moved = document.querySelectorAll('#ranking li')[1]; }")
    answers.shift = 300
    expect(shown.locator("#ranking li .key").first).to_have_text("~3f9a1c")
    assert shown.evaluate("() => document.querySelectorAll('#ranking li')[0] === window.moved")


def test_other_measures_and_ranges_are_asked_for(shown: Page) -> None:
    with shown.expect_request(lambda r: "rollups?window=1m" in r.url and "measures=commits_p95" in r.url):
        shown.get_by_label("Measure").select_option("commits_p95")
    expect(shown.locator("#chart-look")).to_contain_text("7.25 commits (p95)")
    with shown.expect_request(lambda r: "rollups?window=15m" in r.url and "limit=96" in r.url):
        shown.get_by_role("radio", name="24 h").check()
    with shown.expect_request(lambda r: "rollups?window=3h" in r.url and "limit=56" in r.url):
        shown.get_by_role("radio", name="7 d").check()
    shown.get_by_label("Most frequent what").select_option("by event_type")
    expect(shown.locator("#ranking li")).to_have_count(10)


def test_it_says_so_when_the_server_is_gone_and_comes_back(browser: Browser, answers: Answers) -> None:
    with serve(answers) as server:
        port = server.port
        manager = opened(browser, address(port))
        page = manager.__enter__()
        expect(page.locator("#connection")).to_have_text("Live")
    expect(page.locator("#connection")).to_have_text(GONE)
    expect(page.locator("#verdict")).to_have_text("Not known now: the numbers stand still.")
    with serve(answers, port):
        expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)
        expect(page.locator("#verdict")).to_contain_text("Fresh")
        assert answers.connections[0] is None
        assert answers.connections[-1] is not None, "it goes on where it stopped"
        manager.__exit__(None, None, None)


def test_silence_is_noticed(shown: Page, answers: Answers) -> None:
    answers.silent = True
    expect(shown.locator("#connection")).to_have_text(re.compile("^Disconnected"), timeout=25_000)
    answers.silent = False
    expect(shown.locator("#connection")).to_have_text("Live", timeout=25_000)


def test_where_the_live_connection_is_refused_it_asks(browser: Browser, api: str, answers: Answers) -> None:
    answers.no_live = True
    with opened(browser, api) as page:
        expect(page.locator("#connection")).to_have_text(re.compile("^Asking every 5 s"), timeout=20_000)
        expect(page.locator("#reading")).to_have_text(f"{answers.minute(3)['count']:,}")
        answers.no_live = False
        expect(page.locator("#connection")).to_have_text("Live", timeout=20_000)


def test_what_the_api_says_of_its_servers_is_reported(shown: Page, answers: Answers) -> None:
    line = shown.locator("#connection")
    answers.problem = "Postgres does not answer."
    expect(line).to_have_text(re.compile("^Standing still. The numbers are from .+ Postgres does not answer.$"))
    expect(shown.locator("#verdict")).to_have_text("Not known now: the numbers stand still.")
    answers.problem = None
    expect(line).to_have_text("Live")
    answers.partial.append("Redis does not answer.")
    expect(line).to_have_text("Live, but not whole. Redis does not answer.")
    expect(shown.locator("#verdict")).to_contain_text("Fresh")
    answers.partial.clear()
    expect(line).to_have_text("Live")


def test_nothing_new_is_not_standing_still(shown: Page, answers: Answers) -> None:
    answers.still = True

    def behind() -> float:
        shown.wait_for_timeout(100)
        return float((shown.locator("#answer-fresh .value").text_content() or "").split()[0])

    wait_for(lambda: behind() > 6.5, "4.2 s, and older by the second", 20)
    assert shown.locator("#connection").text_content() == "Live"
    expect(shown.locator("#connection-age")).to_have_text(re.compile(r"^as of [01] s ago$"))


@pytest.mark.parametrize("facts", [9, 950, 99_000, 1_234_567, 98_765_432])
def test_the_reports_axis_is_not_cut_off(browser: Browser, facts: int) -> None:
    page = browser.new_page()
    page.set_content(render(sample_report(hours=[Hour(DAY + i * HOUR, facts) for i in range(24)])))
    left = page.evaluate(
        "() => Math.min(...[...document.querySelectorAll('.gauge text')].map((t) => t.getBoundingClientRect().left"
        " - t.ownerSVGElement.getBoundingClientRect().left))"
    )
    assert left >= 0
    page.close()


def test_page_and_report_have_the_same_colours(browser: Browser, shown: Page) -> None:
    read = (
        "() => ['paper', 'sheet', 'ink', 'water', 'good', 'bad'].map((name) =>"
        " getComputedStyle(document.documentElement).getPropertyValue(`--${name}`))"
    )
    report = browser.new_page()
    report.set_content(render(sample_report()))
    assert "" not in report.evaluate(read)
    assert report.evaluate(read) == shown.evaluate(read)
    report.close()


def test_an_address_with_a_broken_escape_opens_the_page(browser: Browser, api: str) -> None:
    with opened(browser, f"{api}#/%") as page:
        expect(page.locator("#reading")).not_to_have_text(NONE)
        expect(page.locator("h1:visible")).to_have_text("User events")


def test_it_opens_with_the_busiest_stream_or_with_that_of_the_address(
    browser: Browser, api: str, answers: Answers
) -> None:
    answers.recent = {"user_events": 10, "system_events": 11}
    with opened(browser, api) as page:
        expect(page.locator("h1:visible")).to_have_text("System events")
        expect(page.locator("#streams [aria-current]")).to_have_text("System events")
    with opened(browser, f"{api}#/user_events") as page:
        expect(page.locator("h1:visible")).to_have_text("User events")


def test_an_address_of_nothing_says_so(browser: Browser, api: str) -> None:
    with opened(browser, f"{api}#/nonsense") as page:
        expect(page.locator("h1:visible")).to_have_text("There is no stream “nonsense” here.")
        expect(page).to_have_title("Not found · Streamgauge")
        expect(page.locator("nav:visible [aria-current]")).to_have_count(0)
        assert serious(page) == []
        page.get_by_role("link", name="the busiest").click()
        expect(page.locator("h1:visible")).to_have_text("User events")


def test_a_key_is_asked_for_once(browser: Browser, api: str, answers: Answers) -> None:
    answers.key = "secret"
    with opened(browser, api) as page:
        page.get_by_label("API key").fill("secret")
        page.get_by_role("button", name="Open").click()
        expect(page.locator("#reading")).not_to_have_text(NONE)


def test_an_alert_says_what_it_is_about_and_leads_to_what_to_do(browser: Browser, api: str, answers: Answers) -> None:
    since = answers.operations()["as_of"]
    alert = {"name": "StreamgaugeWorkerStopped", "stream": None, "severity": "critical", "since": since}
    texts = {"summary": "The worker has stopped.", "description": "12 records wait in Kafka."}
    answers.alerts.append({**alert, **texts, "runbook_url": f"{api}docs/runbooks/worker-stopped.md", "state": "active"})
    with opened(browser, f"{api}#/operations") as page:
        expect(page.locator("#alerts li")).to_contain_text("12 records wait in Kafka.")
        page.get_by_role("link", name="What to do about StreamgaugeWorkerStopped").click()
        expect(page.locator("h1")).to_have_text("The worker has stopped committing")
        assert serious(page) == []
        page.get_by_role("link", name="worker-restarts").click()
        expect(page).to_have_url(f"{api}docs/runbooks/worker-restarts.md")
        page.get_by_role("link", name="Documentation").click()
        page.get_by_role("link", name="Dead letters", exact=True).click()
        expect(page.locator("main table").first).to_be_visible()
        assert serious(page) == []


def test_operations(browser: Browser, api: str, answers: Answers) -> None:
    since = answers.operations()["as_of"]
    alert = {"name": "Stale", "stream": "user_events", "severity": "critical", "summary": "Too old.", "since": since}
    answers.alerts.append({**alert, "runbook_url": "javascript:alert(1)", "state": "active"})
    answers.alert_notes.append("Alertmanager did not answer.")
    with opened(browser, f"{api}#/operations") as page:
        expect(page.locator("#operations-verdict")).to_have_text("One part is down: redis.")
        expect(page.locator("#parts li", has_text="kafka")).to_contain_text("Up")
        expect(page.locator("#lag tbody tr")).to_have_count(6)
        expect(page.locator("#throughput")).to_contain_text("19,874")
        expect(page.locator("#budgets li").first).to_contain_text("Freshness, user events83.0 % left")
        expect(page.locator("#budgets li").first).to_contain_text("62.0 % of what is used went in the hour from")
        expect(page.locator("#budgets li").last).to_contain_text("API latency10.0 % left")
        expect(page.locator("#alerts li")).to_contain_text("Too old.")
        expect(page.locator("#alerts a")).to_have_count(0)
        expect(page.locator("#alerts-note")).to_have_text("Alertmanager did not answer.")
        page.get_by_role("link", name="1 alert").click()
        expect(page.locator("#operations-view")).to_be_visible()


def test_what_a_stream_is_and_who_reads_it(browser: Browser, api: str, answers: Answers) -> None:
    with opened(browser, f"{api}#/all-streams") as page:
        rows = page.locator("#all-streams tbody tr")
        expect(rows).to_have_count(2)
        expect(rows.first).to_contain_text("product-analytics")
        expect(rows.first).to_contain_text("1 of 2 checks failed")
        rows.first.get_by_role("link", name="User events").click()
        expect(page).to_have_url(f"{api}#/user_events/about")
        expect(page.locator("nav a[aria-current=page]")).to_have_text(["User events", "About"])
        expect(page.locator("#about-facts")).to_contain_text(
            "events in Kafka 7 days, in the lake 400 days, facts 20 years"
        )
        expect(page.locator("#about-today")).to_contain_text("4.2 s behind now, target 60 s")
        expect(page.locator("#about-checks")).to_have_text("1 of 2 checks failed")
        report = page.get_by_role("link", name="Report of 2026-11-22")
        expect(report).to_have_attribute("href", "/v1/streams/user_events/reports/2026-11-22")
        fields = page.locator("#about-fields tbody tr")
        expect(fields).to_have_count(7)
        person = fields.filter(has=page.get_by_role("rowheader", name="user_id"))
        expect(person).to_contain_text("personal")
        expect(person).to_contain_text("1 to 128 characters")
        expect(person).to_contain_text("dimension actor kind, by the reference table; distinct users; top users")
        alert = page.locator("#about-alerts tbody tr")
        expect(alert).to_have_text(f"too fewcount of 5 minbelow 10 is warning{MARKUP}")
        expect(page.locator("#about-readers tbody tr")).to_have_count(2)
        expect(page.locator("#about-readers tbody tr").first).to_contain_text("grafana12,034")
        page.locator("#about-numbers").get_by_role("link", name="actor kind").click()
        expect(page).to_have_url(f"{api}#/user_events/explore?by=actor_kind")


def test_a_view_is_saved_opened_renamed_and_deleted(browser: Browser, api: str, answers: Answers) -> None:
    answers.key = "secret"
    with opened(browser, f"{api}{EXPLORE}") as page:
        page.evaluate("() => sessionStorage.setItem('streamgauge.key', 'secret')")
        page.reload()
        explored(page)
        page.get_by_role("button", name="Save view").click()
        assert serious(page) == []
        expect(page.get_by_role("textbox", name="Name")).to_have_value("Events by 15 minutes and event type")
        page.get_by_role("textbox", name="Name").fill("Two kinds")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="all saved views").click()
        rows = page.locator("#saved-views tbody tr")
        expect(rows).to_have_count(2)
        assert answers.saved[1]["question"] == EXPLORE.partition("?")[2] and not answers.saved[1]["shared"]
        expect(rows.first).to_contain_text(MARKUP)
        expect(rows.first).to_contain_text("Events, by event type, 7d")
        expect(rows.first).to_contain_text("bob")
        expect(rows.first.get_by_role("button")).to_have_count(0)
        own = rows.nth(1)
        expect(own).to_contain_text("Events, by event type, event type Kind01, event type Kind02, 24h")
        own.get_by_role("button", name="Rename or share Two kinds").click()
        page.get_by_role("textbox", name="Name").fill("Kinds")
        page.get_by_label("All who may read the stream see it").check()
        page.get_by_role("button", name="Save", exact=True).click()
        renamed = rows.filter(has=page.get_by_role("link", name="Kinds", exact=True))
        expect(renamed).to_contain_text("All readers")
        page.get_by_role("link", name="Kinds", exact=True).click()
        expect(page).to_have_url(f"{api}{EXPLORE}")
        page.go_back()
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Delete Kinds").click()
        expect(rows).to_have_count(1)
        expect(page.locator("#saved-views-note")).to_have_text("“Kinds” is deleted.")
        expect(page.get_by_role("heading", name="Saved views")).to_be_focused()


def test_saving_asks_who_has_no_key_for_one_and_loses_nothing(browser: Browser, api: str) -> None:
    with opened(browser, f"{api}{EXPLORE}") as page:
        explored(page)
        page.get_by_role("button", name="Save view").click()
        expect(page.locator("#key-problem")).to_contain_text("streamgauge api-keys create NAME --as viewer")
        page.keyboard.press("Escape")
        page.get_by_label("broken down by").select_option("Nothing")
        expect(page.locator("#explore-title")).to_have_text("Events by 15 minutes")
        page.go_back()
        page.get_by_role("button", name="Save view").click()
        page.get_by_label("API key").fill("secret")
        page.get_by_role("button", name="Open").click()
        explored(page)
        expect(page).to_have_url(f"{api}{EXPLORE}")
        page.get_by_role("button", name="Save view").click()
        expect(page.get_by_role("textbox", name="Name")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", VIEWS)
def test_axe_finds_nothing_serious(browser: Browser, api: str, scheme: str, path: str) -> None:
    with opened(browser, api + path, color_scheme=scheme, reduced_motion="reduce") as page:
        expect(page.locator("#connection")).to_have_text(re.compile("^(Live|Up to date)$"))
        if not path:
            page.get_by_text("Show as a table").click()
            expect(page.locator("#checks tbody tr")).to_have_count(5)
        assert serious(page) == []
        if not path:
            page.locator("#reading-where").click()
            expect(page.get_by_role("dialog")).to_contain_text("Counted by")
            assert serious(page) == []


@pytest.mark.parametrize("path", VIEWS)
def test_a_phone_scrolls_in_one_direction(browser: Browser, api: str, path: str) -> None:
    with opened(browser, api + path, viewport={"width": 360, "height": 700}, has_touch=True) as page:
        expect(page.locator("#connection")).to_have_text(re.compile("^(Live|Up to date)$"))
        tables = ("explore-totals", "all-streams", "saved-views", "about-fields")
        drawn = ", ".join(("#reading-where", "#parts li", *(f"#{table} tbody tr" for table in tables)))
        page.locator(drawn).locator("visible=true").first.wait_for()
        assert page.evaluate("() => document.documentElement.scrollWidth") == 360
        if not path:
            page.locator("#reading-where").tap()
            expect(page.get_by_role("dialog")).to_contain_text("Counted by")
            assert page.evaluate("() => document.querySelector('#provenance').scrollWidth") <= 360


def explored(page: Page) -> None:
    expect(page.locator("#connection")).to_have_text("Up to date")
    expect(page.locator("#explore-result")).not_to_have_attribute("aria-busy", "true")


def test_an_answer_is_broken_down_compared_and_filtered(browser: Browser, api: str) -> None:
    with opened(browser, f"{api}#/user_events/explore") as page:
        explored(page)
        page.get_by_label("broken down by").select_option("event_type")
        expect(page).to_have_url(f"{api}#/user_events/explore?by=event_type")
        rows = page.locator("#explore-totals tbody tr")
        expect(rows).to_have_count(len(KINDS))
        assert rows.locator("th").all_text_contents() == list(reversed(KINDS))
        expect(rows.first).to_contain_text("15.4 %")  # 12 of 78
        expect(rows.first).to_contain_text(re.compile(r"\+9\d\d\.\d %"))  # of the part of the day that is over
        assert page.locator("#explore-legend li").all_text_contents() == [*reversed(KINDS[4:]), "other"]
        chart = page.locator("#explore-chart")
        chart.focus()
        text = chart.get_attribute("aria-valuetext") or ""
        assert "11,700 events" in text, "15 minutes of 780 each"
        assert "the period before 1,170 (+900.0 %)" in text
        assert "Kind11 1,800" in text and "other 1,500" in text

        page.get_by_role("button", name="Only event type Kind03").click()
        expect(rows).to_have_count(1)
        page.get_by_label("against").select_option("Nothing")
        expect(page).to_have_url(f"{api}#/user_events/explore?by=event_type&where=event_type%3AKind03&against=")
        expect(rows.first.locator("td").nth(2)).to_have_text(NONE)
        page.go_back()
        expect(page.get_by_label("against")).to_have_value("before")
        page.get_by_role("button", name="Remove the filter event type Kind03").click()
        expect(rows).to_have_count(len(KINDS))

        page.get_by_label("Ask for").select_option("commits_p95")
        expect(page.locator("#explore-legend li")).to_have_count(8)
        expect(page.locator("#explore-by-note")).to_contain_text("do not add up")


def test_any_range_is_asked_for_and_yesterday_is_the_readers(browser: Browser, api: str) -> None:
    with opened(browser, f"{api}#/user_events/explore") as page:
        explored(page)
        page.get_by_role("button", name="Yesterday").click()
        expect(page.get_by_label("From", exact=True)).to_have_value(re.compile("T00:00$"))
        with page.expect_request(lambda r: "window=3h" in r.url and "from=2026-01-01T06%3A00%3A00Z" in r.url):
            page.get_by_label("From", exact=True).fill(
                "2026-01-01T08:00"
            )  # Berlin; windows of 3 hours begin at 6 of UTC
            page.get_by_label("to", exact=True).fill("2026-01-08T08:00")
            page.get_by_role("button", name="Show", exact=True).click()
        expect(page.get_by_role("radio", name="24 h").locator("visible=true")).not_to_be_checked()
        page.get_by_label("to", exact=True).fill("2025-01-08T08:00")
        page.get_by_role("button", name="Show", exact=True).click()
        expect(page.locator("#explore-misread")).to_have_text("Choose a beginning that lies before the end.")


def test_an_event_is_found_by_its_id(browser: Browser, api: str, answers: Answers) -> None:
    with opened(browser, api) as page:
        page.get_by_role("link", name="Find an event").click()
        expect(page.get_by_label("Event id")).to_be_focused()
        page.get_by_label("Event id").fill("nix")
        page.keyboard.press("Enter")
        expect(page.locator("#event-note")).to_have_text("No event 'nix' came. Check the id.")
        page.get_by_label("Event id").fill(answers.event)
        page.locator("#event-stream").select_option("system_events")
        page.get_by_role("button", name="Find").click()
        expect(page.locator("#event-traces h2")).to_have_text("System events: Counted: it is a fact")
        expect(page.locator("#event-traces")).to_contain_text(MARKUP)
        steps = page.locator("#event-traces")
        lake = steps.get_by_role("link", name="lake/system_events_lake in Dagster")
        expect(lake).to_have_attribute("href", "http://127.0.0.1:1/lake")
        of_both = steps.get_by_role("link", name="Trace")
        expect(of_both).to_have_count(2)
        expect(of_both.first).to_have_attribute("href", "http://127.0.0.1:1/zipkin/traces/1")
        expect(steps.get_by_role("link", name="Log lines")).to_have_count(0)
        assert serious(page) == []
        address_of_it = page.url
        page.go_back()
        expect(page.get_by_label("Event id")).to_have_value("nix")
    with opened(browser, address_of_it) as page:
        expect(page.locator("#event-traces h2")).to_have_text("System events: Counted: it is a fact")


def test_an_address_that_asks_what_is_not_says_so(browser: Browser, api: str) -> None:
    with opened(browser, f"{api}#/user_events/explore?by=nix&range=7d") as page:
        explored(page)
        expect(page.locator("#explore-misread")).to_have_text(
            "The address asks for by “nix”, which is none of event_type."
        )
        expect(page.get_by_label("broken down by")).to_have_value("")
        expect(page.locator("input[name=explore-range]:checked")).to_have_value("7d")


def test_reduced_motion_moves_nothing(browser: Browser, api: str, answers: Answers) -> None:
    with opened(browser, api, reduced_motion="reduce") as page:
        expect(page.locator("#ranking li")).to_have_count(5)
        answers.shift = 300
        expect(page.locator("#ranking li .key").first).to_have_text("~3f9a1c")
        assert page.evaluate("() => document.getAnimations().length") == 0


def test_everything_is_reached_by_the_keyboard(shown: Page) -> None:
    reached: set[str] = set()
    for _ in range(60):
        shown.keyboard.press("Tab")
        reached.add(shown.evaluate("() => document.activeElement.id || document.activeElement.name || 'other'"))
    assert {"reading-where", "chart", "measure", "range", "top", "top-window", "zone", "theme"} <= reached


def test_screen_readers_are_told_of_changes_not_of_every_number(shown: Page) -> None:
    shown.wait_for_timeout(1000)
    shown.evaluate(
        "() => { window.said = []; for (const e of document.querySelectorAll('[role=status]'))"
        " new MutationObserver(() => said.push(e.textContent))"
        ".observe(e, { childList: true, characterData: true, subtree: true }); }"
    )
    shown.wait_for_timeout(4000)
    assert shown.evaluate("() => window.said") == []
