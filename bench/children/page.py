"""Opens the live page again and again in Chromium, each time as someone new. Prints the seconds to the first number."""

import json
import re
import sys

from playwright.sync_api import sync_playwright

_WATCH = """
const look = () => {
  const shown = document.getElementById("reading")?.textContent;
  if (shown && /[0-9]/.test(shown)) window.firstNumber ??= performance.now();
  else requestAnimationFrame(look);
};
look();
"""
"""Milliseconds since the navigation began, at the first frame that has the number."""


def main() -> None:
    job = json.load(sys.stdin)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=job["chromium"], args=["--no-sandbox", "--disable-gpu"])
        seconds: list[float] = []
        for _ in range(job["times"]):
            context = browser.new_context()
            page = context.new_page()
            page.add_init_script(_WATCH)
            page.goto(job["url"], wait_until="commit")
            page.locator("#reading", has_text=re.compile("[0-9]")).wait_for()
            seconds.append(float(page.evaluate("window.firstNumber")) / 1000)
            context.close()
        browser.close()
    print(json.dumps(seconds))  # noqa: T201


if __name__ == "__main__":
    main()
