"""How far the workers have come with each partition: the one reader of `stream_offsets` and `stream_pauses`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from streamgauge.contract.model import Contract
from streamgauge.stores.postgres import Connection

_ROWS = """select o.topic, o.partition, o.start_offset, o.next_offset, o.counted, o.late, o.duplicates, o.dead_letters,
o.lost, o.skipped, o.watermark_ms, o.rebuilt, o.end_offset, o.owner, o.updated_at, p.reason, o.trace
from stream_offsets o left join stream_pauses p using (topic, partition)
where o.topic = any(%s) order by o.topic, o.partition"""


_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Progress:
    """A partition as its worker last committed it. Positions are those of streamgauge.state.topics."""

    partition: int
    start: int
    next: int
    counted: int
    late: int
    duplicates: int
    dead_letters: int
    lost: int
    skipped: int
    watermark_ms: int | None
    rebuilt: int = 0
    """How often its minutes were made again from the lake, which moves no position."""
    end: int | None = None
    """Where the log ended when the worker last looked; None before it did."""
    owner: str | None = None
    committed_at: datetime = _NEVER
    """When the row was last written; a worker writes it with each commit."""
    pause: str | None = None
    """Why the partition is paused; None where it is not."""
    trace: str | None = None
    """The W3C trace context of the latest commit; None where it had none."""

    @property
    def records(self) -> int:
        """How many records of the log were taken in."""
        return self.next - self.start - self.lost - self.skipped

    @property
    def lag(self) -> int:
        """By the end that the worker last saw."""
        return 0 if self.end is None else max(0, self.end - self.next)

    @property
    def watermark(self) -> datetime | None:
        return None if self.watermark_ms is None else datetime.fromtimestamp(self.watermark_ms / 1000, UTC)


def read_progress(connection: Connection, topics: Iterable[str]) -> dict[str, list[Progress]]:
    """By topic, its partitions in order. A topic that no worker ever claimed has none."""
    found: dict[str, list[Progress]] = {topic: [] for topic in topics}
    for topic, *row in connection.execute(_ROWS, (list(found),)):
        found[topic].append(Progress(*row))
    return found


def watermark_of(progress: Iterable[Progress]) -> datetime | None:
    """The event time up to which a stream is believed complete: its slowest partition's; None before any event."""
    return min((p.watermark for p in progress if p.watermark is not None), default=None)


def read_watermark(connection: Connection, topic: str) -> datetime | None:
    return watermark_of(read_progress(connection, [topic])[topic])


def read_complete(connection: Connection, contract: Contract) -> datetime | None:
    """Before it the stream's minutes are complete: what comes for them later is late. None before any event."""
    watermark = read_watermark(connection, contract.topic)
    return watermark and watermark - timedelta(milliseconds=contract.lateness_ms)


def pauses_of(progress: Iterable[Progress]) -> tuple[str, ...]:
    """Of each paused partition, which it is and why."""
    return tuple(f"partition {p.partition}: {p.pause}" for p in progress if p.pause is not None)
