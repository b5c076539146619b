"""The worker's commits, as its log lines in the store of logs tell of them: when, of which records, in which trace."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from streamgauge.errors import UserError
from streamgauge.settings import Settings
from streamgauge.stores.victoria_logs import LogStore, quoted
from streamgauge.telemetry.catalog import log_fields as f

COMMITTER = "streaming.worker.committer"
"""The logger of the lines."""
_AT_ONCE = 1000
_SECONDS = 5.0
"""Of a search for a commit whose line may never have come: it would go on through all that is kept."""
_AROUND = timedelta(minutes=1)
"""On the page of a trace's lines: so long before and after its commit."""
_RUN = timedelta(hours=1)
"""On the page of a run's lines: so long before and after its end, as a run may take long."""


@dataclass(frozen=True)
class Commit:
    """`offsets` as PARTITION:FIRST-LAST; the addresses lead to the pages of the stores."""

    at: datetime
    offsets: str
    trace_id: str | None
    trace_url: str | None
    logs_url: str

    def reaches(self, partition: int, offset: int) -> bool:
        """It counted the record, or one of the partition behind it."""
        return any(p == partition and offset <= last for p, _, last in _ranges(self.offsets))

    def holds(self, partition: int, offset: int) -> bool:
        return any(p == partition and first <= offset <= last for p, first, last in _ranges(self.offsets))


class Commits:
    """Raises UserError where the store doesn't answer."""

    def __init__(self, logs_url: str, zipkin_url: str | None) -> None:
        self._logs = LogStore(logs_url)
        self._zipkin_url = zipkin_url

    def of(self, stream: str, partition: int, offset: int, since: datetime) -> Commit | None:
        """The one that has counted a record which was appended at `since`, if the store still has its line."""
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            begin = since.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            lines = self._logs.find(f"{_lines_of(stream)} _time:>={begin} | sort by (_time) limit {_AT_ONCE}", _AT_ONCE)
            found = [self._commit(line) for line in lines]
            # the commits of a partition are in the order of its offsets
            reached = next((c for c in found if c.reaches(partition, offset)), None)
            if reached is not None:
                return reached if reached.holds(partition, offset) else None
            if len(lines) < _AT_ONCE or found[-1].at <= since:
                return None
            since = found[-1].at
        raise UserError(
            f"the commit was not found within {_SECONDS:g} s among the log lines since {since:%Y-%m-%d %H:%M} UTC",
            "ask the store of logs itself: streamgauge stack status has its address",
        )

    def up_to(self, stream: str, partition: int, end: int) -> Commit | None:
        """The latest that has counted the records of a partition before the offset `end`, and none behind them."""
        last = end - 1
        query = f"{_lines_of(stream)} {f.OFFSETS.name}:{last} | sort by (_time desc) limit {_AT_ONCE}"
        found = (self._commit(line) for line in self._logs.find(query, _AT_ONCE))
        return next((c for c in found if (partition, last) in {(p, end) for p, _, end in _ranges(c.offsets)}), None)

    def _commit(self, line: dict[str, Any]) -> Commit:
        trace_id, at = line.get(f.TRACE_ID.name), datetime.fromisoformat(line["_time"])
        about = (f.TRACE_ID, trace_id) if trace_id else (f.STREAM, line[f.STREAM.name])
        query = f"{about[0].name}:={quoted(about[1])}"
        return Commit(
            at,
            line[f.OFFSETS.name],
            trace_id,
            trace_page(self._zipkin_url, trace_id),
            self._logs.page(query, at - _AROUND, at + _AROUND),
        )


def commits_of(settings: Settings) -> Commits | None:
    """None where there is no store of logs."""
    return None if settings.logs_url is None else Commits(settings.logs_url, settings.zipkin_url)


def run_pages(settings: Settings, run_id: str, at: datetime) -> tuple[str | None, str | None]:
    """Of the trace and of the log lines of a run of Dagster that had ended `at`, where there are such stores."""
    trace = trace_page(settings.zipkin_url, run_id.replace("-", ""))
    if settings.logs_url is None:
        return trace, None
    query = f"{f.RUN_ID.name}:={quoted(run_id)}"
    return trace, LogStore(settings.logs_url).page(query, at - _RUN, at + _RUN)


def trace_page(zipkin_url: str | None, trace_id: str | None) -> str | None:
    return None if zipkin_url is None or trace_id is None else f"{zipkin_url.rstrip('/')}/zipkin/traces/{trace_id}"


def _lines_of(stream: str) -> str:
    return f"{f.STREAM.name}:={quoted(stream)} {f.LOGGER.name}:={quoted(COMMITTER)} {f.OFFSETS.name}:*"


def _ranges(offsets: str) -> Iterable[tuple[int, int, int]]:
    for part in offsets.split():
        partition, _, ends = part.partition(":")
        first, _, last = ends.partition("-")
        yield int(partition), int(first), int(last)
