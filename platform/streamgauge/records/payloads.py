"""The values of many records, where they lie in memory: no Python object for each."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from streamgauge.types import Int64s


@dataclass(frozen=True)
class Payloads:
    """`addresses` and `sizes` (bytes; negative where a record has no value). `owner` keeps the memory alive."""

    addresses: Int64s
    sizes: Int64s
    owner: object

    @staticmethod
    def of(values: Sequence[bytes | None]) -> "Payloads":
        sizes = np.array([-1 if v is None else len(v) for v in values], np.int64)
        memory = np.frombuffer(b"".join([*(v or b"" for v in values), b"\0"]), np.uint8)
        ends = np.cumsum(np.maximum(sizes, 0))
        return Payloads(memory.ctypes.data + ends - np.maximum(sizes, 0), sizes, memory)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, row: int) -> bytes | None:
        size = int(self.sizes[row])
        return None if size < 0 else ctypes.string_at(int(self.addresses[row]), size)

    @property
    def bytes(self) -> int:
        return int(self.sizes[self.sizes > 0].sum())

    def take(self, rows: Int64s) -> "Payloads":
        return Payloads(self.addresses[rows], self.sizes[rows], self.owner)
