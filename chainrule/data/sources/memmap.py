# SPDX-License-Identifier: Apache-2.0
"""Arrays in files that are larger than the memory: only the rows of a batch are ever read."""

from __future__ import annotations

import hashlib
import math
import os
from typing import Any

import numpy as np

from ...errors import ArgumentError, explain
from ...foundations.files import open_regular, reading
from ...typing import DTypeLike
from ..files import existing, fault
from .base import Source


class Memmap(Source):
    """The rows of an array in a file, mapped into memory and never copied whole.

    Args:
        path: a .npy file, or a file of plain numbers.
        dtype: of plain numbers, such as "uint16"; a .npy file says its own.
        shape: (rows, ...) of plain numbers; None: (numbers,).
        window: samples are so many rows that follow each other; None: single rows.
        stride: from the start of a window to that of the next; None: `window`, so that they do not overlap.
        targets: whether a sample is (x, y), both windows, y one row later than x, as the prediction of the next token
            wants it.

    Raises DataError where the file does not hold what it should.

    >>> np.save("x.npy", np.arange(6.0).reshape(3, 2))
    >>> source = cr.data.Memmap("x.npy")
    >>> len(source)
    3
    """

    def __init__(self, path: str | os.PathLike[str], dtype: DTypeLike | None = None,
                 shape: tuple[int, ...] | None = None, *, window: int | None = None, stride: int | None = None,
                 targets: bool = False):
        self.path = str(existing(path))
        self._size = os.path.getsize(self.path)
        self.array = _npy(self.path) if dtype is None else _plain(self.path, np.dtype(dtype), shape)
        if (window is None) != (stride is None and not targets) and window is None:
            raise ArgumentError(explain("stride and targets belong to windows", got="window=None",
                                        fix="Memmap(path, window=128, targets=True)"))
        if window is not None and (window < 1 or (stride is not None and stride < 1)):
            raise ArgumentError(explain("window and stride are whole numbers from 1 on",
                                        got=f"window={window}, stride={stride}"))
        self.window, self.stride, self.targets = window, stride or window, targets
        needed = 1 if window is None else window + targets
        if len(self.array) < needed:
            raise fault(f"{self.path}: the array is too short", got=f"{len(self.array):,} rows",
                        expected=f"{needed:,} or more")
        self._windows = (None if window is None
                         else np.lib.stride_tricks.sliding_window_view(np.asarray(self.array), window, axis=0))

    def __len__(self) -> int:
        if self.window is None:
            return len(self.array)
        return (len(self.array) - self.window - self.targets) // self.stride + 1  # type: ignore[operator]

    def sample(self, index: int) -> Any:
        self._check_file()
        if self.window is None:
            return np.array(self.array[index])
        begin = index * self.stride  # type: ignore[operator]
        x, y = (np.array(self.array[start:start + self.window]) for start in (begin, begin + self.targets))
        return (x, y) if self.targets else x

    def batch(self, indices: np.ndarray) -> Any:
        self._check_file()
        if self._windows is None:
            return np.asarray(self.array[indices])
        starts = indices * self.stride
        return (self._rows(starts), self._rows(starts + 1)) if self.targets else self._rows(starts)

    def _check_file(self) -> None:
        """Reading behind the end of a mapped file ends the program, so it must not have become shorter."""
        size = os.path.getsize(self.path)
        if size < self._size:
            raise fault(f"{self.path}: the file has become shorter since it was opened", got=f"{size:,} bytes",
                        expected=f"{self._size:,}", fix="make the source again")

    def _rows(self, starts: np.ndarray) -> np.ndarray:
        rows = self._windows[starts]  # type: ignore[index]
        return rows if rows.ndim == 2 else np.ascontiguousarray(np.moveaxis(rows, -1, 1))

    def where(self, index: int) -> str:
        return f"{self.path}, row {index if self.window is None else index * self.stride:,}"  # type: ignore[operator]

    def key(self) -> str:
        state = os.stat(self.path)
        told = (os.path.realpath(self.path), state.st_size, state.st_mtime_ns, self.array.dtype.str, self.array.shape,
                self.window, self.stride, self.targets)
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def __reduce__(self) -> Any:
        array = self.array
        header = os.path.getsize(self.path) != array.nbytes  # a .npy file begins with one
        dtype, shape = (None, None) if header else (array.dtype, array.shape)
        return (_again, (self.path, dtype, shape, {"window": self.window, "stride": None if self.window is None
                                                   else self.stride, "targets": self.targets}))


def _again(path: str, dtype: Any, shape: Any, options: dict[str, Any]) -> Memmap:
    return Memmap(path, dtype, shape, **options)


def _npy(path: str) -> np.ndarray:
    with open_regular(path) as file, reading(path, "array"):
        if file.read(6) != b"\x93NUMPY":
            raise fault(f"{path}: this is no .npy file, so the dtype must be told", fix='Memmap(path, dtype="uint16")')
    with reading(path, "array"):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    if not array.ndim:
        raise fault(f"{path}: the array is a single number")
    return array


def _plain(path: str, dtype: np.dtype, shape: tuple[int, ...] | None) -> np.ndarray:
    if dtype.hasobject:
        raise ArgumentError(explain("objects cannot be mapped into memory", got=str(dtype),
                                    expected='a dtype of numbers, such as "uint16"'))
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
    wanted = None if shape is None else math.prod(shape) * dtype.itemsize
    if (size % dtype.itemsize if wanted is None else size != wanted) or not size:
        expected = (f"a multiple of {dtype.itemsize}, as {dtype} has" if wanted is None
                    else f"{wanted:,}, for {dtype} {shape}")
        raise fault(f"{path}: the file is not of this size", got=f"{size:,} bytes", expected=expected)
    return np.memmap(path, dtype, "r", shape=shape or (size // dtype.itemsize,))
