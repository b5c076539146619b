"""Adds values to stored sketches, a column of them at once: compiled as long as a sketch holds every value, by the
library after that. Both write the same format, so either goes on from what the other left.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from streamgauge import sketches
from streamgauge.native import sketches as native
from streamgauge.native.sketches import Accumulated, Stored
from streamgauge.types import Int64s

coupons = native.coupons

Add = Callable[[Stored, pl.Series], list[bytes | None]]
"""Takes a sketch and a list of values for each row. Gives the new sketch; None where there is nothing new."""


def add_distinct(stored: Stored, lists: pl.Series) -> list[bytes | None]:
    """HLLs; the values are `coupons` of texts, 0 where there is none."""
    flat, ends = _flat(lists)
    taken = flat.cast(pl.UInt32).to_numpy()

    def beyond(data: bytes | None, values: slice) -> bytes:
        unique = np.unique(taken[values])
        parts = [] if data is None else [sketches.load_hll(data)]
        return sketches.dump_hll(sketches.merge_hll([*parts, *map(sketches.load_hll, _exact_hlls(unique))]))

    return _complete(native.add_coupons(stored, taken, ends), stored, ends, beyond)


def add_quantiles(stored: Stored, lists: pl.Series) -> list[bytes | None]:
    """KLLs; NaN stands for no value."""
    flat, ends = _flat(lists)
    taken = flat.to_numpy()

    def beyond(data: bytes | None, values: slice) -> bytes:
        sketch = sketches.new_kll() if data is None else sketches.load_kll(data)
        new = taken[values]
        sketch.update(new[~np.isnan(new)])
        return sketches.dump_kll(sketch)

    return _complete(native.add_values(stored, taken, ends), stored, ends, beyond)


def add_frequent(stored: Stored, keys: pl.Series, weights: pl.Series, exact_keys: int) -> list[bytes | None]:
    """Frequent-items sketches; a new one counts `exact_keys` keys exactly."""
    flat, ends = _flat(keys)
    counts = weights.explode(empty_as_null=False).cast(pl.UInt32).to_numpy()

    def beyond(data: bytes | None, values: slice) -> bytes:
        sketch = sketches.new_frequent(exact_keys) if data is None else sketches.load_frequent(data)
        deque(map(sketch.update, flat[values].to_list(), counts[values].tolist()), maxlen=0)
        return sketches.dump_frequent(sketch)

    made = native.add_keys(stored, flat, counts, ends, sketches.frequent_lg(exact_keys))
    return _complete(made, stored, ends, beyond)


def _flat(lists: pl.Series) -> tuple[pl.Series, Int64s]:
    return lists.explode(empty_as_null=False), np.cumsum(lists.list.len().to_numpy().astype(np.int64))


def _complete(
    made: Accumulated, stored: Stored, ends: Int64s, beyond: Callable[[bytes | None, slice], bytes]
) -> list[bytes | None]:
    for row in made.beyond:
        made.sketches[row] = beyond(stored[row], slice(int(ends[row - 1]) if row else 0, int(ends[row])))
    return made.sketches


def _exact_hlls(taken: Any) -> Sequence[bytes]:
    """The coupons, which are unique, as sketches that each hold no more than they can hold exactly."""
    taken = taken[taken != 0]
    parts = np.split(taken, range(native.EXACT_COUPONS, len(taken), native.EXACT_COUPONS))
    made = [native.add_coupons([None], part, np.array([len(part)])).sketches[0] for part in parts]
    return [data for data in made if data is not None]
