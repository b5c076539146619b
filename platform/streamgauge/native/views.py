"""A polars column where it lies in memory, for the compiled functions."""

import ctypes
from typing import Any, cast

import numpy as np
import polars as pl

from streamgauge.native.library import Field, Texts

_VIEW_BYTES = 16
_NUMBER_BYTES: dict[pl.DataType, int] = {pl.Int64(): 8, pl.Int32(): 4, pl.Float64(): 8}


class _Views:
    def __init__(self, column: pl.Series, width: int) -> None:
        whole = cast(Any, column.rechunk())
        self._array = array = whole.to_arrow(compat_level=pl.CompatLevel.newest())
        validity, values, *data = array.buffers()
        self._buffers = np.array([b.address for b in data] or [0], np.int64)
        self.texts = Texts(
            views=values.address + array.offset * width,
            buffers=self._buffers.ctypes.data,
            validity=validity.address if validity is not None else None,
            first_bit=array.offset,
        )


class TextViews(_Views):
    """Texts or bytes. `address` is that of the struct in views.h; it stands for as long as this object does."""

    def __init__(self, texts: pl.Series) -> None:
        super().__init__(texts, _VIEW_BYTES)
        self.address = ctypes.addressof(self.texts)


class FieldViews(_Views):
    """Texts, bytes or numbers. `struct` is that of pg_binary.c; it stands for as long as this object does."""

    def __init__(self, column: pl.Series) -> None:
        width = _NUMBER_BYTES.get(column.dtype, 0)
        super().__init__(column, width or _VIEW_BYTES)
        self.struct = Field(texts=self.texts, width=width)
        self.address = ctypes.addressof(self.struct)
