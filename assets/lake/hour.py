"""Which offsets an hour of ingest time has, and whether Kafka still has them all. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from streamgauge.dagster.hours import hour_key
from streamgauge.errors import UserError
from streamgauge.records.log_spans import Span


@dataclass(frozen=True)
class Held:
    """What the lake has of an hour's partition."""

    first: int
    end: int
    rows: int


@dataclass(frozen=True)
class HourSpans:
    """An hour's offsets, by partition. An open hour's end where the log ended when it was looked at."""

    hour: datetime
    closed: bool
    spans: Mapping[int, Span]

    @property
    def empty(self) -> bool:
        return all(first == end for first, end in self.spans.values())


def check_complete(
    topic: str,
    spans: HourSpans,
    log: Mapping[int, Span],
    held: Mapping[int, Held],
    before: Mapping[int, int],
    first_positions: Mapping[int, int],
) -> None:
    """Raises UserError where the log may have lost some of the hour's records: what the lake has must then stay.

    `log` is what each partition's log still has, `held` what the lake has of this hour, `before` where the lake's
    earlier hours end. What lies before the topic's `first_positions` was another topic's, which is gone for good.
    """
    for partition, (first, end) in sorted(spans.spans.items()):
        low = log[partition][0]
        mine, own = held.get(partition), first_positions.get(partition, 0)
        if mine is not None and mine.rows and mine.first >= own and (first > mine.first or end < mine.end):
            gone = f"the lake has the offsets {mine.first} to {mine.end - 1}, the log only {first} to {end - 1}"
        elif low > own and first == low and before.get(partition) != low:
            gone = f"the log begins at offset {low}, and what came before may have been of this hour"
        else:
            continue
        raise UserError(
            f"{topic}, partition {partition}: Kafka no longer holds the whole hour {hour_key(spans.hour)}: {gone}",
            "the lake keeps what it has of the hour; take hours before the topic's retention ends",
        )


def check_rows(topic: str, hour: datetime, rows: Mapping[int, int], held: Mapping[int, Held]) -> None:
    """Raises UserError where the log had less than the lake, though its offsets are still there: another
    cleanup policy takes records out of the middle.
    """
    for partition, mine in sorted(held.items()):
        got = rows.get(partition, 0)
        if got < mine.rows:
            raise UserError(
                f"{topic}, partition {partition}: Kafka no longer holds the whole hour {hour_key(hour)}:"
                f" the lake has {mine.rows} records of it, the log only {got}",
                "the lake keeps what it has of the hour; see whether the topic is compacted",
            )
