# SPDX-License-Identifier: Apache-2.0
"""`Source`: samples that are read when they are asked for, by number.

A subclass says how many there are and how one is read; what it knows beside that (where a sample lies, its class, many
of them at once) it may say too. A sample is any nested structure of arrays, numbers and texts.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import BoundsError, explain
from ...typing import ArrayLike
from .collate import collate

# what a method of that name calls; the files that make sources of sources enter it
COMPOSED: dict[str, Callable[..., Any]] = {}


class Source:
    """Samples by number: `len(source)`, `source[i]`, and `source[[3, 1, 4]]` for several as nested arrays.

    `labels` (n,) and `class_names` are there where the source knows classes without reading samples, else None.

    >>> class Squares(cr.data.Source):
    ...     def __len__(self):
    ...         return 5
    ...     def sample(self, index):
    ...         return index * index
    >>> Squares()[3]
    9
    """

    labels: np.ndarray | None = None
    class_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} needs a method __len__")

    def sample(self, index: int) -> Any:
        """The sample of a number from 0 to `len(self) - 1`."""
        raise NotImplementedError(f"{type(self).__name__} needs a method sample(self, index)")

    def samples(self, indices: np.ndarray) -> list[Any] | None:
        """Several samples at once, in this order; None where that is no faster than one by one."""
        return None

    def batch(self, indices: np.ndarray) -> Any:
        """Several samples as nested arrays with one row each; None where samples must be looked at one by one."""
        return None

    def where(self, index: int) -> str | None:
        """Where the sample lies, such as the path of its file, for messages."""
        return None

    def key(self) -> str | None:
        """A text that is another one whenever the samples are others; None where that is not known."""
        return None

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            index = range(*index.indices(len(self)))
        if isinstance(index, list | tuple | range | np.ndarray) and np.ndim(index):
            return self._several(np.asarray(index))
        return self.sample(position(index, len(self)))

    def _several(self, indices: np.ndarray) -> Any:
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        places = np.array([position(i, len(self)) for i in indices], np.int64)
        found = self.batch(places)
        return collate([self.sample(int(i)) for i in places], places) if found is None else found

    def map(self, function: Callable[[Any], Any]) -> Source:
        """See `chainrule.data.map`."""
        return COMPOSED["map"](self, function)

    def filter(self, keep: Callable[[Any], bool]) -> Source:
        """See `chainrule.data.filter`."""
        return COMPOSED["filter"](self, keep)

    def subset(self, indices: ArrayLike) -> Source:
        """See `chainrule.data.subset`."""
        return COMPOSED["subset"](self, indices)

    def shuffle(self, seed: int = 0) -> Source:
        """See `chainrule.data.shuffle`."""
        return COMPOSED["shuffle"](self, seed)

    def concat(self, *others: Any) -> Source:
        """See `chainrule.data.concat`."""
        return COMPOSED["concat"](self, *others)

    def cache(self, path: Any, key: str | None = None) -> Source:
        """See `chainrule.data.cache`."""
        return COMPOSED["cache"](self, path, key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self):,} samples)"


def position(index: Any, size: int) -> int:
    """A number from 0 to size - 1, negative ones counted from the end; BoundsError for others."""
    index = operator.index(index)
    if not -size <= index < size:
        raise BoundsError(explain("there is no sample of this number", got=f"{index:,}",
                                  expected=f"0 to {size - 1:,}" if size else "none: the source is empty"))
    return index + size if index < 0 else index
