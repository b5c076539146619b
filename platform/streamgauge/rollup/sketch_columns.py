"""Values into the stored bytes of many sketches at once. What is beyond a sketch's exact part comes back as such."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow  # pyright: ignore[reportMissingTypeStubs]

from streamgauge.native.library import constant, native, size_of
from streamgauge.native.views import TextViews
from streamgauge.rollup.groups import Coded, Grouped
from streamgauge.types import Float64s, Int64s, UInt32s

_arrow: Any = pyarrow
"""It comes without types."""

Stored = Mapping[int, bytes]
"""The sketches of those rows that have one."""

EXACT_COUPONS = constant("sketches.EXACT_COUPONS")
"""What an HLL holds before it turns to registers."""

_HEAD_BYTES = 40
_LEVELS = constant("sketches.KLL_LEVELS")
_LEVEL_BYTES = 4
_PART_BYTES = size_of("Stored")
"""What sketches.c notes of each sketch that it merges."""
_COUPON_BYTES, _VALUE_BYTES = 4, 8
_KEY_BYTES = 12
_ITEM_BYTES = size_of("Item")
_FEWEST_SLOTS, _SLOTS_EACH = 8, 4


@dataclass(frozen=True)
class SketchColumn:
    """The new bytes of each row, one behind the other up to its place in `ends`; none where nothing changes."""

    data: bytes
    ends: Int64s

    def series(self, name: str) -> pl.Series:
        """Null where nothing changes."""
        n, starts = len(self.ends), np.concatenate((np.zeros(1, np.int64), self.ends))
        none = np.packbits(np.diff(starts) > 0, bitorder="little")
        buffers = [_arrow.py_buffer(b) for b in (none, starts, self.data)]
        return pl.Series(name, _arrow.Array.from_buffers(_arrow.large_binary(), n, buffers), pl.Binary)

    def parts(self, rows: slice) -> list[bytes | None]:
        """Of some rows; None where nothing changes."""
        ends = self.ends[rows].tolist()
        starts = [int(self.ends[rows.start - 1]) if rows.start else 0, *ends[:-1]]
        return [self.data[a:b] or None for a, b in zip(starts, ends, strict=False)]

    def replaced(self, others: Mapping[int, bytes]) -> "SketchColumn":
        """With those rows' bytes put in, which are none yet."""
        if not others:
            return self
        sizes = np.diff(self.ends, prepend=0)
        pieces: list[bytes] = []
        begin = 0
        for row, data in sorted(others.items()):
            end = int(self.ends[row])
            pieces += (self.data[begin:end], data)
            begin, sizes[row] = end, len(data)
        return SketchColumn(b"".join([*pieces, self.data[begin:]]), np.cumsum(sizes))


@dataclass(frozen=True)
class Accumulated:
    """`exceeding` are rows that were left to the library: their bytes are empty here."""

    column: SketchColumn
    exceeding: list[int]


def coupons(texts: pl.Series) -> UInt32s:
    """What an HLL keeps of each text; 0 for null and the empty text."""
    found = np.empty(len(texts), np.uint32)
    views = TextViews(texts)
    native.streamgauge_coupons(views.address, len(texts), found.ctypes.data)
    return found


def add_coupons(stored: Stored, values: UInt32s, grouped: Grouped) -> Accumulated:
    """HLLs of 2^12 registers. Row i takes in the coupons of group i, but for zeros."""
    values = np.ascontiguousarray(values)
    more = len(grouped.order) * _COUPON_BYTES
    return _each(stored, grouped, more, native.streamgauge_add_coupons, (values.ctypes.data,))


def add_values(stored: Stored, values: Float64s, grouped: Grouped) -> Accumulated:
    """KLLs of k = 200. Row i takes in the values of group i, but for NaN."""
    values = np.ascontiguousarray(values)
    more = len(grouped.order) * _VALUE_BYTES
    return _each(stored, grouped, more, native.streamgauge_add_values, (values.ctypes.data,))


def merge_values(stored: Sequence[bytes], values: Float64s | None = None) -> bytes | None:
    """One KLL of k = 200 of all that KLLs of that size hold, and of `values` but for NaN; None where there is none.

    The same bytes come of the same values in whatever order they are given. Raises ValueError if `stored` has anything
    else than such sketches.
    """
    more = np.ascontiguousarray(np.empty(0) if values is None else values, np.float64)
    sizes = np.array([len(data) for data in stored], np.int64)
    held = np.frombuffer(b"".join(stored) + b"\0", np.uint8)
    places = held.ctypes.data + np.cumsum(sizes) - sizes
    most = len(held) // _VALUE_BYTES + len(more) + 1
    parts, work = np.empty((len(stored) + 1) * _PART_BYTES, np.uint8), np.empty(2 * most)
    out = np.empty(_HEAD_BYTES + _LEVELS * _LEVEL_BYTES + most * _VALUE_BYTES, np.uint8)
    buffers = [a.ctypes.data for a in (parts, work, out)]
    size = native.streamgauge_merge_values(
        places.ctypes.data, sizes.ctypes.data, len(stored), more.ctypes.data, len(more), *buffers
    )
    if size < 0:
        raise ValueError("not a KLL sketch of k = 200")
    return out[:size].tobytes() or None


def add_keys(stored: Stored, keys: Coded, grouped: Grouped, lg_max: int) -> Accumulated:
    """Frequent-items sketches. Row i takes in the keys of group i, but for nulls; a row without a sketch gets one of at
    most 2^`lg_max` slots.
    """
    views, codes = TextViews(keys.values), np.ascontiguousarray(keys.codes)
    counts, met = np.zeros(len(keys.values), np.uint32), np.empty(len(keys.values), np.int32)
    come = np.diff(grouped.ends, prepend=0)
    held = max(map(len, stored.values()), default=0) // _KEY_BYTES
    room = int(np.minimum(come, len(counts)).max(initial=0)) + held
    items, slots = np.empty(room * _ITEM_BYTES, np.uint8), np.empty(room * _SLOTS_EACH + _FEWEST_SLOTS, np.uint32)
    lengths = keys.values.str.len_bytes()
    each = (lengths.fill_null(0) if lengths.null_count() else lengths).to_numpy().astype(np.int64) + _KEY_BYTES
    # a row holds a key once
    more = int(np.minimum(come * each.max(initial=0), each.sum()).sum())
    before, after = (
        (views.address, codes.ctypes.data),
        (lg_max, *(a.ctypes.data for a in (counts, met, items)), room, slots.ctypes.data),
    )
    return _each(stored, grouped, more, native.streamgauge_add_keys, before, after)


def _each(
    stored: Stored,
    grouped: Grouped,
    more: int,
    function: Callable[..., None],
    values: tuple[Any, ...],
    also: tuple[Any, ...] = (),
) -> Accumulated:
    """`more` says how many bytes at most the values take in sketches."""
    n = len(grouped.ends)
    sizes = np.zeros(n, np.int64)
    sizes[list(stored)] = list(map(len, stored.values()))
    held = np.frombuffer(b"".join([data for _, data in sorted(stored.items())]) + b"\0", np.uint8)
    places = held.ctypes.data + np.cumsum(sizes) - sizes
    out, lengths = np.empty(int(sizes.sum()) + more + n * _HEAD_BYTES, np.uint8), np.empty(n, np.int64)
    function(
        places.ctypes.data,
        sizes.ctypes.data,
        *values,
        grouped.order.ctypes.data,
        np.ascontiguousarray(grouped.ends).ctypes.data,
        n,
        *also,
        out.ctypes.data,
        lengths.ctypes.data,
    )
    ends = np.cumsum(np.maximum(lengths, 0))
    return Accumulated(
        SketchColumn(out[: int(ends[-1]) if n else 0].tobytes(), ends), np.flatnonzero(lengths < 0).tolist()
    )
