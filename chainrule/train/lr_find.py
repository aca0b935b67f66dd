# SPDX-License-Identifier: Apache-2.0
"""The learning-rate range test: the rate grows with every step, and the loss tells where learning is fastest.

A hundred steps or so, each on a new batch, go from a rate that is too small to one that is too large; the model then
has
its old weights again. Source: Smith, Cyclical Learning Rates, WACV 2017.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import losses, optim
from ..errors import ArgumentError, explain
from ..typing import DataLike, LossLike, ModelLike, OptimizerLike
from .batched import endless, some
from .evaluate import build, loss_columns
from .keep import unchanged
from .step import built_for, training_step

SMOOTHING, TOO_HIGH = 0.9, 4.0     # of the running mean; times the best loss ends the test
SAFE = 8.0  # how far below the rate with the least loss a rate is with which one trains


@dataclass(frozen=True)
class RateTest:
    """What the range test saw.

    Attributes:
        rates, losses: one per step, the losses smoothed.
        suggestion: the rate at which the loss fell fastest, counted per factor of the rate, but at most an eighth of
            `highest`: the test lowers the loss for some steps with rates at which a whole run would diverge.
        highest: the largest rate that still lowered the loss.

    >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    >>> found = cr.train.lr_find(nn.Dense(1), (x, x.sum(axis=1, keepdims=True)), loss="mse")
    >>> isinstance(found, cr.train.RateTest)
    True
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float
    highest: float

    def __str__(self) -> str:
        return (f"learning rate {self.suggestion:.2g} (the loss fell fastest, an eighth of the highest at most; it "
                f"rises above {self.highest:.2g})")

    __repr__ = __str__


def lr_find(model: ModelLike, data: DataLike, *, loss: LossLike, optimizer: OptimizerLike = "adam", low: float = 1e-6,
            high: float = 10.0, steps: int = 100,
            batch_size: int = 32, seed: int = 0, backend: str | None = None) -> RateTest:
    """Suggest a learning rate.

    Args:
        data, loss, batch_size: as for `fit`.
        optimizer: a new one, which is used up; what is found is for optimisers of its kind.
        low, high, steps: the rates, evenly spaced by factors; the test ends early when the loss explodes.

        optimizer = optim.Adam(train.lr_find(model, data, loss="cross_entropy").suggestion)

    >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    >>> found = cr.train.lr_find(nn.Dense(1), (x, x.sum(axis=1, keepdims=True)), loss="mse")
    >>> 0 < found.suggestion < found.highest
    True
    """
    if not 0 < low < high or steps < 10:
        raise ArgumentError(explain("these rates make no test", got=f"low {low}, high {high}, steps {steps}",
                                    expected="0 < low < high, steps >= 10"))
    first, optimizer = some(data, model, batch_size), optim.get(optimizer)
    chosen = losses.of_outputs(loss, targets=first.y)
    rates = np.geomspace(low, high, steps)
    build(model, first.x)
    with unchanged(model):
        step = training_step(model, chosen, optimizer, None, backend, weighted=first.weighted,
                             parts=built_for(optimizer, model, chosen, first))
        seen = _losses(endless(data, model, batch_size, seed), step, optimizer, rates, chosen)
    return _read(rates[:len(seen)], _smoothed(seen))


def _losses(batches: Iterator[Any], step: Any, optimizer: Any, rates: np.ndarray, loss: Any) -> list[float]:
    seen, best = list[float](), math.inf
    for rate, batch in zip(rates, batches, strict=False):
        optimizer.learning_rate = float(rate)
        total, weight, _, finite = step.arrays(*batch)
        value = loss_columns(loss, total, weight)["loss"]
        if not finite or value > TOO_HIGH * best:
            return seen
        seen.append(value)
        best = min(best, _smoothed(seen)[-1])
    return seen


def _smoothed(values: list[float]) -> np.ndarray:
    """Exponential means without the pull of the start (the bias correction of Adam)."""
    mean, means = 0.0, []
    for t, value in enumerate(values, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * value
        means.append(mean / (1 - SMOOTHING**t))
    return np.array(means)


def _read(rates: np.ndarray, values: np.ndarray) -> RateTest:
    if len(values) < 10:
        raise ArgumentError(explain("the loss exploded at once",
                                    got=f"{len(values)} steps up to the rate {rates[-1]:.2g}"
                                    if len(values) else "no step",
                                    expected="a loss that falls somewhere between low and high",
                                    fix="begin lower: lr_find(..., low=1e-8)"))
    bottom = int(values.argmin())
    slopes = np.gradient(values, np.log(rates))[:max(bottom, 2)]
    return RateTest(tuple(map(float, rates)), tuple(map(float, values)),
                    float(min(rates[slopes.argmin()], rates[bottom] / SAFE)), float(rates[bottom]))
