"""The live page on the real stack: its numbers are the API's, and it tells what is away."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from streamgauge.contract.model import Contract
from streamgauge.settings import PREFIX
from streamgauge.stack.control import Stack
from streamgauge.stack.layout import LOOPBACK
from tests.integration.browser import chromium, opened, serious
from tests.integration.monitors import free_port
from tests.integration.running import Running, send_with, started
from tests.integration.workers import wait_for, wait_until_read

_SLOW = 40_000
"""Milliseconds until a server is missed, or found again."""
_UNKNOWN = "Not known now: the numbers stand still."


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    with chromium() as built:
        yield built


@contextmanager
def serving(folder: Path, port: int) -> Generator[subprocess.Popen[bytes]]:
    with (folder / "api.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamgauge.cli", "api", "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, f"{PREFIX}CONTRACTS_DIR": str(folder)},
        )
    try:
        wait_for(lambda: answers(port), "the API is ready", 40)
        yield process
    finally:
        process.terminate()
        process.wait(20)


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://{LOOPBACK}:{port}/v1/health/ready", timeout=5).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def api(running: Running) -> Generator[str]:
    running.apply()
    send_with(running.contract, 0)
    started(running)
    port = free_port()
    with serving(running.own.folder, port):
        yield f"http://{LOOPBACK}:{port}/"


def get(api: str, path: str, **parameters: str) -> Any:
    return httpx.get(f"{api}v1/{path}", params=parameters, timeout=20).raise_for_status().json()


def of_api(api: str, contract: Contract) -> dict[str, Any]:
    """What the page must show, asked by the ways that other callers take."""
    stream = f"streams/{contract.stream}"
    found = get(api, stream)["accounts"]
    rows = get(api, f"{stream}/rollups", window="1m", measures="count")["rows"]
    top = get(api, f"{stream}/top", top="users", window="1h", limit="10")["tops"][0]
    return {
        "accounts": [found[n] for n in ("acknowledged", "counted", "late", "duplicates", "dead_letters", "lost")],
        "minutes": [r["count"] for r in reversed(rows)],
        "top": [i["count"] for i in top["items"]],
    }


def of_page(page: Page) -> dict[str, Any]:
    def numbers(where: str) -> list[int]:
        return [int(t.replace(",", "")) for t in page.locator(where).all_text_contents() if t.strip("\N{EN DASH}")]

    return {
        "accounts": numbers(".accounts dd"),
        "minutes": numbers("#chart-table tbody td.numeric"),
        "top": numbers("#ranking .count"),
    }


def same(page: Page, api: str, contract: Contract) -> bool:
    page.wait_for_timeout(100)
    return of_page(page) == of_api(api, contract)


@contextmanager
def flow(contract: Contract) -> Generator[None]:
    """Events of a hundred a second, for as long as the block lasts."""
    done = threading.Event()

    def send() -> None:
        start = 1000
        while not done.wait(1):
            send_with(contract, start)
            start += 100

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_the_pages_numbers_are_the_apis_while_events_flow(running: Running, browser: Browser, api: str) -> None:
    contract = running.contract
    with opened(browser, api) as page:
        expect(page.locator("#connection")).to_have_text("Live")
        page.get_by_text("Show as a table").click()
        wait_for(lambda: same(page, api, contract), "the page shows the first numbers")
        seen: set[int] = set()
        with flow(contract):
            for _ in range(4):
                page.wait_for_timeout(2000)
                # They move while they are compared: one moment at which both agree is what can be asked for.
                wait_for(lambda: of_page(page)["accounts"][1] == of_api(api, contract)["accounts"][1], "they agree", 30)
                seen.add(of_page(page)["accounts"][1])
        assert len(seen) == 4, "they moved"
        wait_until_read(contract)
        wait_for(lambda: same(page, api, contract), "the page shows the last numbers")
        assert of_page(page)["accounts"][1] > 500

        page.locator("#chart").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("Counted by")
        expect(dialog).to_contain_text(f"{contract.stream}_minutes")
        assert serious(page) == []


def test_redis_away(running: Running, browser: Browser, api: str, stack: Stack) -> None:
    contract = running.contract
    with opened(browser, api) as page:
        line = page.locator("#connection")
        expect(line).to_have_text("Live")
        page.get_by_text("Show as a table").click()
        stack.stop_program("redis")
        try:
            expect(line).to_contain_text("Redis is away", timeout=_SLOW)
            expect(page.locator("#verdict")).not_to_have_text(_UNKNOWN)
            send_with(contract, 1000)
            wait_until_read(contract)
            wait_for(lambda: same(page, api, contract), "numbers go on without Redis")
            expect(page.locator("#ranking-note")).to_contain_text("from Postgres")
            page.get_by_role("link", name="Operations").click()
            expect(page.locator("#operations-verdict")).to_contain_text("redis", timeout=_SLOW)
        finally:
            stack.start_program("redis")
        expect(page.locator("#operations-verdict")).not_to_contain_text("redis", timeout=_SLOW)
        page.go_back()
        expect(line).to_have_text("Live", timeout=_SLOW)


def test_postgres_away(running: Running, browser: Browser, api: str, stack: Stack) -> None:
    contract = running.contract
    with opened(browser, api) as page:
        line = page.locator("#connection")
        expect(line).to_have_text("Live")
        page.get_by_text("Show as a table").click()
        before = of_page(page)
        stack.stop_program("postgres")
        try:
            expect(line).to_have_text(re.compile("^(Standing still|No numbers since)"), timeout=_SLOW)
            expect(page.locator("#verdict")).to_have_text(_UNKNOWN)
            assert of_page(page) == before, "what was known is still shown"
        finally:
            stack.start_program("postgres")
        expect(line).to_have_text("Live", timeout=_SLOW)
        send_with(contract, 1000)
        wait_until_read(contract)
        wait_for(lambda: same(page, api, contract), "the page goes on")


def test_the_api_restarts(running: Running, browser: Browser) -> None:
    running.apply()
    contract, port = running.contract, free_port()
    send_with(contract, 0)
    started(running)
    url = f"http://{LOOPBACK}:{port}/"
    with serving(running.own.folder, port) as process:
        page_open = opened(browser, url)
        page = page_open.__enter__()
        line = page.locator("#connection")
        expect(line).to_have_text("Live")
        page.get_by_text("Show as a table").click()
        wait_for(lambda: same(page, url, contract), "the page shows the numbers")
        process.kill()
        expect(line).to_have_text(re.compile(r"^Disconnected since \d\d:\d\d:\d\d\. The numbers are from"))
        expect(page.locator("#verdict")).to_have_text(_UNKNOWN)
    send_with(contract, 1000)
    wait_until_read(contract)
    with serving(running.own.folder, port):
        expect(line).to_have_text("Live", timeout=_SLOW)
        wait_for(lambda: same(page, url, contract), "the page comes back by itself")
        page_open.__exit__(None, None, None)
