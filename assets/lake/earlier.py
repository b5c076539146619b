"""What the lake has of an hour from a topic that is gone: Kafka can't give it again, so the hour keeps it."""

from collections.abc import Mapping

import polars as pl

from assets.lake.hour import Held
from streamgauge.state.topics import FirstPositions
from streamgauge.stores.lake import OFFSET, PARTITION, LakeTable


def read_earlier(table: LakeTable, hour: str, held: Mapping[int, Held], topic: FirstPositions) -> pl.DataFrame | None:
    """The hour's rows before the current topic's first position; None where there are none, which is nearly always."""
    before = {p: topic[p] for p, mine in held.items() if mine.rows and mine.first < topic.get(p, 0)}
    if not before:
        return None
    first = pl.col(PARTITION).replace_strict(before, default=0, return_dtype=pl.Int64)
    return table.read([hour]).filter(pl.col(OFFSET) < first)
