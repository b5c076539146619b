"""Columns as numbers of their values, and rows put in the order of their groups."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from streamgauge.native.library import native
from streamgauge.native.views import TextViews
from streamgauge.types import Float64s, Int32s, Int64s, UInt8s, UInt32s

_FEWEST_SLOTS = 16


@dataclass(frozen=True)
class Coded:
    """Row i of a column holds `values[codes[i]]`. Values come in the order in which they stand in the column first."""

    codes: Int32s
    values: pl.Series


def code_texts(texts: pl.Series) -> Coded:
    """Null is a value too."""
    _, codes, firsts = _code(texts)
    return Coded(codes, texts[firsts])


def code_numbers(numbers: Int64s) -> tuple[Int32s, UInt32s]:
    """The codes, and the row in which each value stands first."""
    n, slots = len(numbers), _slots(len(numbers))
    codes, firsts = np.empty(n, np.int32), np.empty(n, np.uint32)
    numbers = np.ascontiguousarray(numbers)
    count = native.streamgauge_number_codes(
        numbers.ctypes.data, n, slots.ctypes.data, len(slots) - 1, codes.ctypes.data, firsts.ctypes.data
    )
    return codes, firsts[:count]


class TextIndex:
    """Finds texts among `known` ones, which are distinct and not null."""

    def __init__(self, known: pl.Series) -> None:
        self._known = TextViews(known)
        self._slots, _, firsts = _code(known)
        self._missing = len(known)
        if len(firsts) != len(known) or known.null_count():
            raise ValueError("the texts of an index must be distinct")

    def find(self, texts: pl.Series) -> Int32s:
        """The place of each among those known; behind their end where it isn't one."""
        rows, asked = np.empty(len(texts), np.int32), TextViews(texts)
        native.streamgauge_find_texts(
            self._known.address,
            self._slots.ctypes.data,
            len(self._slots) - 1,
            asked.address,
            len(texts),
            self._missing,
            rows.ctypes.data,
        )
        return rows


@dataclass(frozen=True)
class Grouped:
    """Rows by group: those of group i stand at `order[ends[i - 1]:ends[i]]`."""

    order: UInt32s
    ends: Int64s

    def rows(self, group: int) -> UInt32s:
        return self.order[int(self.ends[group - 1]) if group else 0 : int(self.ends[group])]


def group_rows(groups: Int32s, count: int, wanted: UInt8s, this: int) -> Grouped:
    """The rows whose `wanted` is `this`. `count` says how many groups there are; a row of another kind needs none."""
    ends, order = np.empty(count, np.int64), np.empty(len(groups), np.uint32)
    native.streamgauge_order(
        np.ascontiguousarray(groups, np.int32).ctypes.data,
        np.ascontiguousarray(wanted).ctypes.data,
        this,
        len(groups),
        count,
        ends.ctypes.data,
        order.ctypes.data,
    )
    return Grouped(order[: int(ends[-1]) if count else 0], ends)


@dataclass(frozen=True)
class Measured:
    """Of each group. Where there is no value, least and most are NaN."""

    sizes: Int64s
    sums: Float64s
    least: Float64s
    most: Float64s


def measure(values: Float64s, grouped: Grouped) -> Measured:
    """NaN stands for no value. Values are added in the order of their rows."""
    n = len(grouped.ends)
    built = Measured(np.empty(n, np.int64), np.empty(n), np.empty(n), np.empty(n))
    native.streamgauge_measure(
        np.ascontiguousarray(values).ctypes.data,
        grouped.order.ctypes.data,
        grouped.ends.ctypes.data,
        n,
        *(column.ctypes.data for column in (built.sizes, built.sums, built.least, built.most)),
    )
    return built


def _slots(rows: int) -> UInt32s:
    return np.zeros(max(_FEWEST_SLOTS, 1 << (rows * 3 // 2).bit_length()), np.uint32)


def _code(texts: pl.Series) -> tuple[UInt32s, Int32s, UInt32s]:
    n, views, slots = len(texts), TextViews(texts), _slots(len(texts))
    codes, firsts = np.empty(n, np.int32), np.empty(n, np.uint32)
    count = native.streamgauge_text_codes(
        views.address, n, slots.ctypes.data, len(slots) - 1, codes.ctypes.data, firsts.ctypes.data
    )
    return slots, codes, firsts[:count]
