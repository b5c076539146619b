"""A polars column where it lies in memory, for the compiled functions."""

import ctypes
from typing import Any, cast

import numpy as np
import polars as pl

from streamgauge.native.library import fields_of

VIEW_BYTES = 16


class Texts(ctypes.Structure):
    """As views.h describes it."""

    _fields_ = fields_of("Texts")


class Views:
    """`width` is how many bytes a value takes where it lies; `texts` stands for as long as this object does."""

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


class TextViews(Views):
    """Texts or bytes. `address` is that of the struct in views.h; it stands for as long as this object does."""

    def __init__(self, texts: pl.Series) -> None:
        super().__init__(texts, VIEW_BYTES)
        self.address = ctypes.addressof(self.texts)
