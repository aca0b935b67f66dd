# SPDX-License-Identifier: Apache-2.0
"""Memory of batches, used again when nobody holds an array of it any more."""

from __future__ import annotations

import sys
import threading

import numpy as np

SMALL = 1 << 14  # bytes; smaller arrays are made anew, which costs less than looking for one


class Buffers:
    """Arrays that are views of buffers; a buffer is given out again once all its views are gone, which its count of
    references tells."""

    def __init__(self, most: int):
        self.most = most
        self._kept: list[np.ndarray] = []
        self._lock = threading.Lock()

    def __call__(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if size < SMALL or dtype.hasobject:
            return np.empty(shape, dtype)
        return self._free(size)[:size].view(dtype).reshape(shape)

    def _free(self, size: int) -> np.ndarray:
        with self._lock:
            for buffer in self._kept:
                if size <= len(buffer) <= 2 * size and sys.getrefcount(buffer) == UNUSED:
                    return buffer
            buffer = np.empty(size, np.uint8)
            self._kept.append(buffer)
            if len(self._kept) > self.most:
                del self._kept[0]  # whoever has it keeps it
            return buffer


def _count_of_unused() -> int:
    kept = [np.empty(1, np.uint8)]
    for buffer in kept:
        return sys.getrefcount(buffer)
    return 0


UNUSED = _count_of_unused()
