"""What is asked of Dagster's web server about its activity, and what is made of its answers."""

from typing import Any

import pytest
from dagster_graphql.schema import create_schema
from graphql import parse, validate

from streamgauge.dagster.activity import QUERY, Activity, Tick, read_activity
from streamgauge.dagster.client import Dagster


def test_the_query_is_one_that_dagster_understands() -> None:
    assert validate(create_schema().graphql_schema, parse(QUERY)) == []


def test_runs_backfills_and_the_last_ended_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = [{"timestamp": 100.0, "endTimestamp": None}, {"timestamp": 70.0, "endTimestamp": 72.5}]
    answer: dict[str, Any] = {
        "queued": {"count": 2},
        "running": {},
        "backfills": {"results": [{"id": "a"}]},
        "sensors": {
            "results": [
                {"name": "alerts", "sensorState": {"ticks": ticks}},
                {"name": "demand", "sensorState": {"ticks": ticks[:1]}},
                {"name": "new", "sensorState": {"ticks": []}},
            ]
        },
    }

    def ask(*_: Any) -> dict[str, Any]:
        return answer

    monkeypatch.setattr(Dagster, "ask", ask)
    found = read_activity(Dagster("http://dagster.example"))
    assert found == Activity({"queued": 2}, 1, [Tick("alerts", 100.0, 2.5), Tick("demand", 100.0, None)])
