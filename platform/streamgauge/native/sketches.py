"""Values into the stored bytes of many sketches at once. What is beyond a sketch's exact part comes back as such."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from streamgauge.native.library import native
from streamgauge.native.views import TextViews
from streamgauge.types import Float64s, Int64s, UInt32s

Stored = Sequence[bytes | None]
"""A sketch for each row; None where there is none yet."""

EXACT_COUPONS = 384
"""What an HLL holds before it turns to registers: as sketches.c."""

_HEAD_BYTES = 40
_COUPON_BYTES, _VALUE_BYTES = 4, 8
_KEY_BYTES = 12
_ITEM_BYTES = 32
_FEWEST_SLOTS, _SLOTS_EACH = 8, 4


@dataclass(frozen=True)
class Accumulated:
    """`sketches` has the new bytes of each row, None where nothing changed. `beyond` are rows left to the library."""

    sketches: list[bytes | None]
    beyond: list[int]


def coupons(texts: pl.Series) -> UInt32s:
    """What an HLL keeps of each text; 0 for null and the empty text."""
    made = np.empty(len(texts), np.uint32)
    views = TextViews(texts)
    native.streamgauge_coupons(views.address, len(texts), made.ctypes.data)
    return made


def add_coupons(stored: Stored, taken: UInt32s, ends: Int64s) -> Accumulated:
    """HLLs of 2^12 registers. Row i takes in the coupons from `ends[i - 1]` to `ends[i]`, but for zeros."""
    taken = np.ascontiguousarray(taken)
    return _each(stored, ends, ends * _COUPON_BYTES, native.streamgauge_add_coupons, (taken.ctypes.data,))


def add_values(stored: Stored, taken: Float64s, ends: Int64s) -> Accumulated:
    """KLLs of k = 200. Row i takes in the values from `ends[i - 1]` to `ends[i]`, but for NaN."""
    taken = np.ascontiguousarray(taken)
    return _each(stored, ends, ends * _VALUE_BYTES, native.streamgauge_add_values, (taken.ctypes.data,))


def add_keys(stored: Stored, keys: pl.Series, weights: UInt32s, ends: Int64s, lg_max: int) -> Accumulated:
    """Frequent-items sketches. Row i takes in the keys from `ends[i - 1]` to `ends[i]`, none of them null; a row
    without a sketch gets one of at most 2^`lg_max` slots.
    """
    views, weights = TextViews(keys), np.ascontiguousarray(weights)
    counts = np.diff(ends, prepend=0) + [0 if s is None else len(s) // _KEY_BYTES for s in stored]
    room = int(counts.max(initial=0))
    items, slots = np.empty(room * _ITEM_BYTES, np.uint8), np.empty(room * _SLOTS_EACH + _FEWEST_SLOTS, np.uint32)
    bytes_to = np.concatenate(([0], np.cumsum(keys.str.len_bytes().to_numpy().astype(np.int64) + _KEY_BYTES)))[ends]
    before, after = (views.address, weights.ctypes.data), (lg_max, items.ctypes.data, room, slots.ctypes.data)
    return _each(stored, ends, bytes_to, native.streamgauge_add_keys, before, after)


def _each(
    stored: Stored,
    ends: Int64s,
    bytes_to: Int64s,
    function: Callable[..., None],
    taken: tuple[Any, ...],
    more: tuple[Any, ...] = (),
) -> Accumulated:
    """`bytes_to` says how many bytes at most the values of the rows up to each take in a sketch."""
    n = len(stored)
    sizes = np.array([0 if s is None else len(s) for s in stored], np.int64)
    held = np.frombuffer(b"".join([s for s in stored if s is not None]) + b"\0", np.uint8)
    places = held.ctypes.data + np.cumsum(sizes) - sizes
    room = sizes + np.diff(bytes_to, prepend=0) + _HEAD_BYTES
    starts = np.cumsum(room) - room
    out, made = np.empty(int(room.sum()), np.uint8), np.empty(n, np.int64)
    function(
        places.ctypes.data,
        sizes.ctypes.data,
        *taken,
        np.ascontiguousarray(ends).ctypes.data,
        n,
        *more,
        out.ctypes.data,
        starts.ctypes.data,
        made.ctypes.data,
    )
    data, ends_at = out.tobytes(), (starts + made).tolist()
    found = [data[a:b] if a < b else None for a, b in zip(starts.tolist(), ends_at, strict=True)]
    return Accumulated(found, np.flatnonzero(made < 0).tolist())
