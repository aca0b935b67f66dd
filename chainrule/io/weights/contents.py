# SPDX-License-Identifier: Apache-2.0
"""What a file of weights holds: `Mapped`, its bytes in memory that the system fills when they are read, and `Weights`,
a dict of arrays
of which each is made when it is asked for. Sizes that a file states are compared with what is there before anything is
made of them.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import DataError, explain
from ...foundations.files import open_regular

MOST_AXES = 64  # that NumPy has
SMALL = 256 << 20  # what a file may unpack to whatever its size
LARGEST_RATIO = 200


def damaged(path: Any, problem: str, got: str | None = None, expected: str | None = None,
            fix: str | None = "copy or save the file again") -> DataError:
    """The error for a file that cannot be used."""
    return DataError(explain(f"{path}: {problem}", got=got, expected=expected, fix=fix))


class Entry(NamedTuple):
    """An array of a file: its shape and dtype, and the function that reads it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    def then(self, change: Callable[[np.ndarray], np.ndarray], dtype: Any) -> Entry:
        """The array after a function that keeps its shape."""
        return Entry(self.shape, np.dtype(dtype), lambda: change(self.read()))


class Mapped:
    """The bytes of a file, or of a part of it, without reading them."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            whole: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        self.bytes = memoryview(whole)

    def __len__(self) -> int:
        return len(self.bytes)

    def part(self, start: int, size: int, what: str) -> memoryview:
        """So many bytes from `start`; DataError if the file ends before."""
        if start < 0 or size < 0 or start + size > len(self.bytes):
            raise damaged(self.path, f"the file ends too early, within {what}", got=f"{len(self.bytes):,} bytes",
                          expected=f"{start + size:,} bytes")
        return self.bytes[start:start + size]

    def array(self, dtype: Any, shape: tuple[int, ...], start: int, what: str, size: int | None = None) -> Entry:
        """The array of this shape whose bytes begin at `start`; `size`: how many bytes the file says that it has."""
        dtype = np.dtype(dtype)
        wanted = element_count(shape, self.path, what) * dtype.itemsize
        if size is not None and size != wanted:
            raise damaged(self.path, f"{what} has another size than its shape says", got=f"{size:,} bytes",
                          expected=f"{wanted:,} bytes for {dtype}{list(shape)}")
        return Entry(shape, native(dtype), view(self.part(start, wanted, what), dtype, shape))


def view(content: memoryview, dtype: np.dtype, shape: tuple[int, ...]) -> Callable[[], np.ndarray]:
    """A function that gives these bytes as an array: without a copy if they lie as the processor has them."""
    def read() -> np.ndarray:
        flat = np.frombuffer(content, dtype) if len(content) else np.zeros(0, dtype)
        return own(flat.reshape(shape))
    return read


def own(array: np.ndarray) -> np.ndarray:
    """The array in the byte order and the alignment of this machine; a copy only where it has another."""
    return np.require(array, native(array.dtype), ["ALIGNED"])


def native(dtype: np.dtype) -> np.dtype:
    """The dtype in the byte order of this machine."""
    return dtype.newbyteorder("=")


def element_count(shape: Any, path: Any, what: str) -> int:
    """The number of elements; DataError for what is no shape."""
    if len(shape) > MOST_AXES or not all(type(n) is int and 0 <= n < 2**62 for n in shape):
        raise damaged(path, f"the shape of {what} cannot be used", got=str(tuple(shape[:8])),
                      expected=f"at most {MOST_AXES} extents that are not negative")
    return math.prod(shape)


def refuse_bomb(path: Any, what: str, size: int, stored: int) -> None:
    """DataError if something unpacks to much more than is stored of it."""
    if size > max(SMALL, LARGEST_RATIO * stored):
        raise damaged(path, f"{what} would unpack to far more than is in the file: refused",
                      got=f"{stored:,} bytes for {size:,}", expected=f"at most {LARGEST_RATIO} times as much",
                      fix="save it without compression")


class Weights(dict[str, Any]):
    """Name -> array, in the order of the file; an array is read, and widened where NumPy has no such numbers, when it
    is asked for.

    What lies in the file as the processor has it is not copied: it is a read-only view of the file, so leave the file
    as it is while its arrays are used. `metadata` holds what else is in the file and is plain: numbers, texts, lists.
    `types` tells shapes and dtypes without reading anything.

    >>> np.savez("weights.npz", weight=np.ones((2, 3)))
    >>> isinstance(cr.io.read_weights("weights.npz"), cr.io.Weights)
    True
    """

    def __init__(self, entries: Any = (), metadata: dict[str, Any] | None = None):
        super().__init__(entries)
        self.metadata = metadata if metadata is not None else {}

    @property
    def types(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Name -> (shape, dtype)."""
        return {name: (tuple(item.shape), item.dtype) for name, item in super().items()}

    @property
    def size(self) -> int:
        """Bytes of all arrays together."""
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.types.values())

    def __getitem__(self, name: str) -> np.ndarray:
        return _read(super().__getitem__(name))

    def __iter__(self) -> Iterator[str]:  # so that dict(weights) and f(**weights) ask for the arrays
        return super().__iter__()

    def get(self, name: str, default: Any = None) -> Any:
        """The array of this name, or `default`."""
        return self[name] if name in self else default

    def keys(self) -> KeysView[str]:
        """The names."""
        return KeysView(self)

    def items(self) -> Any:
        """(name, array) of each, one after the other."""
        return ItemsView(self)

    def values(self) -> Any:
        """The arrays, one after the other."""
        return ValuesView(self)

    def pop(self, name: str, *default: Any) -> Any:
        """Take out the array of this name."""
        return _read(super().pop(name, *default))

    def popitem(self) -> tuple[str, Any]:
        """Take out the last one."""
        name, item = super().popitem()
        return name, _read(item)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The array of this name, which is set if there is none."""
        return _read(super().setdefault(name, default))

    def renamed(self, names: dict[str, str]) -> Weights:
        """Those that `names` (old -> new) names, under other names, without reading them."""
        return Weights({new: dict.__getitem__(self, old) for old, new in names.items()}, self.metadata)

    def copy(self) -> Weights:
        """Another dict of the same arrays."""
        return self.renamed({name: name for name in self})

    def __or__(self, other: Any) -> dict[str, Any]:
        return {**self, **other}

    def __ror__(self, other: Any) -> dict[str, Any]:
        return {**other, **self}

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        return Weights, (dict(self), self.metadata)

    def __repr__(self) -> str:
        return (f"Weights({len(self)} arrays, {self.size:,} bytes: "
                f"{', '.join(list(self)[:4])}{', …' if len(self) > 4 else ''})")


def _read(item: Any) -> Any:
    return item.read() if isinstance(item, Entry) else item
