# SPDX-License-Identifier: Apache-2.0
"""Which samples go where: fixed splits of a data set, and the order of its batches, both functions of a seed alone.

Random keys are raw words of the counter-based Philox 4x64 generator (Salmon et al., SC 2011), whose stream NumPy
promises never to change (NEP 19), put in order by a stable sort. So a permutation is the same on every machine and
NumPy version, and that of epoch e needs nothing of the epochs before it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain, shown
from ..typing import ArrayLike

SPLIT_STREAM = 2**64 - 1


def permutation(n: int, seed: int, stream: int = 0) -> np.ndarray:
    """A permutation of 0..n-1, int64 (n,), that depends only on (n, seed, stream).

    >>> sorted(cr.data.permutation(5, seed=0).tolist())
    [0, 1, 2, 3, 4]
    """
    words = np.random.Philox(key=np.array([seed_of(seed), stream], np.uint64)).random_raw(n)
    return np.argsort(words, kind="stable").astype(np.int64)


def seed_of(given: Any) -> int:
    """A seed as an integer of Python; ArgumentError for what is none."""
    if not hasattr(given, "__index__") or not 0 <= operator.index(given) < 2**64:
        raise ArgumentError(explain("the seed cannot be used", got=shown(given),
                                    expected="a whole number from 0 to 2**64-1"))
    return operator.index(given)


def check_place(state: Mapping[str, Any], now: Mapping[str, Any], what: str) -> None:
    """ArgumentError where a saved place was one among other samples, batches or orders than those of `now`."""
    if not isinstance(state, Mapping):
        raise ArgumentError(explain("this is no saved place", got=shown(state), expected="what state() gave"))
    other = [name for name, value in now.items() if state.get(name) != value]
    if other:
        raise ArgumentError(explain(f"the saved place belongs to {what}",
                                    got=", ".join(f"{name} {state.get(name)}" for name in other),
                                    expected=", ".join(f"{name} {now[name]}" for name in other)))


def size_of(n: Any) -> int:
    """A number of samples, given as such or as the samples themselves."""
    if hasattr(n, "__len__"):
        return len(n)
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
        raise ArgumentError(explain("this is not a number of samples", got=repr(n),
                                    expected="a whole number, or an array of samples"))
    return int(n)


def split(n: Any, fractions: float | Sequence[float], seed: int = 0, stratify: Any = None) -> tuple[np.ndarray, ...]:
    """Disjoint sorted index arrays, one per fraction, deterministic in (n, fractions, seed, stratify).

    `n` is the number of samples, or an array of them. `fractions` (a single number f stands for (f, 1 - f)) are shares
    of n (sum at most 1; largest remainders are rounded up) or, if all are whole numbers that sum to more than 1,
    counts. With `stratify` (n labels) every part has each class in its share, to within about one sample; a first part
    of more than half gets every class of two samples or more. Raises ArgumentError for shares that do not fit or a
    wrong number of labels.

    >>> train, test = cr.data.split(10, 0.8, seed=0)
    >>> len(train), len(test)
    (8, 2)
    """
    n, fractions = size_of(n), (fractions, 1 - fractions) if isinstance(fractions, float) else fractions
    if hasattr(fractions, "shape") and np.shape(fractions) and len(fractions) == n > 1:
        raise ArgumentError(explain("the second argument of split holds one entry for each sample",
                                    got=f"an array of shape {np.shape(fractions)}",
                                    expected="shares such as 0.8 or (0.7, 0.15, 0.15)",
                                    fix="train, test = data.split(x, 0.8, stratify=y); then x[train], y[train]"))
    counts = _counts(n, fractions)
    order = permutation(n, seed, SPLIT_STREAM)
    if stratify is not None:
        order = _interleave(order, np.asarray(stratify), n)
    ends = np.cumsum(counts)
    return tuple(np.sort(order[end - size:end]) for end, size in zip(ends, counts, strict=True))


def _interleave(order: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray:
    """Sort by (rank within the class + 1/2) / (size of the class): any cut then takes the same share of each class."""
    if labels.shape != (n,):
        raise ArgumentError(explain("stratify needs one label per sample", got=f"shape {labels.shape}",
                                    expected=f"({n},)"))
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = order[np.argsort(codes[order], kind="stable")]
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    position = (np.arange(n) - starts + 0.5) / np.repeat(sizes, sizes)
    return by_class[np.argsort(position, kind="stable")]


def _counts(n: int, fractions: Sequence[float]) -> list[int]:
    if all(isinstance(part, int | np.integer) for part in fractions) and sum(fractions) > 1:
        counts = [int(part) for part in fractions]
    else:
        exact = [n * float(part) for part in fractions]
        counts = [int(np.floor(size + 1e-9)) for size in exact]
        missing = int(np.floor(sum(exact) + 0.5)) - sum(counts)
        remainders = sorted(range(len(counts)), key=lambda part: counts[part] - exact[part])
        for part in remainders[:max(missing, 0)]:
            counts[part] += 1
    if not counts or min(counts) < 0 or sum(counts) > n:
        raise ArgumentError(explain("the fractions of the split do not fit", got=str(tuple(fractions)),
                                    expected=f"shares that sum to at most 1, or counts that sum to at most {n:,}"))
    return counts


class Batches:
    """Index arrays of the batches of one epoch after the other; the position can be saved and restored exactly.

        batches = Batches((x, y), batch_size=64, seed=0)
        while batches.epoch < 5:
            for indices in batches:                 # the rest of the current epoch
                step(x[indices], y[indices])
                state = batches.state()             # restore(state) goes on with the next batch

    `arrays` is the number of samples, an array, or arrays of equal length. The order of epoch e depends only on
    (seed, e). `shuffle=False` keeps the order of the samples; `drop_last` leaves out a last batch that is not full; a
    last batch of fewer than `least` samples joins the one before it.

    >>> batches = cr.data.Batches(5, batch_size=2, shuffle=False)
    >>> [batch.tolist() for batch in batches]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, arrays: ArrayLike, batch_size: int, seed: int = 0, shuffle: bool = True, drop_last: bool = False,
                 least: int = 1):
        self.size = _common_length(arrays)
        self.batch_size, self.seed, self.shuffle, self.drop_last = int(batch_size), int(seed), shuffle, drop_last
        self._position, self._joins = (
            (0, 0),
            0 < self.size % max(self.batch_size, 1) < least and self.size > self.batch_size,
        )
        if self.batch_size < 1 or len(self) == 0:
            raise ArgumentError(explain("no batch can be made", got=f"{self.size:,} samples, batch_size {batch_size}",
                                        fix="use a batch_size from 1 to the number of samples"))

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self._position[0]

    @property
    def step(self) -> int:
        """Batches of this epoch that are done."""
        return self._position[1]

    def __len__(self) -> int:
        """Batches per epoch."""
        return self.size // self.batch_size if self.drop_last or self._joins else -(-self.size // self.batch_size)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The rest of the current epoch, then the position moves to the start of the next one."""
        order = self.order(self.epoch)
        while self.step < len(self):
            batch = self.block(order, 1)[0]
            self.advance(1)
            yield batch
        self.end_epoch()

    def block(self, order: np.ndarray, most: int) -> np.ndarray:
        """The next batches, int64 (batches, rows): up to `most` full ones, or a last one that is smaller; nothing
        moves."""
        start = self.step * self.batch_size
        if self._joins and self.step == len(self) - 1:
            return order[start:].reshape(1, -1)
        count = max(1, min(most, (self.size - start) // self.batch_size - self._joins))
        return order[start:start + count * self.batch_size].reshape(count, -1)

    def advance(self, batches: int) -> None:
        """So many batches more of this epoch are done."""
        self._position = (self.epoch, self.step + batches)

    def end_epoch(self) -> None:
        """Go to the start of the next epoch."""
        self._position = (self.epoch + 1, 0)

    def order(self, epoch: int) -> np.ndarray:
        """All sample indices in the order of this epoch, int64 (size,)."""
        return permutation(self.size, self.seed, epoch) if self.shuffle else np.arange(self.size, dtype=np.int64)

    def state(self) -> dict[str, Any]:
        """The position as plain data: `step` batches of `epoch` have been handed out."""
        return {"epoch": self.epoch, "step": self.step} | self._settings()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state()` was taken; ArgumentError if the samples, the batch size or the seed were others."""
        check_place(state, self._settings(), "other batches")
        epoch, step = int(state["epoch"]), int(state["step"])
        if epoch < 0 or not 0 <= step <= len(self):
            raise ArgumentError(explain("the saved position lies outside the epoch", got=f"epoch {epoch}, step {step}",
                                        expected=f"step 0 to {len(self)}"))
        self._position = (epoch, step)

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("size", "batch_size", "seed", "shuffle", "drop_last")}


def _common_length(arrays: Any) -> int:
    if isinstance(arrays, int | np.integer):
        return int(arrays)
    if isinstance(arrays, Mapping):
        arrays = tuple(arrays.values())
    lengths = [len(array) for array in arrays] if isinstance(arrays, tuple | list) else [len(arrays)]
    if len(set(lengths)) != 1:
        raise ArgumentError(explain("the arrays of a batch have different lengths", got=", ".join(map(str, lengths)),
                                    expected="one length for all"))
    return lengths[0]
