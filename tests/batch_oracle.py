"""What the batch layer must make of a stream's log, in plain loops: slow, and meant to be obviously right.

Records are read and judged by `tests.oracle`, on their own; everything after that is told anew here, and shares no
code with the batch layer.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

from streamgauge.contract.model import NO_VALUE, Contract
from streamgauge.settings import batch_start
from tests.oracle import SECRET, LogRecord, Minute, decode, number_of, read, shown_of, value_of

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
START = batch_start()

Position = tuple[int, int]
Bucket = tuple[int, tuple[str, ...]]
"""Start of the window (epoch ms) and dimensions."""

Versions = Mapping[str, Sequence[tuple[int, dict[str, str]]]]
"""By key of the reference: what it said from when on (epoch ms), oldest first."""


@dataclass
class Rollups:
    rows: dict[Bucket, Minute] = field(default_factory=lambda: defaultdict[Bucket, Minute](Minute))
    tops: dict[tuple[int, str], Counter[str]] = field(
        default_factory=lambda: defaultdict[tuple[int, str], Counter[str]](Counter)
    )


@dataclass
class Batch:
    facts: dict[Position, dict[str, Any]] = field(default_factory=dict[Position, dict[str, Any]])
    """The event's fields, the reference's columns, and `star`: the value of each dimension."""
    duplicates: set[Position] = field(default_factory=set[Position])
    quarantine: dict[Position, str] = field(default_factory=dict[Position, str])
    """A dead letter's reason, or `old`."""
    hours: dict[Position, int] = field(default_factory=dict[Position, int])
    minutes: Rollups = field(default_factory=Rollups)
    by_hour: Rollups = field(default_factory=Rollups)
    by_day: Rollups = field(default_factory=Rollups)


def make(
    contract: Contract,
    log: Iterable[LogRecord],
    schemas: Mapping[int, dict[str, Any]],
    versions: Versions | None = None,
    start: date = START,
    secret: str = SECRET,
) -> Batch:
    built = Batch()
    begin = int(datetime(start.year, start.month, start.day, tzinfo=UTC).timestamp() * 1000)
    horizon = contract.time.duplicateHorizonSeconds * 1000
    seen: dict[str, list[int]] = defaultdict(list)
    for record in sorted(log, key=lambda r: (r.ingest_ms, r.partition, r.offset)):
        position = record.partition, record.offset
        event = read(contract, record, schemas)
        if isinstance(event, str) or event[contract.event_time] < begin:
            built.quarantine[position] = event if isinstance(event, str) else "old"
            built.hours[position] = _quarantine_hour(contract, record, schemas, begin)
            continue
        at = event[contract.event_time]
        built.hours[position] = at // HOUR_MS * HOUR_MS
        repeated = any(abs(at - other) <= horizon for other in seen[event[contract.event_id]])
        seen[event[contract.event_id]].append(at)
        text = _types(contract, event, versions or {}, record.ingest_ms)
        _count(contract, built, event, text, repeated, secret)
        if repeated:
            built.duplicates.add(position)
        else:
            star = {d.name: _text(value_of(contract, event, d, text)) for d in contract.star}
            columns = {} if contract.reference is None else text.get(event[contract.reference.key], {})
            unknown = (
                {}
                if contract.reference is None
                else dict.fromkeys(contract.reference.columns, contract.reference.unknown)
            )
            built.facts[position] = {**event, **unknown, **columns, "star": star}
    return built


def _quarantine_hour(contract: Contract, record: LogRecord, schemas: Mapping[int, dict[str, Any]], begin: int) -> int:
    """The event's own hour if its time can be used, else that in which it came in."""
    came_in = record.ingest_ms // HOUR_MS * HOUR_MS
    event = decode(contract, record, schemas)
    if isinstance(event, str) or event[contract.event_time] is None:
        return came_in
    at = event[contract.event_time]
    f = contract.field[contract.event_time]
    latest = record.ingest_ms + contract.time.futureToleranceSeconds * 1000
    usable = max(begin, f.minimum or begin) <= at <= min(latest, f.maximum or latest)
    return at // HOUR_MS * HOUR_MS if usable else came_in


def _types(contract: Contract, event: dict[str, Any], versions: Versions, ingest_ms: int) -> dict[str, dict[str, str]]:
    """The reference table as of then, as far as this event asks it."""
    if contract.reference is None:
        return {}
    key = event[contract.reference.key]
    known = [columns for since, columns in versions.get(key, ()) if since <= ingest_ms]
    return {key: known[-1]} if known else {}


def _count(
    contract: Contract,
    built: Batch,
    event: dict[str, Any],
    text: dict[str, dict[str, str]],
    repeated: bool,
    secret: str,
) -> None:
    dimensions = tuple(_text(shown_of(contract, event, d, text, secret)) for d in contract.rollup.dimensions)
    for rollups, size in ((built.minutes, MINUTE_MS), (built.by_hour, HOUR_MS), (built.by_day, 24 * HOUR_MS)):
        start = event[contract.event_time] // size * size
        row = rollups.rows[start, dimensions]
        if repeated:
            row.duplicates += 1
            continue
        row.count += 1
        for d in contract.rollup.distinct:
            if (member := value_of(contract, event, d, text)) is not None:
                row.distinct[d.name].add(str(member))
        for m in contract.rollup.measures:
            if (number := number_of(value_of(contract, event, m, text))) is not None:
                row.values[m.name].append(number)
                row.times[m.name].append(event[contract.event_time])
        for t in contract.rollup.top:
            if (key := shown_of(contract, event, t, text, secret)) is not None:
                rollups.tops[start, t.name][key] += 1


def _text(value: Any) -> str:
    return NO_VALUE if value is None else str(value)
