"""A polars column of texts or bytes where it lies in memory, for the compiled functions."""

import ctypes
from typing import Any, cast

import numpy as np
import polars as pl

from streamgauge.native.library import Texts

_VIEW_BYTES = 16


class TextViews:
    """`address` is that of the struct in views.h; it stands for as long as this object does."""

    def __init__(self, texts: pl.Series) -> None:
        whole = cast(Any, texts.rechunk())
        array = whole.to_arrow(compat_level=pl.CompatLevel.newest())
        validity, views, *data = array.buffers()
        self._array = array
        self._buffers = np.array([b.address for b in data] or [0], np.int64)
        self._texts = Texts(
            views=views.address + array.offset * _VIEW_BYTES,
            buffers=self._buffers.ctypes.data,
            validity=validity.address if validity is not None else None,
            first_bit=array.offset,
        )
        self.address = ctypes.addressof(self._texts)
