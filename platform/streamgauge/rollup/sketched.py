"""From what a rollup plan gathered to rows with sketches: each sketch made at once, from all its values.

The same values give the same bytes, in whatever order a group has them: a number that was published does not move when
it is made again.
"""

from collections import deque
from collections.abc import Callable
from itertools import starmap
from typing import Any

import polars as pl

from streamgauge.contract.model import Contract
from streamgauge.rollup import sketches
from streamgauge.rollup.plan import KEYS, MINUTE, PARTITION, VALUES, WEIGHTS, Rolled

TOP_COLUMNS = {MINUTE: pl.Int64(), PARTITION: pl.Int64(), "top": pl.String(), "sketch": pl.Binary()}


def sketched_minutes(contract: Contract, rolled: Rolled) -> pl.DataFrame:
    """The minutes with `<name>_hll` and `<name>_kll` as bytes, null where there is no value."""
    minutes = rolled.minutes
    made = [_column(f"{d.name}_hll", minutes[VALUES + d.name], _hll) for d in contract.rollup.distinct]
    made += [_column(f"{m.name}_kll", minutes[VALUES + m.name], _kll) for m in contract.rollup.measures if m.quantiles]
    return minutes.select(c for c in minutes.columns if not c.startswith(VALUES)).with_columns(made)


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


def _column(name: str, lists: pl.Series, dump: Callable[[pl.Series], bytes]) -> pl.Series:
    return pl.Series(name, [dump(values) if len(values) else None for values in lists], dtype=pl.Binary)


def _hll(values: pl.Series) -> bytes:
    sketch = sketches.new_hll()
    deque(map(sketch.update, values.unique().sort()), maxlen=0)
    return sketches.dump_hll(sketch)


def _kll(values: pl.Series) -> bytes:
    return sketches.kll_of(values.to_numpy())
