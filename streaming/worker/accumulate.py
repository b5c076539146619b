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
from streamgauge.rollup.sketch_columns import Accumulated, Made, Stored
from streamgauge.types import Float64s, UInt32s

coupons = native.coupons


def add_distinct(stored: Stored, taken: UInt32s, grouped: Grouped) -> Made:
    """HLLs; the values are `coupons` of texts, 0 where there is none."""

    def beyond(data: bytes | None, rows: UInt32s) -> bytes:
        parts = [] if data is None else [sketches.load_hll(data)]
        new = map(sketches.load_hll, _exact_hlls(np.unique(taken[rows])))
        return sketches.dump_hll(sketches.merge_hll([*parts, *new]))

    return _complete(native.add_coupons(stored, taken, grouped), stored, grouped, beyond)


def add_quantiles(stored: Stored, taken: Float64s, grouped: Grouped) -> Made:
    """KLLs; NaN stands for no value."""

    def beyond(data: bytes | None, rows: UInt32s) -> bytes:
        sketch = sketches.new_kll() if data is None else sketches.load_kll(data)
        new = taken[rows]
        sketch.update(new[~np.isnan(new)])
        return sketches.dump_kll(sketch)

    return _complete(native.add_values(stored, taken, grouped), stored, grouped, beyond)


def add_frequent(stored: Stored, keys: Coded, grouped: Grouped, exact_keys: int) -> Made:
    """Frequent-items sketches; null is no key, and a new sketch counts `exact_keys` keys exactly."""

    def beyond(data: bytes | None, rows: UInt32s) -> bytes:
        sketch = sketches.new_frequent(exact_keys) if data is None else sketches.load_frequent(data)
        codes, counts = np.unique(keys.codes[rows], return_counts=True)
        new = zip(keys.values.gather(codes).to_list(), counts.tolist(), strict=True)
        deque((sketch.update(key, count) for key, count in new if key is not None), maxlen=0)
        return sketches.dump_frequent(sketch)

    made = native.add_keys(stored, keys, grouped, sketches.frequent_lg(exact_keys))
    return _complete(made, stored, grouped, beyond)


def _complete(
    accumulated: Accumulated, stored: Stored, grouped: Grouped, beyond: Callable[[bytes | None, UInt32s], bytes]
) -> Made:
    return accumulated.made.replaced({row: beyond(stored.get(row), grouped.rows(row)) for row in accumulated.beyond})


def _exact_hlls(taken: Any) -> Sequence[bytes]:
    """The coupons, which are unique, as sketches that each hold no more than they can hold exactly."""
    taken = taken[taken != 0]
    parts = np.split(taken, range(native.EXACT_COUPONS, len(taken), native.EXACT_COUPONS))
    made = [
        native.add_coupons({}, part, Grouped(np.arange(len(part), dtype=np.uint32), np.array([len(part)])))
        for part in parts
    ]
    return [m.made.data for m in made if m.made.data]
