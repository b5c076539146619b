"""Where a stream stands: read in the same snapshot as the numbers, so that both agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from serving.problems import BUSY, Problem
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR
from streamgauge.state.accounts import account
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import Progress, pauses_of, read_progress, watermark_of
from streamgauge.telemetry.tracing import link_to


class Outdated(Problem):
    """Another generation of the stream's rollups is read now, and this process goes by the one before."""

    def __init__(self, stream: str) -> None:
        super().__init__(BUSY, f"The rollups of {stream} are changing this moment.", headers={"Retry-After": "1"})


LogEnds = Mapping[int, tuple[int, int]]
"""Each partition's first and end offset."""


@dataclass(frozen=True)
class StreamState:
    contract: Contract
    as_of: datetime
    progress: tuple[Progress, ...]
    pauses: tuple[str, ...]
    final_until: datetime | None
    """Every hour before it that has events is final."""
    revised_at: datetime | None
    rebuilt: int
    """How often minutes were made again from the lake, which moves no offset."""

    @property
    def version(self) -> int:
        """As the worker gives what it publishes: it only grows."""
        return sum(p.next for p in self.progress)

    @property
    def watermark(self) -> datetime | None:
        return watermark_of(self.progress)

    @property
    def complete_until(self) -> datetime | None:
        """Windows that ended by then are complete: what comes for them later is late."""
        mark = self.watermark
        return None if mark is None else mark - timedelta(milliseconds=self.contract.lateness_ms)

    @property
    def freshness_seconds(self) -> float | None:
        mark = self.watermark
        return None if mark is None else round((self.as_of - mark).total_seconds(), 3)

    def books(self, ends: LogEnds | None) -> dict[str, Any]:
        """What became of the records. What hangs on the log's end is null while nobody knows where that is."""
        known = account(self.contract.stream, self.progress, self._at_least_read(ends or {}), self.as_of)
        asked = ends is not None
        return {
            "acknowledged": known.acknowledged if asked else None,
            "counted": known.counted,
            "late": known.late,
            "duplicates": known.duplicates,
            "dead_letters": known.dead_letters,
            "lost": known.lost,
            "lag": known.lag if asked else None,
            "adds_up": known.adds_up if asked else None,
        }

    def completeness(self, ends: LogEnds | None) -> dict[str, Any]:
        books = self.books(ends)
        accounted = books["counted"] + books["late"] + books["duplicates"] + books["dead_letters"]
        acknowledged = books["acknowledged"]
        ratio = None if acknowledged is None else 1.0 if not acknowledged else round(accounted / acknowledged, 6)
        return {
            "ratio": ratio,
            "lag": books["lag"],
            "lost": books["lost"],
            "complete_until": self.complete_until,
            "final_until": self.final_until,
        }

    def _at_least_read(self, ends: LogEnds) -> dict[int, tuple[int, int]]:
        """The log was asked a while ago: where we have read further since, it is at least as long."""
        read = {p.partition: p.next for p in self.progress}
        return {p: (first, max(end, read.get(p, end))) for p, (first, end) in ends.items()}


def read_state(connection: Connection, contract: Contract) -> StreamState:
    """Links the current span, that of the store's use, to the commit that wrote the newest rows. Raises Outdated."""
    progress = read_progress(connection, [contract.topic])[contract.topic]
    newest = max(progress, key=lambda p: p.committed_at, default=None)
    if newest is not None and newest.trace is not None:
        link_to(newest.trace)
    # An hour outdated is one that the lake has records of and that is not final; before the first of them all is final.
    final = connection.execute(
        "SELECT max(hour), max(revised_at), (SELECT min(e.hour) FROM event_hours e WHERE e.stream = %(s)s"
        " AND e.touched > 0 AND NOT EXISTS"
        " (SELECT FROM hour_revisions r WHERE r.stream = e.stream AND r.hour = e.hour)),"
        " (SELECT generation FROM applied_contracts WHERE stream = %(s)s)"
        " FROM final_hours WHERE stream = %(s)s",
        {"s": contract.stream},
    ).fetchone()
    newest, revised, outdated, generation = final or (None, None, None, None)
    if generation is not None and generation != contract.generation:
        # nothing is added any more to the tables that it would read
        raise Outdated(contract.stream)
    until = None if newest is None else newest + HOUR if outdated is None else min(newest + HOUR, outdated)
    return StreamState(
        contract=contract,
        as_of=datetime.now(UTC),
        progress=tuple(progress),
        pauses=pauses_of(progress),
        final_until=until,
        revised_at=revised,
        rebuilt=sum(p.rebuilt for p in progress),
    )
