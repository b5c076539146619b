"""The documentation as pages beside the numbers: where an alert leads, and whoever has no checkout."""

import posixpath
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from streamgauge.settings import CHECKOUT, source_url

_PAGE = ".md"
_RUNBOOKS = "runbooks/"


def folder() -> Path:
    """Where the pages lie: in the installed package, or in the checkout."""
    packaged = Path(__file__).parent / "docs"
    return packaged if packaged.is_dir() else CHECKOUT / "docs"


def titles(docs: Path) -> dict[str, str]:
    """Each page's first heading by its path, in the order of paths."""
    found: dict[str, str] = {}
    for file in sorted(docs.rglob(f"*{_PAGE}")):
        first = file.read_text().split("\n", 1)[0]
        found[file.relative_to(docs).as_posix()] = first.removeprefix("# ")
    return found


def render(text: str, page: str, pages: dict[str, str], source: str | None) -> str:
    """A page of Markdown as HTML. HTML within it is shown as text.

    A link to a file of the repository that is no page leads to `source`, where people find the code, or nowhere.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text)
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", _slug(tokens[at + 1].content))
        if token.type == "table_open":
            # a narrow screen scrolls it, which must be possible by keyboard too
            token.attrSet("tabindex", "0")
        for inner in token.children or ():
            if inner.type == "link_open":
                _relink(inner, page, pages, source)
    return markdown.renderer.render(tokens, markdown.options, {})


def _slug(heading: str) -> str:
    """The name that Git hosts give a heading, so that links to it work in both places."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _relink(link: Token, page: str, pages: dict[str, str], source: str | None) -> None:
    path, _, _ = str(link.attrGet("href") or "").partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return
    file = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), path))
    if file.removeprefix("docs/") in (*pages, _RUNBOOKS.rstrip("/")):
        return
    if source is None:
        link.attrs.pop("href")
    else:
        link.attrSet("href", f"{source.rstrip('/')}/{file}")


def mount(app: FastAPI) -> None:
    docs = folder()
    known = titles(docs)
    files = StaticFiles(directory=docs, check_dir=False)

    @cache
    def html(page: str) -> str:
        return _page(known[page], render((docs / page).read_text(), page, known, source_url()))

    async def show(request: Request) -> Response:
        path: str = request.path_params["path"]
        if path in known:
            return HTMLResponse(html(path))
        if path.strip("/") in ("", _RUNBOOKS.rstrip("/")):
            return HTMLResponse(_page("Documentation", _contents(known)))
        if path.endswith((".png", ".svg")):
            return await files.get_response(path, request.scope)
        raise HTTPException(404)

    app.router.routes.append(Route("/docs/{path:path}", show))


def _contents(pages: dict[str, str]) -> str:
    def listed(runbooks: bool) -> str:
        of = [(path, title) for path, title in pages.items() if path.startswith(_RUNBOOKS) == runbooks]
        return "".join(f'<li><a href="/docs/{escape(path)}">{escape(title)}</a></li>' for path, title in of)

    return f"<h1>Documentation</h1><ul>{listed(False)}</ul><h2>What to do when</h2><ul>{listed(True)}</ul>"


def _page(title: str, body: str) -> str:
    return _template().render(title=title, body=Markup(body))


@cache
def _template() -> Template:
    environment: Any = Environment(loader=PackageLoader("serving", "."), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("documentation.html.jinja")
