# SPDX-License-Identifier: Apache-2.0
"""Sources made of sources: `map`, `filter`, `subset`, `shuffle`, `concat`. Nothing is read before a sample is asked
for, but by `filter`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import ArgumentError, BoundsError, explain, shown
from ...typing import ArrayLike, SourceLike
from ..splits import permutation
from .arrays import sized
from .base import COMPOSED, Source
from .reading import read_one, unreadable


class Mapped(Source):
    """The samples of `source`, each changed by `function`."""

    def __init__(self, source: Source, function: Callable[[Any], Any]):
        self.source, self.function = source, function

    def __len__(self) -> int:
        return len(self.source)

    def sample(self, index: int) -> Any:
        return self.function(self.source.sample(index))

    def samples(self, indices: np.ndarray) -> list[Any] | None:
        found = self.source.samples(indices)
        return None if found is None else [self.function(sample) for sample in found]

    def where(self, index: int) -> str | None:
        return self.source.where(index)


class Subset(Source):
    """The samples of `source` at `indices`, in this order."""

    def __init__(self, source: Source, indices: np.ndarray):
        self.source, self.indices = source, indices
        self.labels = None if source.labels is None else source.labels[indices]
        self.class_names = source.class_names

    def __len__(self) -> int:
        return len(self.indices)

    def sample(self, index: int) -> Any:
        return self.source.sample(int(self.indices[index]))

    def samples(self, indices: np.ndarray) -> list[Any] | None:
        return self.source.samples(self.indices[indices])

    def batch(self, indices: np.ndarray) -> Any:
        return self.source.batch(self.indices[indices])

    def where(self, index: int) -> str | None:
        return self.source.where(int(self.indices[index]))

    def key(self) -> str | None:
        key = self.source.key()
        return None if key is None else f"{key} at {hash_of(self.indices)}"


class Concatenated(Source):
    """The samples of several sources, one after the other."""

    def __init__(self, sources: list[Source]):
        self.sources = sources
        self.ends = np.cumsum([len(source) for source in sources])
        self.class_names = sources[0].class_names
        same = all(source.labels is not None and source.class_names == self.class_names for source in sources)
        self.labels = np.concatenate([source.labels for source in sources]) if same else None  # type: ignore[misc]

    def __len__(self) -> int:
        return int(self.ends[-1])

    def _place(self, index: int) -> tuple[Source, int]:
        part = int(np.searchsorted(self.ends, index, side="right"))
        return self.sources[part], index - (int(self.ends[part - 1]) if part else 0)

    def sample(self, index: int) -> Any:
        source, place = self._place(index)
        return source.sample(place)

    def where(self, index: int) -> str | None:
        source, place = self._place(index)
        return source.where(place)

    def key(self) -> str | None:
        keys = [source.key() for source in self.sources]
        return None if None in keys else f"({' + '.join(map(str, keys))})"


def hash_of(array: np.ndarray) -> str:
    """A short text that is another one for other numbers."""
    import hashlib
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def map(source: SourceLike, function: Callable[[Any], Any]) -> Source:
    """The source whose sample i is `function(source[i])`, computed when it is asked for, in the Loader's workers.

    >>> source = cr.data.map([1, 2, 3], lambda x: 10 * x)
    >>> source[2]
    30
    """
    return Mapped(sized(source, "map"), _function(function, "map"))


def filter(source: SourceLike, keep: Callable[[Any], bool]) -> Source:
    """The samples for which `keep(sample)` is true. All are read once, at this call; their numbers are kept, not the
    samples.

    >>> source = cr.data.filter([1, 2, 3, 4], lambda x: x % 2 == 0)
    >>> [source[i] for i in range(len(source))]
    [2, 4]
    """
    source, keep = sized(source, "filter"), _function(keep, "filter")
    return Subset(source, np.array([i for i in range(len(source)) if _kept(source, i, keep)], np.int64))


def _kept(source: Source, index: int, keep: Callable[[Any], bool]) -> bool:
    sample = read_one(source, index)
    try:
        return bool(keep(sample))
    except Exception as error:
        raise unreadable(source, index, error) from error


def subset(source: SourceLike, indices: ArrayLike) -> Source:
    """The samples at `indices` (whole numbers, a slice, or a mask of one truth value per sample), in this order.

    >>> source = cr.data.subset([10, 20, 30], [2, 0])
    >>> source[0]
    30
    """
    source = sized(source, "subset")
    chosen = np.arange(len(source))[indices] if isinstance(indices, slice) else np.asarray(indices)
    if chosen.dtype == bool and chosen.shape == (len(source),):
        chosen = np.flatnonzero(chosen)
    if chosen.ndim != 1 or (chosen.dtype.kind not in "iu" and len(chosen)):
        raise ArgumentError(explain("these are no numbers of samples", got=shown(indices),
                                    expected=f"whole numbers below {len(source):,}, or {len(source):,} truth values"))
    chosen = chosen.astype(np.int64)
    outside = np.flatnonzero((chosen < -len(source)) | (chosen >= len(source)))
    if len(outside):
        raise BoundsError(explain("there is no sample of this number", got=f"{chosen[outside[0]]:,}",
                                  expected=f"below {len(source):,}"))
    return Subset(source, np.where(chosen < 0, chosen + len(source), chosen))


def shuffle(source: SourceLike, seed: int = 0) -> Source:
    """All samples in one random order, a function of (length, seed). A Loader's `shuffle=True` takes a new one for each
    epoch.

    >>> source = cr.data.shuffle([1, 2, 3, 4], seed=0)
    >>> sorted(source[i] for i in range(len(source)))
    [1, 2, 3, 4]
    """
    source = sized(source, "shuffle")
    return Subset(source, permutation(len(source), seed))


def concat(*sources: SourceLike) -> Source:
    """The samples of all sources, one after the other.

    >>> source = cr.data.concat([1, 2], [3])
    >>> [source[i] for i in range(len(source))]
    [1, 2, 3]
    """
    if not sources:
        raise ArgumentError(explain("concat needs a source"))
    return Concatenated([sized(source, "concat") for source in sources])


def _function(function: Any, name: str) -> Callable[[Any], Any]:
    if not callable(function) or isinstance(function, Source):
        raise ArgumentError(explain(f"data.{name} takes a source and a function", got=shown(function),
                                    expected="a function of one sample", fix=f"data.{name}(source, function)"))
    return function


COMPOSED.update(map=map, filter=filter, subset=subset, shuffle=shuffle, concat=concat)
