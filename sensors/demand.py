"""Which hours to run now, from what is outdated and what ran lately. Pure: neither Dagster nor Postgres is asked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from streamgauge.dagster.attempts import wait
from streamgauge.dagster.hours import HourRange, contiguous


@dataclass(frozen=True)
class PastRun:
    """`ended` is None while it is queued or running."""

    hours: HourRange
    began: datetime
    ended: datetime | None

    def covers(self, hour: datetime) -> bool:
        return self.hours.first <= hour <= self.hours.last


def to_run(
    outdated: Mapping[datetime, datetime], runs: Iterable[PastRun], now: datetime, longest: int
) -> list[HourRange]:
    """`outdated` says since when each hour is. An hour that a run is at is left alone; one that a run since then did
    not settle, because it failed or was killed, waits longer after each attempt.
    """
    runs = list(runs)
    due: list[datetime] = []
    for hour, since in outdated.items():
        mine = [r for r in runs if r.covers(hour)]
        if any(r.ended is None for r in mine):
            continue
        ends = [r.ended for r in mine if r.ended is not None and r.began >= since]
        if not ends or now >= max(ends) + wait(len(ends)):
            due.append(hour)
    return contiguous(due, longest)
