# SPDX-License-Identifier: Apache-2.0
"""What every metric is: an accumulator that is exact over an epoch, whatever the batch size.

In come batches of outputs and targets, out come one number and its interval. The state is sums in float64 (or all
scores, where a metric cannot be summed), never an average of batch averages. For intervals at most 4096 records are
kept, a uniform random sample of all of them that does not depend on how they were split into batches.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .intervals import Estimate, Interval, Statistic, bootstrap, check_level

__all__ = ["Metric", "Records", "record_interval"]

CAPACITY = 4096  # records kept for intervals
NUMBERS_KEPT = 2**20  # and at most about this many numbers (8 MiB) in them


class Metric:
    """Base of all metrics: `update` with each batch, then `result` and `interval`; `reset` before the next epoch.

    `name` is the key in a history, `percent` tells whether it is shown in per cent, `higher_is_better` its direction.
    The value is NaN as long as nothing with a weight above 0 was seen, and when the outputs contained a NaN.

    >>> class Largest(cr.metrics.Metric):
    ...     def reset(self):
    ...         self.largest = 0.0
    ...     def update(self, outputs, targets, weights=None):
    ...         self.largest = max(self.largest, float(np.abs(outputs - targets).max()))
    ...     def result(self):
    ...         return self.largest
    >>> metric = Largest()
    >>> metric.reset()
    >>> metric.update(np.array([1.0, 5.0]), np.array([0.0, 0.0]))
    >>> metric.result()
    5.0
    """

    name = "metric"
    percent = False
    higher_is_better = True

    def __init__(self) -> None:
        self.reset()

    def update(self, outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Take in a batch. `weights` (or a mask) has the shape of the items or of their first axes; 0 leaves out."""
        raise NotImplementedError

    def check_targets(self, shape: tuple[int, ...], targets: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Raise what `update` would raise for these targets and outputs of this shape, before there are any."""

    def reset(self) -> None:
        """Forget everything seen."""
        self.broken = False
        self.total = 0.0

    def state(self) -> dict[str, Any]:
        """What was seen so far, as plain data and arrays, for a checkpoint in the middle of an epoch."""
        return {name: _packed(value) for name, value in vars(self).items() if not callable(value)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        for name, value in state.items():
            setattr(self, name, _unpacked(value))

    def result(self) -> float:
        """The value over everything seen since the last reset."""
        return math.nan if self.broken or not self.total > 0 else float(self._value())

    def interval(self, level: float = 0.95) -> Interval | None:
        """Confidence interval (low, high) of the value; None where there is none to give. Items count as independent.

        Weights other than 0 and 1 lower the number of samples to (sum w)² / sum w² (Kish, Survey Sampling, 1965).
        """
        check_level(level)
        value = self.result()
        return self._interval(level, value) if math.isfinite(value) else None

    def estimate(self, level: float = 0.95) -> Estimate:
        """Value and interval together, ready to be printed."""
        low, high = self.interval(level) or (None, None)
        return Estimate(self.result(), low, high, level, self.percent)

    def _value(self) -> float:
        raise NotImplementedError

    def _interval(self, level: float, value: float) -> Interval | None:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name} = {self.result():.6g})"


class Records:
    """A uniform random sample of at most 4096 of the rows added (fewer if they are wide), in the order they came.

    Each row draws a key from one seeded stream and the smallest keys stay, so the sample is the same for any split of
    the rows into batches.
    """

    def __init__(self, seed: int = 0):
        self.generator = np.random.default_rng(seed)
        self.seen = 0
        self.keys, self.rows = np.empty(0), np.empty((0, 0))

    def add(self, rows: np.ndarray) -> None:
        """Offer rows (n, columns)."""
        self.seen += len(rows)
        keys = self.generator.random(len(rows))
        if len(self.keys) >= self._capacity(rows):  # most rows of a long epoch cannot enter any more
            enters = keys < self.keys.max()
            keys, rows = keys[enters], rows[enters]
        self.rows = np.concatenate([self.rows, rows]) if len(self.keys) else np.array(rows, np.float64)
        self.keys = np.concatenate([self.keys, keys])
        if len(self.keys) > self._capacity(self.rows):
            stays = np.sort(np.argpartition(self.keys, self._capacity(self.rows))[:self._capacity(self.rows)])
            self.keys, self.rows = self.keys[stays], self.rows[stays]

    @staticmethod
    def _capacity(rows: np.ndarray) -> int:
        return max(256, min(CAPACITY, NUMBERS_KEPT // max(rows.shape[1], 1)))


def _packed(value: Any) -> Any:
    if isinstance(value, Records):
        generator = value.generator.bit_generator.state
        return {"records": {"seen": value.seen, "keys": value.keys, "rows": value.rows, "generator": generator}}
    if isinstance(value, list | tuple):
        return [_packed(item) for item in value]
    return value


def _unpacked(value: Any) -> Any:
    if isinstance(value, dict) and "records" in value:
        records = Records()
        records.seen, records.keys, records.rows = (value["records"][name] for name in ("seen", "keys", "rows"))
        records.generator.bit_generator.state = value["records"]["generator"]
        return records
    return [_unpacked(item) for item in value] if isinstance(value, list) else value


def record_interval(value: float, statistic: Statistic, kept: int, seen: int, level: float) -> Interval | None:
    """Bootstrap interval round `value` from the `kept` of `seen` records that the statistic knows.

    If not all were kept, the interval of those kept is scaled by √(kept / seen), the rate at which its width shrinks.
    """
    interval = bootstrap(statistic, np.ones(kept), level=level)
    if interval is None or kept == seen:
        return interval
    centre, scale = float(statistic(np.ones((1, kept)))[0]), math.sqrt(kept / seen)
    low, high = interval
    return value + (low - centre) * scale, value + (high - centre) * scale
