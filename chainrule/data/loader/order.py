# SPDX-License-Identifier: Apache-2.0
"""Which samples make which batch: functions of (seed, epoch) alone, so that any epoch can be gone on with at any batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...errors import ArgumentError, explain, shown
from ..splits import permutation

DRAWS_STREAM = 2**63  # epochs of random draws have streams of their own beside those of permutations


class Rows(NamedTuple):
    """The samples of one batch: `indices` in the source, `draws` for augmentation (a sample that is drawn again has
    another number), padded length."""

    indices: np.ndarray
    draws: np.ndarray
    length: int | None = None


class Job(NamedTuple):
    """One batch to be made: its epoch, its samples by number, and they themselves where a stream has given them."""

    epoch: int
    rows: Rows
    samples: list[Any] | None = None


class Order:
    """The batches of each epoch.

    Args:
        size: samples of the source.
        chances: of each sample, for draws with replacement; None: every sample once.
        sampler: a function epoch -> indices, or indices; None: all samples.
        shard: (k, n): every n-th sample of the epoch's order from the k-th on.
        lengths, bounds: of each sample and of the buckets: a batch holds samples of one bucket, padded to its bound.
    """

    def __init__(self, size: int, batch_size: int, shuffle: bool, seed: int, drop_last: bool, *,
                 chances: np.ndarray | None = None, sampler: Any = None, shard: tuple[int, int] | None = None,
                 lengths: np.ndarray | None = None, bounds: np.ndarray | None = None):
        self.size, self.batch_size, self.shuffle, self.seed, self.drop_last = size, batch_size, shuffle, seed, drop_last
        self.sampler = sampler if sampler is None or callable(sampler) else _sampled(lambda epoch: sampler, 0, size)
        self.chances, self.shard, self.lengths, self.bounds = chances, shard, lengths, bounds
        self._kept: dict[int, Sequence[Rows]] = {}  # of two epochs, as the next one begins before the last one ends

    def samples(self, epoch: int) -> np.ndarray:
        """All indices of an epoch in their order."""
        found = self._all(epoch)
        if self.shard is None:
            return found
        number, shards = self.shard
        return found[number:len(found) // shards * shards:shards]

    def _all(self, epoch: int) -> np.ndarray:
        if self.sampler is not None:
            return _sampled(self.sampler, epoch, self.size)
        if self.chances is not None:
            return self._drawn(epoch)
        return permutation(self.size, self.seed, epoch) if self.shuffle else np.arange(self.size, dtype=np.int64)

    def _drawn(self, epoch: int) -> np.ndarray:
        """Stratified draws (one from each of `size` equal shares of the chances, in random order): each sample comes as
        often as it should, to within one."""
        ends = np.cumsum(self.chances, dtype=np.float64)
        offset = permutation_words(self.size, self.seed, epoch)
        draws = (np.arange(self.size) + offset) * (ends[-1] / self.size)
        found = np.minimum(np.searchsorted(ends, draws, side="right"), np.flatnonzero(self.chances)[-1])
        return found[permutation(self.size, self.seed, epoch)]

    def count(self, epoch: int) -> int:
        """How many batches an epoch has."""
        if self.bounds is None and not callable(self.sampler):
            size = len(self.sampler) if self.sampler is not None else self.size
            size = size if self.shard is None else size // self.shard[1]
            return size // self.batch_size if self.drop_last else -(-size // self.batch_size)
        return len(self._batches(epoch))

    def batch(self, epoch: int, step: int) -> Rows:
        """The samples of one batch."""
        return self._batches(epoch)[step]

    def _batches(self, epoch: int) -> Sequence[Rows]:
        if epoch not in self._kept:
            indices = self.samples(epoch)
            draws = indices if self.chances is None and self.sampler is None else _told_apart(indices, self.size)
            while len(self._kept) > 1:
                del self._kept[next(iter(self._kept))]
            self._kept[epoch] = _Cut(indices, draws, self) if self.bounds is None else self._bucketed(indices, draws)
        return self._kept[epoch]

    def _bucketed(self, indices: np.ndarray, draws: np.ndarray) -> list[Rows]:
        """Batches in the order in which their buckets fill; what remains in the buckets comes last."""
        buckets = np.searchsorted(self.bounds, self.lengths[indices])  # type: ignore[arg-type,index]
        ready: list[tuple[int, Rows]] = []
        for bucket in np.unique(buckets):
            places, length = np.flatnonzero(buckets == bucket), int(self.bounds[bucket])  # type: ignore[index]
            for start in range(0, len(places), self.batch_size):
                part = places[start:start + self.batch_size]
                if len(part) == self.batch_size or not self.drop_last:
                    when = int(part[-1]) if len(part) == self.batch_size else len(indices) + int(part[-1])
                    ready.append((when, Rows(indices[part], draws[part], length)))
        return [rows for _, rows in sorted(ready, key=lambda item: item[0])]


class _Cut(Sequence[Rows]):
    """An order cut into batches when they are asked for."""

    def __init__(self, indices: np.ndarray, draws: np.ndarray, order: Order):
        self.indices, self.draws, self.batch_size = indices, draws, order.batch_size
        self.count = len(indices) // order.batch_size if order.drop_last else -(-len(indices) // order.batch_size)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, step: Any) -> Any:
        part = slice(step * self.batch_size, (step + 1) * self.batch_size)
        return Rows(self.indices[part], self.draws[part])


def permutation_words(n: int, seed: int, stream: int) -> np.ndarray:
    """float64 (n,), uniform in [0, 1), a function of (n, seed, stream)."""
    words = np.random.Philox(key=np.array([seed, stream + DRAWS_STREAM], np.uint64)).random_raw(n)
    return (words >> np.uint64(11)) * 2.0**-53


def _told_apart(indices: np.ndarray, size: int) -> np.ndarray:
    """Each index, plus `size` for every time that it has come before."""
    order = np.argsort(indices, kind="stable")
    rows = indices[order]
    begins = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]]) if len(rows) else np.zeros(0, np.int64)
    before = np.arange(len(rows)) - np.repeat(begins, np.diff(np.r_[begins, len(rows)]))
    out = np.empty_like(indices)
    out[order] = rows + before * size
    return out


def _sampled(sampler: Any, epoch: int, size: int) -> np.ndarray:
    found = np.asarray(sampler(epoch) if callable(sampler) else sampler)
    if found.ndim != 1 or found.dtype.kind not in "iu" or (len(found) and not 0 <= found.min() <= found.max() < size):
        raise ArgumentError(explain("a sampler gives the numbers of samples", got=shown(found),
                                    expected=f"whole numbers from 0 to {size - 1:,}",
                                    fix="sampler=lambda epoch: indices"))
    if not len(found):
        raise ArgumentError(explain("the sampler gives no samples", got=f"none for epoch {epoch}"))
    return found.astype(np.int64)


def chances_of(weights: Any, labels: np.ndarray | None, size: int) -> np.ndarray | None:
    """Chances of the samples from `weights`: one number each, or "balanced", which gives every class the same share."""
    if weights is None:
        return None
    if isinstance(weights, str):
        return _balanced(weights, labels, size)
    chances = np.asarray(weights, np.float64)
    if chances.shape != (size,) or not np.isfinite(chances).all() or (chances < 0).any() or not chances.any():
        raise ArgumentError(explain("weights cannot be used for drawing samples", got=shown(chances),
                                    expected=f"({size:,},) finite numbers from 0 on, not all 0"))
    return chances


def _balanced(weights: str, labels: np.ndarray | None, size: int) -> np.ndarray:
    if weights != "balanced":
        raise ArgumentError(explain("unknown weights", got=repr(weights),
                                    expected='"balanced", or one number for each sample'))
    if labels is None or np.shape(labels) != (size,):
        raise ArgumentError(explain("a balanced order needs the class of each sample", got="no labels" if labels is None
                                    else f"labels of shape {np.shape(labels)}",
                                    expected=f"({size:,},)", fix="Loader(..., weights=\"balanced\", labels=y)"))
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return 1.0 / counts[codes]


def bounds_of(buckets: Any, lengths: np.ndarray) -> np.ndarray:
    """The largest length of each bucket, rising: as told, or of so many buckets with about as many samples in each."""
    if isinstance(buckets, int | np.integer) and not isinstance(buckets, bool) and buckets >= 1:
        shares = np.arange(1, buckets + 1) / buckets
        return np.unique(np.quantile(lengths, shares, method="higher").astype(np.int64))
    try:
        bounds = np.unique(np.asarray(buckets, np.int64))
    except (TypeError, ValueError):
        bounds = np.zeros(0, np.int64)
    if bounds.ndim != 1 or not len(bounds) or bounds[0] < 1 or isinstance(buckets, bool):
        raise ArgumentError(explain("buckets cannot be used", got=shown(buckets),
                                    expected="how many, or the largest length of each",
                                    fix="buckets=4, or buckets=[32, 64, 128]"))
    if lengths.max() > bounds[-1]:
        place = int(np.argmax(lengths))
        raise ArgumentError(explain("a sample is longer than the longest bucket",
                                    got=f"sample {place:,} of length {lengths[place]:,}",
                                    expected=f"at most {bounds[-1]:,}",
                                    fix="name a larger last bucket, or cut the sample by data.map"))
    return bounds

