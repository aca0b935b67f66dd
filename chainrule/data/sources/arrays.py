# SPDX-License-Identifier: Apache-2.0
"""Arrays, tables and the data sets of other libraries as sources: `as_source` is the door through which all of them
come."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError, explain, shown
from ...foundations import tree
from ...typing import SourceLike
from .base import Source
from .collate import spread
from .frames import columns_of

HASHED = 1 << 28  # bytes of arrays in memory that are read to make a key; larger ones need one from the user


class Arrays(Source):
    """A nested structure of arrays of one length, whose rows are the samples; memory-mapped ones are never copied
    whole."""

    def __init__(self, structure: Any):
        self.leaves, self.tree = _columns(structure)
        lengths = {len(leaf) for leaf in self.leaves}
        if len(lengths) != 1:
            raise ArgumentError(explain("the arrays of a source have different lengths",
                                        got=", ".join(map(str, sorted(lengths))) or "no arrays",
                                        expected="one length for all"))
        last = self.leaves[-1]
        if len(self.leaves) > 1 and isinstance(last, np.ndarray) and last.ndim == 1 and last.dtype.kind in "iub":
            self.labels = np.asarray(last)

    def __len__(self) -> int:
        return len(self.leaves[0])

    def sample(self, index: int) -> Any:
        return tree.unflatten(self.tree, [leaf[index] for leaf in self.leaves])

    def batch(self, indices: np.ndarray) -> Any:
        if any(leaf.dtype == object for leaf in self.leaves):
            return None
        return tree.unflatten(self.tree, [_take(leaf, indices) for leaf in self.leaves])

    def key(self) -> str | None:
        if any(not isinstance(leaf, np.ndarray) or leaf.nbytes > HASHED or leaf.dtype == object
               for leaf in self.leaves):
            return None
        digest = hashlib.sha256(repr([(leaf.dtype.str, leaf.shape) for leaf in self.leaves]).encode())
        for leaf in self.leaves:
            digest.update(np.ascontiguousarray(leaf).view(np.uint8).data)
        return digest.hexdigest()


def _columns(structure: Any) -> tuple[list[Any], tree.Tree]:
    """The arrays of a structure of tuples and dicts; a list is an array, not structure."""
    if not isinstance(structure, tuple | Mapping):
        return [_rows_of(structure)], tree.LEAF
    below = [_columns(item) for item in (structure.values() if isinstance(structure, Mapping) else structure)]
    kind, keys = (dict, tuple(structure)) if isinstance(structure, Mapping) else (type(structure), ())
    return [leaf for leaves, _ in below for leaf in leaves], tree.Tree(kind, keys, tuple(shape for _, shape in below))


def _rows_of(leaf: Any) -> Any:
    """An array, or what is read like one (h5py's and zarr's arrays stay where they are)."""
    if isinstance(leaf, np.ndarray) or (hasattr(leaf, "shape") and hasattr(leaf, "dtype")
                                        and not hasattr(leaf, "__array__")):
        array = leaf
    elif type(leaf).__module__.partition(".")[0] in ("h5py", "zarr"):
        array = leaf
    else:
        array = _as_array(leaf)
    if hasattr(array, "toarray"):
        raise ArgumentError(explain("a sparse matrix has no samples", got=type(array).__name__,
                                    fix="x.toarray(), or data.map(range(n), lambda i: x[i].toarray()[0])"))
    if not array.shape:
        raise ArgumentError(explain("a single number is no source of samples", got=shown(leaf),
                                    expected="arrays with one row per sample"))
    return array


def _as_array(leaf: Any) -> np.ndarray:
    try:
        return np.asarray(leaf)
    except (ValueError, TypeError, RuntimeError) as error:
        if isinstance(leaf, list | tuple) and all(hasattr(row, "__len__") for row in leaf):
            return _of_objects(leaf)
        raise ArgumentError(explain("this is no array with one row per sample", got=f"{shown(leaf)}: {error}",
                                    fix="a list of samples is a source as it stands: Loader([sample, sample, "
                                        "...])")) from None


def _of_objects(rows: Any) -> np.ndarray:
    """Sequences of different lengths, one object each."""
    out = np.empty(len(rows), object)
    for i, row in enumerate(rows):
        out[i] = row if isinstance(row, str | bytes) else np.asarray(row)
    return out


def _take(leaf: Any, indices: np.ndarray) -> np.ndarray:
    if isinstance(leaf, np.ndarray):
        return np.asarray(leaf[indices])  # of a memory-mapped array only the rows are read
    order = np.argsort(indices, kind="stable")  # files of arrays want rising indices, each once
    unique, inverse = np.unique(indices[order], return_inverse=True)
    out = np.asarray(leaf[unique])[inverse]
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return out[back]


class Objects(Source):
    """Any object with `__len__` and `__getitem__(i)`, such as a list of samples, or a data set of PyTorch or Hugging
    Face."""

    def __init__(self, items: Any):
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def sample(self, index: int) -> Any:
        return self.items[index]

    def samples(self, indices: np.ndarray) -> list[Any] | None:
        many = getattr(self.items, "__getitems__", None)
        if many is None:
            return None
        found = many([int(i) for i in indices])
        if len(found) != len(indices):
            raise DataError(explain(f"{type(self.items).__name__}.__getitems__ gives another number of samples than "
                                    "was asked for", got=str(len(found)), expected=str(len(indices))))
        return found

    def where(self, index: int) -> str | None:
        """A sample of a list of paths is one."""
        item = self.items[index] if isinstance(self.items, list | tuple) else None
        return os.fspath(item)[:300] if isinstance(item, str | os.PathLike) else None

    def __repr__(self) -> str:
        return f"{type(self.items).__name__}({len(self):,} samples)"


def as_source(given: SourceLike) -> Source | None:
    """Whatever has samples by number, as a Source; None for what can only be gone through (a stream).

    >>> source = cr.data.as_source([10, 20, 30])
    >>> len(source), source[1]
    (3, 20)
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, str | os.PathLike):
        raise ArgumentError(explain("a path alone does not say what is to be read", got=shown(given),
                                    fix="data.ImageFolder(path), data.AudioFolder(path), data.TextLines(path), "
                                        "data.Rows(path), data.Memmap(path) or data.TarShards(path)"))
    columns = columns_of(given)
    if columns is not None:
        return Arrays(columns)
    if isinstance(given, tuple | Mapping) and len(given):
        items = given.values() if isinstance(given, Mapping) else given
        return Zipped(given) if any(map(_is_read_one_by_one, items)) else Arrays(given)
    if _is_array(given):
        return Arrays(given)
    if hasattr(given, "__len__") and hasattr(given, "__getitem__"):
        return Objects(given)
    if hasattr(given, "__iter__") or callable(given):
        return None
    if hasattr(given, "x_train"):
        raise ArgumentError(explain("a data set has several parts", got=shown(given),
                                    fix="Loader((data.x_train, data.y_train), ...)"))
    raise ArgumentError(explain("this is no source of samples", got=shown(given),
                                expected="an object with __len__ and __getitem__, arrays, or an iterable of samples"))


class Zipped(Source):
    """Sources and arrays of one length side by side: sample i is a tuple or dict of their samples i."""

    def __init__(self, given: Any):
        self.keys = tuple(given) if isinstance(given, Mapping) else None
        self.parts = [sized(item, "a tuple of sources")
                      for item in (given.values() if isinstance(given, Mapping) else given)]
        if len({len(part) for part in self.parts}) != 1:
            raise ArgumentError(explain("the sources have different lengths",
                                        got=", ".join(f"{len(part):,}" for part in self.parts),
                                        expected="one length for all"))
        last = self.parts[-1]
        if (
            isinstance(last, Arrays)
            and last.tree == tree.LEAF
            and last.leaves[0].ndim == 1
            and last.leaves[0].dtype.kind in "iub"
        ):
            self.labels = np.asarray(last.leaves[0])

    def __len__(self) -> int:
        return len(self.parts[0])

    def sample(self, index: int) -> Any:
        found = [part.sample(index) for part in self.parts]
        return tuple(found) if self.keys is None else dict(zip(self.keys, found, strict=True))

    def where(self, index: int) -> str | None:
        return next((place for part in self.parts if (place := part.where(index)) is not None), None)

    def key(self) -> str | None:
        keys = [part.key() for part in self.parts]
        return None if None in keys else f"{self.keys} {' beside '.join(map(str, keys))}"


def _is_read_one_by_one(item: Any) -> bool:
    """Whether making an array of it would read all of it."""
    if isinstance(item, Source):
        return True
    if isinstance(item, tuple | Mapping):
        return any(map(_is_read_one_by_one, item.values() if isinstance(item, Mapping) else item))
    plain = isinstance(item, list | range | str | bytes) or _is_array(item) or hasattr(item, "__array__")
    return not plain and hasattr(item, "__getitem__") and hasattr(item, "__len__")


def _is_array(given: Any) -> bool:
    return (isinstance(given, np.ndarray) or (hasattr(given, "shape") and hasattr(given, "dtype")
                                              and hasattr(given, "__getitem__")))


def sized(given: Any, what: str) -> Source:
    """As `as_source`; ArgumentError for a stream."""
    source = as_source(given)
    if source is None:
        raise ArgumentError(explain(f"{what} needs samples by number",
                                    got=f"{type(given).__name__}, which can only be gone through",
                                    expected="an object with __len__ and __getitem__",
                                    fix=f"Python's own {what}, in a generator, does it for a stream"
                                    if what in ("map", "filter") else "list(stream), if it fits into memory"))
    return source


def fingerprint(sample: Any) -> int:
    """A checksum of what a sample holds."""
    import zlib
    found = 0
    for leaf in spread(sample)[0]:
        content = repr(leaf.tolist()).encode() if leaf.dtype.kind in "OU" else np.ascontiguousarray(leaf).tobytes()
        found = zlib.crc32(content, found)
    return found
