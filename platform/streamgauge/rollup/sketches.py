"""The sketches that rollups are made of: their parameters, and the only place that knows their library.

All of them merge, which is why a rollup of any window is a merge of minutes. Stored bytes are Apache
DataSketches' own format (https://datasketches.apache.org/), readable from Java and C++ too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import datasketches  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
from numpy.typing import NDArray

from streamgauge.rollup.sketch_columns import merge_values
from streamgauge.types import Float64s

HLL_LG_K = 12
"""4096 registers: a standard error of 1.6 %, 2 KiB when full; practically exact below a few hundred."""

KLL_K = 200
"""A rank error of 1.3 % with 99 % confidence; exact up to 200 values."""

FILL = 0.75
"""The part of its hash map that a frequent-items sketch fills before it starts to purge, and so to err."""

_LG_SMALLEST = 3


class Hll(Protocol):
    """How many distinct values."""

    def update(self, datum: str | int | float, /) -> None: ...
    def get_estimate(self) -> float: ...
    def get_lower_bound(self, num_std_devs: int, /) -> float: ...
    def get_upper_bound(self, num_std_devs: int, /) -> float: ...
    def is_empty(self) -> bool: ...
    def serialize_compact(self) -> bytes: ...


class Kll(Protocol):
    """Which value stands at which rank."""

    @property
    def n(self) -> int: ...
    def update(self, item: float | NDArray[np.float64], /) -> None: ...
    def get_quantiles(self, ranks: Sequence[float], inclusive: bool = False, /) -> list[float]: ...
    def is_estimation_mode(self) -> bool: ...
    def normalized_rank_error(self, get_pmf: bool, /) -> float: ...
    def is_empty(self) -> bool: ...
    def serialize(self) -> bytes: ...


class Frequent(Protocol):
    """Which keys come most often, and how often."""

    @property
    def num_active_items(self) -> int: ...
    @property
    def total_weight(self) -> int: ...
    def update(self, item: str, weight: int = 1, /) -> None: ...
    def merge(self, arg: "Frequent", /) -> None: ...
    def get_frequent_items(self, err_type: object, /) -> list[tuple[str, int, int, int]]: ...
    def is_empty(self) -> bool: ...
    def serialize(self) -> bytes: ...


@dataclass(frozen=True)
class Ranked:
    """A key, its count, and the bounds the true count lies between."""

    key: str
    count: int
    lower: int
    upper: int


_ds: Any = datasketches
_HLL_4: Any = _ds.tgt_hll_type.HLL_4
_NO_FALSE_NEGATIVES: Any = _ds.frequent_items_error_type.NO_FALSE_NEGATIVES


def new_hll() -> Hll:
    return cast(Hll, _ds.hll_sketch(HLL_LG_K, _HLL_4))


def dump_hll(sketch: Hll) -> bytes:
    return sketch.serialize_compact()


def load_hll(data: bytes) -> Hll:
    return cast(Hll, _ds.hll_sketch.deserialize(data))


def merge_hll(sketches: Iterable[Hll]) -> Hll:
    union = _ds.hll_union(HLL_LG_K)
    for sketch in sketches:
        union.update(sketch)
    return cast(Hll, union.get_result(_HLL_4))


def union_hll(dumped: Iterable[bytes]) -> bytes:
    """The same bytes in whatever order they come: what a union estimates hangs on its order."""
    return dump_hll(merge_hll(map(load_hll, sorted(dumped))))


def distinct_error(sketch: Hll) -> float:
    """The standard error of the estimate, relative to it."""
    estimate = sketch.get_estimate()
    return sketch.get_upper_bound(1) / estimate - 1 if estimate else 0.0


def new_kll() -> Kll:
    return cast(Kll, _ds.kll_doubles_sketch(KLL_K))


def dump_kll(sketch: Kll) -> bytes:
    return sketch.serialize()


def load_kll(data: bytes) -> Kll:
    return cast(Kll, _ds.kll_doubles_sketch.deserialize(data))


def union_kll(dumped: Iterable[bytes]) -> bytes:
    """The same bytes in whatever order they come: the library's own merge draws lots."""
    return merge_values(list(dumped)) or dump_kll(new_kll())


def kll_of(values: Float64s) -> bytes:
    """The same bytes in whatever order the values come."""
    return merge_values((), values) or dump_kll(new_kll())


def rank_error(sketch: Kll) -> float:
    """By how much the rank of a quantile may be wrong, with 99 % confidence; 0 where every value is held."""
    return sketch.normalized_rank_error(False) if sketch.is_estimation_mode() else 0.0


def rank_error_of(error: float) -> dict[str, Any]:
    """As answers have it. `confidence`: how sure it is that a quantile's rank is off by no more."""
    return {"of": "rank", "error": round(error, 6), "confidence": 0.99}


def value_error(error: float) -> dict[str, Any]:
    """As answers have it. `confidence`: how sure it is that the count is off by no more, relative to it."""
    return {"of": "value", "error": round(error, 6), "confidence": 0.68}


def frequent_lg(keys: int) -> int:
    """The smallest map, as a base-2 logarithm, in which `keys` distinct keys are counted exactly."""
    lg = _LG_SMALLEST
    while FILL * 2**lg < keys:
        lg += 1
    return lg


def new_frequent(exact_keys: int) -> Frequent:
    return cast(Frequent, _ds.frequent_strings_sketch(frequent_lg(exact_keys)))


def dump_frequent(sketch: Frequent) -> bytes:
    return sketch.serialize()


def load_frequent(data: bytes) -> Frequent:
    return cast(Frequent, _ds.frequent_strings_sketch.deserialize(data))


def merge_frequent(sketches: Iterable[Frequent]) -> Frequent:
    """A sketch wide enough that the merge adds no error to what the parts already have."""
    parts = list(sketches)
    merged = new_frequent(sum(p.num_active_items for p in parts))
    for part in parts:
        merged.merge(part)
    return merged


def ranked(sketch: Frequent, limit: int | None = None) -> list[Ranked]:
    """The most frequent keys first; keys of equal count by name."""
    rows = sketch.get_frequent_items(_NO_FALSE_NEGATIVES)
    rows.sort(key=lambda r: (-r[1], r[0]))
    return [Ranked(*r) for r in rows[:limit]]


def frequent_error(sketch: Frequent) -> int:
    """By how much a count may be too high at most; 0 says that every count is exact."""
    rows = sketch.get_frequent_items(_NO_FALSE_NEGATIVES)
    return max((upper - lower for _, _, lower, upper in rows), default=0)
