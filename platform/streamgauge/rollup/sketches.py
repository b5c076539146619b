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
    def merge(self, sketch: "Kll", /) -> None: ...
    def get_quantiles(self, ranks: Sequence[float], inclusive: bool = False, /) -> list[float]: ...
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


def new_kll() -> Kll:
    return cast(Kll, _ds.kll_doubles_sketch(KLL_K))


def dump_kll(sketch: Kll) -> bytes:
    return sketch.serialize()


def load_kll(data: bytes) -> Kll:
    return cast(Kll, _ds.kll_doubles_sketch.deserialize(data))


def merge_kll(sketches: Iterable[Kll]) -> Kll:
    merged = new_kll()
    for sketch in sketches:
        merged.merge(sketch)
    return merged


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
