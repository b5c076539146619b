"""From what a rollup plan gathered to rows with sketches: each sketch made at once, from all its values.

The same values give the same bytes, in whatever order a group has them: a number that was published does not move when
it is made again.
"""

from collections import deque
from itertools import starmap
from typing import Any

import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.rollup import sketches
from streamgauge.rollup.measure_kinds import sketched
from streamgauge.rollup.plan import KEYS, MINUTE, PARTITION, VALUES, WEIGHTS, Rolled

TOP_COLUMNS = {MINUTE: pl.Int64(), PARTITION: pl.Int64(), "top": pl.String(), "sketch": pl.Binary()}


def sketched_minutes(contract: Contract, rolled: Rolled) -> pl.DataFrame:
    """The minutes with their sketches as bytes, null where there is no value."""
    minutes = rolled.minutes
    columns = [
        pl.Series(c.name, [sketch.build(v) if len(v) else None for v in minutes[VALUES + c.name]], dtype=pl.Binary)
        for _, c, sketch in sketched(contract.rollup.measured)
    ]
    return minutes.select(c for c in minutes.columns if not c.startswith(VALUES)).with_columns(columns)


def sketched_tops(contract: Contract, rolled: Rolled) -> pl.DataFrame:
    """A row for each minute, partition and top-N."""
    rows: list[tuple[Any, ...]] = []
    for top in contract.rollup.top:
        for row in rolled.tops[top.name].select(MINUTE, PARTITION, KEYS, WEIGHTS).iter_rows():
            minute, partition, keys, weights = row
            sketch = sketches.new_frequent(top.exactKeys)
            deque(starmap(sketch.update, sorted(zip(keys, weights, strict=True))), maxlen=0)
            rows.append((minute, partition, top.name, sketches.dump_frequent(sketch)))
    return pl.DataFrame(rows, schema=TOP_COLUMNS, orient="row")
