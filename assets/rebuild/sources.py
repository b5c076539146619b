"""A stream's partitions as a rebuild finds them: what of each the worker took, and where its records are."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from assets.rebuild.records import Times
from quality.reconciliation.coverage import Span, subtract, union
from streamgauge.contract.model import Contract
from streamgauge.dagster.hours import HOUR, HourRange, hour_key
from streamgauge.errors import UserError
from streamgauge.rollup.plan import MINUTE_MS
from streamgauge.stores.postgres import Connection
from streamgauge.stores.progress import read_progress


@dataclass(frozen=True)
class PartitionSource:
    """`start` and `next` are the worker's first offset and the one it reads next, `stored` is in the lake, and `lost`
    was gone from the log before the worker came to it. Records that matter are from `needed_from` on.
    """

    partition: int
    start: int
    next: int
    watermark: int
    stored: tuple[Span, ...]
    lost: tuple[Span, ...]
    needed_from: int

    @property
    def not_in_lake(self) -> list[Span]:
        return subtract([(self.needed_from, self.next)], union([*self.stored, *self.lost]))

    def refuse_open(self, contract: Contract, hours: HourRange) -> None:
        closed_before = (self.watermark - contract.lateness_ms) // MINUTE_MS * MINUTE_MS
        at = datetime.fromtimestamp(closed_before / 1000, UTC)
        if hours.last + HOUR > at:
            raise UserError(
                f"{contract.stream}: the hour {hour_key(hours.last)} is still open in partition {self.partition}, "
                f"which is complete up to {at:%Y-%m-%d %H:%M}Z",
                "rebuild hours that ended before that; the worker still adds to later ones",
            )


def read_sources(connection: Connection, contract: Contract, times: Times) -> tuple[list[str], list[PartitionSource]]:
    """The partitions that have had events, and the hours of ingest time that may hold records for `times`."""
    tolerance = timedelta(seconds=contract.time.futureToleranceSeconds)
    earliest = times.start - times.horizon - tolerance
    stored: dict[int, list[Span]] = defaultdict(list)
    before: dict[int, int] = {}
    hours: set[datetime] = set()
    for hour, partition, low, high in connection.execute(
        "SELECT hour, partition, from_offset, to_offset FROM lake_hours WHERE stream = %s", (contract.stream,)
    ):
        stored[partition].append((low, high))
        if hour + HOUR <= earliest:
            before[partition] = max(before.get(partition, 0), high)
        else:
            hours.add(hour)
    lost = _gaps(connection, contract)
    sources = [
        PartitionSource(
            p.partition,
            p.start,
            p.next,
            p.watermark_ms,
            tuple(union(stored[p.partition])),
            tuple(union(lost[p.partition])),
            max(p.start, before.get(p.partition, p.start)),
        )
        for p in read_progress(connection, [contract.topic])[contract.topic]
        if p.watermark_ms is not None
    ]
    return sorted(map(hour_key, hours)), sources


def _gaps(connection: Connection, contract: Contract) -> Mapping[int, list[Span]]:
    gaps: dict[int, list[Span]] = defaultdict(list)
    for partition, low, high in connection.execute(
        "SELECT partition, from_offset, to_offset FROM stream_gaps WHERE topic = %s", (contract.topic,)
    ):
        gaps[partition].append((low, high))
    return gaps
