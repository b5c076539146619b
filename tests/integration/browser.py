"""A real browser for the page's tests."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from serving import page

AXE = Path(page.__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Generator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, url: str, **context: Any) -> Generator[Page]:
    """A page that must not complain: an error, or something that its policy forbids, fails the test."""
    built = browser.new_context(timezone_id="Europe/Berlin", locale="en-GB", **context)
    shown = built.new_page()
    complaints: list[str] = []
    shown.on("pageerror", lambda e: complaints.append(str(e)))
    shown.on("console", lambda m: complaints.append(m.text) if "Content Security Policy" in m.text else None)
    hosts: set[str] = set()
    shown.on("request", lambda r: hosts.add(r.url.split("/")[2]))
    try:
        shown.goto(url)
        yield shown
        assert not complaints
        assert hosts == {url.split("/")[2]}
    finally:
        built.close()


def serious(shown: Page) -> list[str]:
    """What axe finds that keeps someone from using the page."""
    # As a debugger, not as the page: its policy allows no such script.
    shown.evaluate(AXE.read_text() + "; null")
    found = shown.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{v['id']}: {n['target']} {n['failureSummary']}"
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
        for n in v["nodes"]
    ]
