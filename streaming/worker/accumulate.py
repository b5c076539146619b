"""Adds values to stored sketches, a column of them at once: compiled as long as a sketch holds every value, by the
library after that. Both write the same format, so either goes on from what the other left.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from streamgauge.rollup import sketch_columns as native
from streamgauge.rollup import sketches
from streamgauge.rollup.groups import Coded, Grouped
from streamgauge.rollup.sketch_columns import Accumulated, SketchColumn, Stored
from streamgauge.types import Float64s, UInt32s

coupons = native.coupons


def add_distinct(stored: Stored, values: UInt32s, grouped: Grouped) -> SketchColumn:
    """HLLs; the values are `coupons` of texts, 0 where there is none."""

    def exceeding(data: bytes | None, rows: UInt32s) -> bytes:
        parts = [] if data is None else [sketches.load_hll(data)]
        new = map(sketches.load_hll, _exact_hlls(np.unique(values[rows])))
        return sketches.dump_hll(sketches.merge_hll([*parts, *new]))

    return _complete(native.add_coupons(stored, values, grouped), stored, grouped, exceeding)


def add_quantiles(stored: Stored, values: Float64s, grouped: Grouped) -> SketchColumn:
    """KLLs; NaN stands for no value."""

    def exceeding(data: bytes | None, rows: UInt32s) -> bytes:
        sketch = sketches.new_kll() if data is None else sketches.load_kll(data)
        new = values[rows]
        sketch.update(new[~np.isnan(new)])
        return sketches.dump_kll(sketch)

    return _complete(native.add_values(stored, values, grouped), stored, grouped, exceeding)


def add_frequent(stored: Stored, keys: Coded, grouped: Grouped, exact_keys: int) -> SketchColumn:
    """Frequent-items sketches; null is no key, and a new sketch counts `exact_keys` keys exactly."""

    def exceeding(data: bytes | None, rows: UInt32s) -> bytes:
        sketch = sketches.new_frequent(exact_keys) if data is None else sketches.load_frequent(data)
        codes, counts = np.unique(keys.codes[rows], return_counts=True)
        new = zip(keys.values.gather(codes).to_list(), counts.tolist(), strict=True)
        deque((sketch.update(key, count) for key, count in new if key is not None), maxlen=0)
        return sketches.dump_frequent(sketch)

    accumulated = native.add_keys(stored, keys, grouped, sketches.frequent_lg(exact_keys))
    return _complete(accumulated, stored, grouped, exceeding)


def _complete(
    accumulated: Accumulated, stored: Stored, grouped: Grouped, exceeding: Callable[[bytes | None, UInt32s], bytes]
) -> SketchColumn:
    return accumulated.column.replaced(
        {row: exceeding(stored.get(row), grouped.rows(row)) for row in accumulated.exceeding}
    )


def _exact_hlls(values: Any) -> Sequence[bytes]:
    """The coupons, which are unique, as sketches that each hold no more than they can hold exactly."""
    values = values[values != 0]
    parts = np.split(values, range(native.EXACT_COUPONS, len(values), native.EXACT_COUPONS))
    sketched = [
        native.add_coupons({}, part, Grouped(np.arange(len(part), dtype=np.uint32), np.array([len(part)])))
        for part in parts
    ]
    return [s.column.data for s in sketched if s.column.data]
