"""The documentation as the API serves it: every link in it leads somewhere."""

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from serving.documentation import folder, mount, render, titles

DOCS = folder()
PAGES = titles(DOCS)


def shown(page: str, source: str | None = None) -> str:
    return render((DOCS / page).read_text(), page, PAGES, source)


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_documentation_lead_to_a_page_and_to_a_heading_in_it(page: str) -> None:
    html = shown(page)
    assert "<h1" in html
    for target in re.findall(r'<a href="([^"]+)"', html):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, heading = target.partition("#")
        found = (DOCS / page).parent / path if path else DOCS / page
        assert found.exists(), target
        if heading:
            assert f'id="{heading}"' in shown(found.resolve().relative_to(DOCS).as_posix()), target


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/docs/runbooks/", "/docs/lake.md", "/docs/architecture.svg"])
def test_what_is_there_is_served(path: str) -> None:
    app = FastAPI(docs_url=None)
    mount(app)
    assert TestClient(app).get(path).raise_for_status().content


@pytest.mark.parametrize("path", ["/docs/nothing.md", "/docs/../pyproject.toml", "/docs/%2e%2e/README.md"])
def test_what_is_not_there_is_not_found(path: str) -> None:
    app = FastAPI(docs_url=None)
    mount(app)
    assert TestClient(app).get(path).status_code == 404


def test_html_in_a_page_is_text() -> None:
    assert "<script" not in render("# A\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1))", "a.md", PAGES, None)


def test_what_is_no_page_is_linked_to_where_the_code_is_or_not_at_all() -> None:
    text = "# A\n\n[code](../../serving/app.py) and [lake](../lake.md)"
    linked = render(text, "runbooks/a.md", PAGES, "https://git.example/blob/main")
    assert 'href="https://git.example/blob/main/serving/app.py"' in linked
    plain = render(text, "runbooks/a.md", PAGES, None)
    assert "<a>code</a>" in plain
    assert 'href="../lake.md"' in plain
