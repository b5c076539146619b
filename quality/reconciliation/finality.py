"""When an hour may become final: when nothing that was on time can still be missing from it.

Two things must have passed the hour's end plus the allowed lateness: the worker's watermark, and the lake, which must
hold the offsets at which that watermark was reached. What arrives for the hour after that is late, and makes a
revision.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from quality.reconciliation.coverage import WorkerPart
from streamgauge.dagster.hours import HOUR


@dataclass(frozen=True)
class Settled:
    """Event times up to which each side is complete; None while one of the partitions can't tell."""

    worker: datetime | None
    lake: datetime | None

    def waits_for(self, hour: datetime, lateness: timedelta) -> str | None:
        """What an hour waits for before it can be final; None if for nothing."""
        complete = hour + HOUR + lateness
        watermark, lake = reasons(hour, lateness)
        if self.worker is None or self.worker < complete:
            return watermark
        if self.lake is None or self.lake < complete:
            return lake
        return None


def reasons(hour: datetime, lateness: timedelta) -> tuple[str, str]:
    """What an hour waits for, in words: first the watermark, then the lake."""
    complete = f"{hour + HOUR + lateness:%Y-%m-%d %H:%M}Z"
    return f"the watermark to pass {complete}", f"the lake to hold what came until the watermark passed {complete}"


def settled(worker: Mapping[int, WorkerPart], lake_ends: Mapping[int, int], reached: Mapping[int, datetime]) -> Settled:
    """`reached`: by partition, an event time that some record before the lake's end has. A partition without any event
    holds nothing up, as it doesn't hold up the stream's watermark.
    """
    parts = {p: w for p, w in worker.items() if w.watermark is not None}
    watermarks = [w.watermark for w in parts.values() if w.watermark is not None]
    in_lake = [w.watermark if lake_ends.get(p, w.start) >= w.next else reached.get(p) for p, w in parts.items()]
    known = [t for t in in_lake if t is not None]
    return Settled(
        worker=min(watermarks, default=None),
        lake=min(known) if known and len(known) == len(in_lake) else None,
    )
