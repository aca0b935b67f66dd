# SPDX-License-Identifier: Apache-2.0
"""Metrics of numbers: mean absolute and squared error, its root, the coefficient of determination, any mean you define.

In come outputs and targets of one and the same shape (nothing is broadcast), out come values from sums in float64; the
spread of the targets is merged batch by batch without cancellation (Chan, Golub and LeVeque, 1983). Intervals
resample whole rows of the batch, because the numbers of one row belong together.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..errors import ShapeError, explain
from .base import Metric, Records, record_interval
from .intervals import Interval, Statistic
from .items import item_weights, number_items
from .scores import ratio_of_sums

__all__ = ["R2", "Mean", "MeanAbsoluteError", "MeanSquaredError", "RootMeanSquaredError"]


class Mean(Metric):
    """Weighted mean of what `function(outputs, targets)` gives for each item: an array whose first axis is the batch.

    Interval: bootstrap of the rows. Raises ShapeError if the function does not keep the batch axis.

    >>> metric = cr.metrics.Mean(lambda outputs, targets: np.abs(outputs - targets).max(axis=-1), "worst")
    >>> metric.update(np.array([[1.0, 5.0]]), np.array([[0.0, 0.0]]))
    >>> metric.result()
    5.0
    """

    higher_is_better = False

    def __init__(self, function: Callable[[np.ndarray, np.ndarray], np.ndarray], name: str | None = None, *,
                 higher_is_better: bool = False):
        self.function, self.name = function, name or getattr(function, "__name__", "mean")
        self.higher_is_better = higher_is_better
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self.sum = 0.0
        self.records = Records()

    def update(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> None:
        values = np.asarray(self.function(np.asarray(outputs), np.asarray(targets)), np.float64)
        if values.shape[:1] != np.shape(outputs)[:1]:
            raise ShapeError(explain(f"{self.name} must give one value for each item", got=f"shape {values.shape}",
                                     expected=f"first axis {np.shape(outputs)[:1]}",
                                     fix="do not average over the batch: that is done here, exactly"))
        self._take(values, item_weights(weights, values.shape))

    def _take(self, values: np.ndarray, weights: np.ndarray) -> None:
        parts = np.where(weights != 0, values, 0) * weights
        self.broken |= bool(np.isnan(parts).any())
        self.sum += float(parts.sum())
        self.total += float(weights.sum())
        rows = np.stack([_row_sums(parts), _row_sums(weights)], axis=1)
        self.records.add(rows[rows[:, 1] > 0])

    def _value(self) -> float:
        return self._finish(self.sum / self.total)

    @staticmethod
    def _finish(mean):
        return mean

    def _interval(self, level: float, value: float) -> Interval | None:
        rows = self.records.rows
        mean = ratio_of_sums(rows)
        return record_interval(value, lambda counts: self._finish(mean(counts)), len(rows), self.records.seen, level)


def _row_sums(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1).sum(axis=1)


class _MeanError(Mean):
    def __init__(self) -> None:
        Metric.__init__(self)

    def update(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> None:
        items = number_items(outputs, targets, weights)
        with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, which the value shows
            self._take(self.loss(items.outputs - items.targets), items.weights)


class MeanAbsoluteError(_MeanError):
    """Mean of |output - target| over all numbers.

    >>> metric = cr.metrics.MeanAbsoluteError()
    >>> metric.update(np.array([[1.0], [3.0]]), np.array([[0.0], [0.0]]))
    >>> metric.result()
    2.0
    """

    name, loss = "mae", staticmethod(np.abs)


class MeanSquaredError(_MeanError):
    """Mean of (output - target)² over all numbers.

    >>> metric = cr.metrics.MeanSquaredError()
    >>> metric.update(np.array([[1.0], [3.0]]), np.array([[0.0], [0.0]]))
    >>> metric.result()
    5.0
    """

    name, loss = "mse", staticmethod(np.square)


class RootMeanSquaredError(MeanSquaredError):
    """√ of the mean squared error over all numbers (with several columns: of their common mean).

    >>> metric = cr.metrics.RootMeanSquaredError()
    >>> metric.update(np.array([[1.0], [3.0]]), np.array([[0.0], [0.0]]))
    >>> metric.result()
    2.23606797749979
    """

    name = "rmse"

    @staticmethod
    def _finish(mean):
        return np.sqrt(mean)


class R2(Metric):
    """Coefficient of determination 1 - Σ w (y - f)² / Σ w (y - mean y)², the mean of it over the columns (last axis).

    A column of constant targets gives 1 if it is met exactly, else 0. NaN for fewer than two rows. Interval: bootstrap.

    >>> metric = cr.metrics.R2()
    >>> metric.update(np.array([[1.0], [2.0], [4.0]]), np.array([[1.0], [2.0], [3.0]]))
    >>> metric.result()
    0.5
    """

    name = "r2"

    def reset(self) -> None:
        super().reset()
        self.rows = 0
        self.moments: np.ndarray | None = None  # (4, columns): Σ w, mean y, Σ w (y - mean y)², Σ w (y - f)²
        self.origin: np.ndarray | None = None  # the first row: targets far from 0 would lose digits in the merging
        self.records = Records()

    def update(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> None:
        items = number_items(outputs, targets, weights)
        columns = items.targets.shape[-1] if items.targets.ndim > 1 else 1
        if self.moments is not None and self.moments.shape[1] != columns:
            raise ShapeError(explain("r2: the number of columns changed within an epoch", got=f"{columns} columns",
                                     expected=f"{self.moments.shape[1]} columns, as before"))
        y, f, w = (np.reshape(part, (-1, columns)) for part in (items.targets, items.outputs, items.weights))
        keep = w.any(axis=1)
        self._take(y[keep], f[keep], w[keep])

    def _take(self, y: np.ndarray, f: np.ndarray, w: np.ndarray) -> None:
        if self.origin is None and len(y):
            self.origin = np.where(np.isfinite(y[0]), y[0], 0)
        with np.errstate(invalid="ignore", over="ignore"):
            moments = _moments(y - (0 if self.origin is None else self.origin), (y - f) ** 2, w)
        self.broken |= bool(np.isnan(y).any() or np.isnan(f).any())
        self.rows += len(y)
        self.total += float(w.sum())
        self.moments = moments if self.moments is None else _merged(self.moments, moments)
        self.records.add(np.concatenate([y, f, w], axis=1))

    def _value(self) -> float:
        if self.rows < 2:
            return math.nan
        return float(_determination(self.moments[2], self.moments[3], self.moments[0]))

    def _interval(self, level: float, value: float) -> Interval | None:
        return record_interval(value, self._statistic(), len(self.records.rows), self.records.seen, level)

    def _statistic(self) -> Statistic:
        y, f, w = np.split(self.records.rows, 3, axis=1)
        centred = y - np.average(y, axis=0, weights=np.where(w.any(axis=0), w, 1))  # against cancellation below

        def statistic(counts: np.ndarray) -> np.ndarray:
            total, first = counts @ w, counts @ (w * centred)
            mean_square = np.divide(first**2, total, out=np.zeros_like(total), where=total > 0)
            spread = np.maximum(counts @ (w * centred**2) - mean_square, 0)
            return _determination(spread, counts @ (w * (y - f) ** 2), total)

        return statistic


def _moments(y: np.ndarray, squared_error: np.ndarray, w: np.ndarray) -> np.ndarray:
    total = w.sum(axis=0)
    mean = np.divide((w * y).sum(axis=0), total, out=np.zeros(y.shape[1]), where=total > 0)
    return np.stack([total, mean, (w * (y - mean) ** 2).sum(axis=0), (w * squared_error).sum(axis=0)])


def _merged(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The moments of two sets of rows together."""
    total = a[0] + b[0]
    share = np.divide(b[0], total, out=np.zeros_like(total), where=total > 0)
    change = b[1] - a[1]
    return np.stack([total, a[1] + change * share, a[2] + b[2] + change**2 * a[0] * share, a[3] + b[3]])


def _determination(spread: np.ndarray, error: np.ndarray, total: np.ndarray) -> np.ndarray:
    """1 - error / spread in each column (last axis), averaged over the columns that have weight."""
    each = 1 - np.divide(error, spread, out=(error > 0).astype(np.float64), where=spread > 0)
    present = total > 0
    return (each * present).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1)
