"""The ledger: every record that the broker acknowledged, where it is in the log, and what it was meant to be.

A record that was not acknowledged isn't in it, though it may be in the log.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from confluent_kafka import Message

from streamgauge.types import Int64s
from streaming.load.generate import Batch

SCHEMA = {
    "partition": pl.Int32,
    "offset": pl.Int64,
    "ingest_ms": pl.Int64,
    "sequence": pl.Int64,
    "kind": pl.String,
    "event_id": pl.String,
    "timestamp": pl.Int64,
    "key": pl.Binary,
    "value": pl.Binary,
}


@dataclass
class _Page:
    """A batch's records, and as rows of `places` their partition, offset and ingest time once acknowledged."""

    batch: Batch
    places: Int64s

    def note(self, index: int, message: Message) -> None:
        place: Any = (message.partition(), message.offset(), message.timestamp()[1])
        self.places[index] = place


@dataclass
class Ledger:
    _pages: list[_Page] = field(default_factory=list[_Page])

    def page(self, batch: Batch) -> _Page:
        """To be called with what the broker acknowledges of this batch."""
        page = _Page(batch, np.full((len(batch.values), 3), -1, np.int64))
        self._pages.append(page)
        return page

    def frame(self) -> pl.DataFrame:
        """By partition and offset."""
        frames: list[pl.DataFrame] = []
        sequence = 0
        for page in self._pages:
            n = len(page.batch.values)
            columns = {
                "partition": page.places[:, 0],
                "offset": page.places[:, 1],
                "ingest_ms": page.places[:, 2],
                "sequence": np.arange(sequence, sequence + n),
                "kind": page.batch.kinds,
                "event_id": page.batch.event_ids,
                "timestamp": page.batch.times,
                "key": page.batch.keys,
                "value": page.batch.values,
            }
            frames.append(pl.DataFrame(columns, schema=SCHEMA))
            sequence += n
        whole = pl.concat(frames) if frames else pl.DataFrame(schema=SCHEMA)
        return whole.filter(pl.col("partition") >= 0).sort("partition", "offset")

    def write(self, path: Path) -> int:
        frame = self.frame()
        frame.write_parquet(path)
        return frame.height


def read_ledger(path: Path) -> pl.DataFrame:
    """By partition and offset; the columns are those of SCHEMA."""
    return pl.read_parquet(path)
