"""Prometheus' HTTP API (https://prometheus.io/docs/prometheus/latest/querying/api/), as far as it is asked here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Prometheus:
    """`url` may hold a login. Answers are None where it doesn't answer, or refuses the question."""

    url: str
    client: httpx.Client

    def at_once(self, expression: str) -> list[tuple[Labels, float]] | None:
        """Each series' value now."""
        found = self._ask("query", {"query": expression})
        return None if found is None else [(r["metric"], float(r["value"][1])) for r in found]

    def over_time(
        self, expression: str, start: datetime, end: datetime, step: timedelta
    ) -> list[tuple[Labels, list[tuple[datetime, float]]]] | None:
        """Each series' values at the times from `start` to `end`, both included."""
        found = self._ask(
            "query_range",
            {
                "query": expression,
                "start": str(start.timestamp()),
                "end": str(end.timestamp()),
                "step": str(step.total_seconds()),
            },
        )
        if found is None:
            return None
        return [(r["metric"], [(datetime.fromtimestamp(t, UTC), float(v)) for t, v in r["values"]]) for r in found]

    def _ask(self, how: str, parameters: Mapping[str, str]) -> list[Any] | None:
        try:
            answer = self.client.get(f"{self.url.rstrip('/')}/api/v1/{how}", params=dict(parameters))
            return answer.raise_for_status().json()["data"]["result"]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError):
            return None
