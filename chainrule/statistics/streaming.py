# SPDX-License-Identifier: Apache-2.0
"""`Moments`: mean and variance of numbers that come in batches, in one pass and without keeping them.

The sums of squares are taken about the running mean, so that a mean of 1e8 does not swallow a variance of 1.
Sources: Welford, Technometrics 1962; merging: Chan, Golub and LeVeque, The American Statistician 1983.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError, explain
from ..foundations.arguments import finite
from .checks import guard_class


class Moments:
    """Count, mean and variance along the first axis of all batches seen, each of the batches' remaining shape.

    >>> moments = cr.statistics.Moments()
    >>> for batch in ([[1.0], [2.0]], [[3.0], [4.0]]):
    ...     found = moments.update(batch)
    >>> moments.mean, moments.variance()
    (array([2.5]), array([1.25]))
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = np.zeros(())
        self._squares = np.zeros(())

    def update(self, batch: Any) -> Moments:
        """Take in numbers (n, ...); a single number counts as one. Returns itself."""
        x = np.asarray(batch, np.float64)
        x = x[None] if not x.ndim else x
        if self.count and x.shape[1:] != self.mean.shape:
            raise ShapeError(explain("a batch has another shape than those before", got=str(x.shape),
                                     expected=f"(n, {', '.join(map(str, self.mean.shape))})"))
        if len(x):
            rest = x - x.mean(axis=0)
            error = rest.mean(axis=0)  # of the first mean, by rounding
            self._join(len(x), x.mean(axis=0) + error, np.square(rest).sum(axis=0) - len(x) * error * error)
        return self

    def merge(self, other: Moments) -> Moments:
        """Take in what another one has seen. Returns itself."""
        if other.count:
            self._join(other.count, other.mean, other._squares)
        return self

    def _join(self, count: int, mean: np.ndarray, squares: np.ndarray) -> None:
        total, change = self.count + count, mean - self.mean
        self._squares = self._squares + squares + change * change * (self.count * count / total)
        self.mean = self.mean + change * (count / total)
        self.count = total

    def variance(self, correction: float = 0.0) -> np.ndarray:
        """Sum of squared deviations / (count - correction); NaN where that is not positive."""
        left = self.count - correction
        return self._squares / left if left > 0 else np.full(self.mean.shape, np.nan)

    def std(self, correction: float = 0.0) -> np.ndarray:
        """The root of the variance."""
        return np.sqrt(self.variance(correction))


guard_class(Moments, "update", "merge", "variance", "std", correction=finite)

__all__ = ["Moments"]
