"""Questions to the store of logs, in LogsQL (https://docs.victoriametrics.com/victorialogs/logsql/)."""

import json
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

import httpx

from streamgauge.errors import UserError

_KEPT = "7d"
"""The local stack's lines are not older."""
_SECONDS = 2.0
"""For one answer: who asks where a number is from should not wait longer for what else is known of it."""


@cache
def _client() -> httpx.Client:
    """Made once, as each takes tens of milliseconds. No connection is kept: the store may close it in the moment in
    which it is used again, and would look away.
    """
    return httpx.Client(timeout=_SECONDS, limits=httpx.Limits(max_keepalive_connections=0))


class LogStore:
    """`url` is VictoriaLogs' own, with its login."""

    def __init__(self, url: str) -> None:
        self._url = httpx.URL(url)

    def find(self, query: str, limit: int) -> list[dict[str, Any]]:
        """Lines as their fields. Raises UserError where the store doesn't answer."""
        try:
            asked = {"query": query, "limit": str(limit)}
            answer = _client().post(self._url.join("/select/logsql/query"), data=asked).raise_for_status()
        except httpx.HTTPError as e:
            raise UserError(
                f"the store of logs doesn't answer ({type(e).__name__})", "start it by `streamgauge stack stores`"
            ) from e
        return [json.loads(line) for line in answer.text.splitlines()]

    def page(self, query: str, begin: datetime, end: datetime) -> str:
        """Its page with the answer to a question, of a range of time. Without the login, which the page asks for."""
        # in the question: the page takes a range of its own for one in the reader's time zone
        ends = ", ".join(f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for at in (begin, end))
        asked = {"query": f"_time:[{ends}] {query}", "g0.range_input": _KEPT}
        return f"{self._url.copy_with(username='', password='', path='/select/vmui/')}#/?{urlencode(asked)}"


def quoted(value: str) -> str:
    """As a value in a query."""
    return json.dumps(value)
