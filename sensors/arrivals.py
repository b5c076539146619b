"""What is wrong with how records arrive: who sends late, by a clock that is ahead, or to partitions of its own choice.
Pure, but for `read_arrived`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sensors.alerting.incidents import Alert
from streamgauge.contract.model import Contract
from streamgauge.state.arrivals import AHEAD, ALL, LATE, MISPLACED, Arrived, read_arrivals
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import read_progress

WINDOW = timedelta(minutes=15)
LATE_SHARE = 0.1
"""Of a partition's records. The contract's lateness is chosen so that hardly any is late."""
_FEWEST_LATE = 100
_CLOCKS_AGREE = timedelta(seconds=5)
"""A watermark is never later than the broker's clock, and clocks that are kept by NTP agree within a second."""
_PARTITIONS_NAMED = 10


@dataclass(frozen=True)
class Ahead:
    """A partition whose watermark is later than now."""

    partition: int
    next_offset: int
    watermark: datetime


@dataclass(frozen=True)
class Arrivals:
    """By stream, what came in within WINDOW, and the watermarks that are in the future."""

    arrived: Mapping[str, Sequence[Arrived]]
    ahead: Mapping[str, Sequence[Ahead]]


def read_arrived(connection: Connection, contracts: Iterable[Contract], now: datetime) -> Arrivals:
    streams = {c.topic: c.stream for c in contracts}
    ahead = {
        streams[topic]: [
            Ahead(p.partition, p.next, p.watermark)
            for p in progress
            if p.watermark is not None and p.watermark > now + _CLOCKS_AGREE
        ]
        for topic, progress in read_progress(connection, streams).items()
    }
    arrived = read_arrivals(connection, streams, now - WINDOW)
    return Arrivals({streams[topic]: found for topic, found in arrived.items()}, ahead)


def alerts(contracts: Iterable[Contract], arrivals: Arrivals, now: datetime) -> list[Alert]:
    """One of each kind and stream; it names partitions, offsets and producers."""
    found: list[Alert] = []
    for c in contracts:
        arrived, ahead = arrivals.arrived.get(c.stream, ()), arrivals.ahead.get(c.stream, ())
        alls = Counter({a.partition: a.records for a in arrived if a.kind == ALL})
        for name, (kind, summary, runbook) in _ALERTS.items():
            of = [a for a in arrived if a.kind == kind and (kind != LATE or _many(a, alls[a.partition]))]
            if of:
                parts = [_arrived(a, alls[a.partition]) for a in of]
                found.append(_alert_of(c, name, summary, parts, runbook, min(a.since for a in of)))
        if ahead:
            parts = [_ahead(a, now) for a in ahead]
            found.append(
                _alert_of(c, "StreamgaugeClocksDisagree", "the watermark is in the future", parts, _CLOCKS, now)
            )
    return found


_CLOCKS = "clocks-disagree"
_LATE, _MISPLACED = "many-late", "records-misplaced"
RUNBOOKS = (_CLOCKS, _LATE, _MISPLACED)
_ALERTS = {
    "StreamgaugeManyLate": (LATE, "many events are late", _LATE),
    "StreamgaugeProducerAhead": (AHEAD, "a producer's clock is ahead", _CLOCKS),
    "StreamgaugeRecordsMisplaced": (MISPLACED, "records stand in partitions of other keys", _MISPLACED),
}
"""By name: the kind of records, what is said of them, and the page of runbooks."""


def _many(late: Arrived, records: int) -> bool:
    return late.records >= _FEWEST_LATE and late.records > LATE_SHARE * records


def _arrived(a: Arrived, records: int) -> str:
    by = f", sent by {', '.join(a.producers)}" if a.producers else ""
    return f"Partition {a.partition}: {a.records:,} of {records:,}, offsets {a.first_offset} to {a.last_offset}{by}."


def _ahead(a: Ahead, now: datetime) -> str:
    seconds = (a.watermark - now).total_seconds()
    return f"Partition {a.partition}: {seconds:.0f} s ahead of this machine's clock, at offset {a.next_offset}."


def _alert_of(
    contract: Contract, name: str, summary: str, parts: Sequence[str], runbook: str, since: datetime
) -> Alert:
    more = len(parts) - _PARTITIONS_NAMED
    words = [*parts[:_PARTITIONS_NAMED], *([f"And {more} more partitions."] if more > 0 else [])]
    return Alert(
        cause=f"{name}/{contract.stream}",
        name=name,
        severity="warning",
        stream=contract.stream,
        asset="",
        owner=contract.owner,
        summary=f"{contract.stream}: {summary}",
        description=" ".join(words),
        runbook=runbook,
        since=since.astimezone(UTC),
    )
