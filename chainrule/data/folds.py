# SPDX-License-Identifier: Apache-2.0
"""Parts of a data set for honest measurements: folds, groups that stay together, time's one way, and duplicates.

Everything is a function of its arguments alone, as in `data.splits`. A duplicate on both sides of a split is an answer
that was given away: `duplicates` finds them by a hash of each sample's bytes.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from .splits import permutation, size_of, split

Fold = tuple[np.ndarray, np.ndarray]


def folds(n: Any, k: int = 5, seed: int = 0, stratify: Any = None, groups: Any = None) -> list[Fold]:
    """k pairs (training indices, test indices), sorted; every sample is tested exactly once.

    Args:
        n: number of samples, or an array of them.
        stratify: n labels; every fold has each class in its share, to within about one sample.
        groups: n labels, such as patients or speakers; samples of a group are never on both sides.

    >>> [test.tolist() for train, test in cr.data.folds(6, k=3)]
    [[0, 5], [2, 4], [1, 3]]
    """
    n = size_of(n)
    if not 2 <= k <= n or (stratify is not None and groups is not None):
        both = ", stratify and groups" if groups is not None and stratify is not None else ""
        raise ArgumentError(explain("no folds can be made", got=f"{n:,} samples, k={k}{both}",
                                    expected="2 <= k <= samples, and stratify or groups but not both"))
    if groups is not None:
        parts = _group_parts(_labels(groups, n, "groups"), [1 / k] * k, seed)
    else:
        sizes = [n // k + (i < n % k) for i in range(k)]
        parts = split(n, sizes if sum(sizes) > 1 else [1.0], seed, stratify)
    every = np.arange(n)
    return [(np.setdiff1d(every, part, assume_unique=True), part) for part in parts]


def split_groups(groups: Any, fractions: Sequence[float], seed: int = 0) -> tuple[np.ndarray, ...]:
    """Disjoint sorted index arrays in about these shares, no group (n labels) in two of them.

    >>> patients = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    >>> train, test = cr.data.split_groups(patients, [0.75, 0.25])
    >>> set(patients[train]) & set(patients[test])
    set()
    """
    labels = np.asarray(groups)
    if not fractions or min(fractions) <= 0 or sum(fractions) > 1 + 1e-9:
        raise ArgumentError(explain("the fractions of the split do not fit", got=str(tuple(fractions)),
                                    expected="positive shares that sum to at most 1"))
    return tuple(_group_parts(_labels(labels, len(labels), "groups"), list(fractions), seed))


def _group_parts(labels: np.ndarray, fractions: list[float], seed: int) -> list[np.ndarray]:
    """Groups from the largest to the smallest, each to the part that lacks most; groups of one size in random order."""
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    if len(sizes) < len(fractions):
        raise ArgumentError(explain("there are fewer groups than parts",
                                    got=f"{len(sizes)} groups, {len(fractions)} parts"))
    order = permutation(len(sizes), seed)
    order = order[np.argsort(-sizes[order], kind="stable")]
    missing = np.array([*fractions, max(0.0, 1 - sum(fractions))]) * len(labels)
    place = np.empty(len(sizes), int)
    for group in order:
        place[group] = int(np.argmax(missing))
        missing[place[group]] -= sizes[group]
    return [np.flatnonzero(place[codes] == part) for part in range(len(fractions))]


def split_time(n: int, fractions: Sequence[float], gap: int = 0) -> tuple[np.ndarray, ...]:
    """Consecutive parts of n samples in order of time, each but the first without its first `gap` samples.

    >>> train, test = cr.data.split_time(10, [0.8, 0.2])
    >>> test
    array([8, 9])
    """
    ends = np.rint(np.cumsum([0.0, *fractions]) * n).astype(int)
    starts = ends[:-1] + np.where(np.arange(len(fractions)) > 0, gap, 0)
    if gap < 0 or ends[-1] > n or (starts >= ends[1:]).any():
        raise ArgumentError(explain("time cannot be cut like this",
                                    got=f"{n:,} samples, fractions {tuple(fractions)}, gap {gap}",
                                    expected="shares that sum to at most 1, each with more samples than the gap"))
    return tuple(np.arange(start, end) for start, end in zip(starts, ends[1:], strict=True))


def time_folds(n: int, k: int = 5, gap: int = 0) -> list[Fold]:
    """k pairs (past, next stretch): the past grows, the n // (k + 1) samples after it (less `gap`) are the test.

    >>> [(len(past), test.tolist()) for past, test in cr.data.time_folds(8, k=3)]
    [(2, [2, 3]), (4, [4, 5]), (6, [6, 7])]
    """
    size = n // (k + 1)
    if k < 1 or gap < 0 or size <= gap:
        raise ArgumentError(explain("no folds can be made", got=f"{n:,} samples, k={k}, gap={gap}",
                                    expected="more samples than (k + 1) * (gap + 1)"))
    starts = [n - (k - i) * size for i in range(k)]
    return [(np.arange(start - gap), np.arange(start, start + size)) for start in starts]


def _labels(labels: Any, n: int, name: str) -> np.ndarray:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ShapeError(explain(f"{name} needs one label per sample", got=f"shape {array.shape}", expected=f"({n},)"))
    return array


# ---- duplicates

@dataclass(frozen=True)
class Duplicates:
    """Samples that are there twice or more: `groups` holds lists of (part, index); `across` is what has leaked.

    >>> x = np.array([[1.0], [2.0], [1.0]])
    >>> found = cr.data.duplicates(train=x)
    >>> isinstance(found, cr.data.Duplicates), found.groups
    (True, ((('train', 0), ('train', 2)),))
    """

    groups: tuple[tuple[tuple[str, int], ...], ...]

    @property
    def across(self) -> tuple[tuple[tuple[str, int], ...], ...]:
        """The groups with members in different parts: what has leaked."""
        return tuple(group for group in self.groups if len({part for part, _ in group}) > 1)

    def __str__(self) -> str:
        if not self.groups:
            return "no duplicates"
        rows = [f"{len(self.groups)} samples are there more than once, "
                f"{len(self.across)} of them in more than one part"]
        for group in (self.across or self.groups)[:10]:
            rows.append("  " + " = ".join(f"{part}[{index}]" for part, index in group))
        return "\n".join(rows)

    __repr__ = __str__


def duplicates(decimals: int | None = None, **parts: Any) -> Duplicates:
    """Equal samples within and between parts: `data.duplicates(train=x_train, test=x_test)`.

    `decimals` rounds numbers first, to find those that differ by less. Samples are compared by SHA-256 of their bytes.

    >>> found = cr.data.duplicates(train=np.array([[1.0], [2.0]]), test=np.array([[2.0]]))
    >>> found.groups
    ((('train', 1), ('test', 0)),)
    """
    found: dict[bytes, list[tuple[str, int]]] = defaultdict(list)
    for name, samples in parts.items():
        array = np.asarray(samples)
        array = np.round(array.astype(np.float64), decimals) + 0.0 if decimals is not None else array
        for index, sample in enumerate(np.ascontiguousarray(array)):
            content = sample.tobytes() if isinstance(sample, np.ndarray | np.generic) else repr(sample).encode()
            found[hashlib.sha256(content).digest()].append((name, index))
    return Duplicates(tuple(tuple(group) for group in found.values() if len(group) > 1))
