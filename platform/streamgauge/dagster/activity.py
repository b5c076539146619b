"""What Dagster is doing now: runs, backfills and the latest tick of each sensor, for those who watch it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamgauge.dagster.client import CODE, Dagster

QUERY = """query ($repository: RepositorySelector!) {
  queued: runsOrError(filter: {statuses: [QUEUED]}) { ... on Runs { count } }
  running: runsOrError(filter: {statuses: [NOT_STARTED, STARTING, STARTED, CANCELING]}) { ... on Runs { count } }
  backfills: partitionBackfillsOrError(status: REQUESTED) { ... on PartitionBackfills { results { id } } }
  sensors: sensorsOrError(repositorySelector: $repository) {
    ... on Sensors { results { name sensorState { ticks(limit: 2) { timestamp endTimestamp } } } }
  }
}"""


@dataclass(frozen=True)
class Tick:
    """`began` in epoch seconds; `seconds` of the last tick that has ended, None before the first."""

    sensor: str
    began: float
    seconds: float | None


@dataclass(frozen=True)
class Activity:
    """`runs` by state."""

    runs: Mapping[str, int]
    backfills: int
    ticks: Sequence[Tick]


def read_activity(dagster: Dagster) -> Activity:
    """Raises UserError where the web server doesn't answer. What it can't say itself is left out."""
    answer = dagster.ask(QUERY, {"repository": CODE})
    runs = {state: answer[state]["count"] for state in ("queued", "running") if "count" in answer[state]}
    ticks = [_tick(s["name"], s["sensorState"]["ticks"]) for s in answer["sensors"].get("results", [])]
    return Activity(runs, len(answer["backfills"].get("results", [])), [t for t in ticks if t is not None])


def _tick(sensor: str, latest: Sequence[Mapping[str, Any]]) -> Tick | None:
    """Of its ticks, the newest first."""
    if not latest:
        return None
    ended = (t["endTimestamp"] - t["timestamp"] for t in latest if t["endTimestamp"] is not None)
    return Tick(sensor, latest[0]["timestamp"], next(ended, None))
