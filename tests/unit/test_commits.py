"""How far the commit of a record is looked for among the worker's log lines."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs

import pytest

from streamgauge.errors import UserError
from streamgauge.state import commits
from streamgauge.state.commits import Commits
from tests.http_server import listening

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
_PAGE = 3


@contextmanager
def store_of(*offsets: str) -> Generator[tuple[Commits, list[str]]]:
    """A store with a line a second for each commit, and what it was asked."""
    asked: list[str] = []
    lines = [(SINCE + timedelta(seconds=n), text) for n, text in enumerate(offsets)]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["query"][0]
            asked.append(query)
            begin = datetime.fromisoformat(query.partition("_time:>=")[2].partition(" ")[0])
            found = [{"_time": at.isoformat(), "stream": "s", "offsets": o} for at, o in lines if at >= begin][:_PAGE]
            answer = "".join(json.dumps(line) + "\n" for line in found)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

    with listening(Handler) as port:
        yield Commits(f"http://127.0.0.1:{port}", None), asked


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_AT_ONCE", _PAGE)


def test_it_is_found_however_many_pages_it_takes() -> None:
    with store_of(*(f"0:{n}0-{n}9 1:0-0" for n in range(20))) as (found, asked):
        commit = found.of("s", 0, 155, SINCE)
        assert commit is not None and commit.offsets.startswith("0:150-159")
        assert len(asked) > 3


def test_behind_the_record_nothing_is_looked_at() -> None:
    with store_of("0:0-9", *(f"0:{n}0-{n}9" for n in range(2, 100))) as (found, asked):
        assert found.of("s", 0, 15, SINCE) is None
        assert len(asked) == 1


def test_a_search_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_SECONDS", 0.05)
    with (
        store_of(*(f"1:{n}-{n}" for n in range(5_000))) as (found, _),
        pytest.raises(UserError, match="not found within"),
    ):
        found.of("s", 0, 15, SINCE)


def test_a_record_without_a_line_has_none() -> None:
    with store_of("1:0-9", "1:10-19") as (found, _):
        assert found.of("s", 0, 15, SINCE) is None
