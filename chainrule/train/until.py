# SPDX-License-Identifier: Apache-2.0
"""Stopping criteria: when training is done: after so many steps or seconds, at a target, or when nothing changes any
more.

    cr.fit(model, data, loss="cross_entropy", epochs=1000, callbacks=[train.Until(gradient=1e-4, seconds=60)])
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import losses
from ..compiler.compile import compile
from ..compiler.transform import gradients
from ..errors import ArgumentError, explain
from ..losses.base import OneNumber
from ..typing import DataLike, LossLike, ModelLike, TrainingRun
from .batched import Batched, given
from .callbacks import Callback
from .data import Samples
from .evaluate import build, padded_batches
from .structure import called


class Until(Callback):
    """End the run when any of these is reached; `reason` then says which.

    Args:
        steps: this many steps in all, also in the middle of an epoch.
        seconds: this much time since the run began or was resumed, looked at after every step.
        target: {"validation_accuracy": 0.98}: the column is at least (losses and errors: at most) that after an epoch.
        change: the training loss changed by less than this share of itself for `patience` epochs.
        gradient: the norm of the gradient of the loss over all training data, in inference mode, is below this after an
            epoch.
        patience: of `change`.

    >>> x = np.ones((8, 1), "float32")
    >>> until = cr.train.Until(steps=3)
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=50, callbacks=[until], progress=False)
    >>> until.reason
    '3 steps'
    """

    def __init__(self, *, steps: int | None = None, seconds: float | None = None,
                 target: dict[str, float] | None = None,
                 change: float | None = None, gradient: float | None = None, patience: int = 3):
        if not any(x is not None for x in (steps, seconds, target, change, gradient)):
            raise ArgumentError(explain("Until needs something to wait for", got="Until()",
                                        fix="Until(steps=1000), or seconds, target, change, gradient"))
        for name, value in {"steps": steps, "seconds": seconds, "change": change, "gradient": gradient,
                            "patience": patience}.items():
            if value is not None and not value >= 0:
                raise ArgumentError(explain(f"{name} of Until is 0 or more", got=f"{name}={value}"))
        self.steps, self.seconds, self.target = steps, seconds, dict(target or {})
        self.change, self.gradient = change, gradient
        self.patience, self.still, self.last, self.reason = patience, 0, math.nan, ""
        self.gradient_norm, self._started, self._norm, self.pauses = math.nan, 0.0, _Norm(), False

    def begin(self, run: TrainingRun) -> None:
        self._started, self._norm, self.reason, self.pauses = time.perf_counter(), _Norm(), "", False

    def steps_apart(self, run: TrainingRun) -> float:
        """Up to the last step; every step is looked at where time counts."""
        return 1 if self.seconds is not None else max(self.steps - run.step_number,
                                                      1) if self.steps is not None else math.inf

    def after_step(self, run: TrainingRun) -> None:
        if self.steps is not None and run.step_number >= self.steps:
            self._stop(run, f"{run.step_number:,} steps")
        if self.seconds is not None and time.perf_counter() - self._started >= self.seconds:
            self.pauses = not run.stop  # the seconds of a resumed run are counted anew
            self._stop(run, f"{self.seconds:g} seconds")

    def after_epoch(self, run: TrainingRun, row: dict[str, Any]) -> None:
        for name, wanted in self.target.items():
            value = run.history[name][-1]
            if value is not None and (value >= wanted if run.history.larger_is_better(name) else value <= wanted):
                self._stop(run, f"{name} {value:.4g}")
        if self.change is not None and self._same(row["loss"]):
            self._stop(run, f"the loss has changed by less than {self.change:g} of itself for {self.patience} epochs")
        if self.gradient is not None:
            self.gradient_norm = self._norm(run)
            if self.gradient_norm < self.gradient:
                self._stop(run, f"gradient norm {self.gradient_norm:.3g}")

    def needs_arrays(self, model: ModelLike) -> bool:
        """For the gradient over all samples."""
        return self.gradient is not None

    def _same(self, loss: float) -> bool:
        self.still = self.still + 1 if abs(loss - self.last) <= (self.change or 0.0) * abs(self.last) else 0
        self.last = loss
        return self.still >= self.patience

    def _stop(self, run: Any, reason: str) -> None:
        if not run.stop:
            run.stop, self.reason = True, reason
            run.reporter.say(f"done: {reason}")

    def state(self) -> dict[str, Any]:
        return ({} if self.change is None else {"still": self.still, "last": None if math.isnan(self.last)
                                                else self.last})

    def restore(self, state: dict[str, Any]) -> None:
        self.still, self.last = state["still"], math.nan if state["last"] is None else state["last"]


class _Norm:
    """The norm of the gradient over all training data, compiled once per run."""

    def __init__(self) -> None:
        self.step: Any = None

    def __call__(self, run: Any) -> float:
        if self.step is None:
            self.step = _sums_of_gradients(run.model, run.loss, run.validation_step.backend)
        found = total_gradient(self.step, run.data, run.batch_size)
        return math.sqrt(sum(float(np.square(g).sum()) for g in found.values()))


def _sums_of_gradients(model: Any, loss: Any, backend: str | None) -> Any:
    """step(x, y, weights) -> for each loss (gradients of the sum of its values, sum of weights)."""
    @compile(backend=backend)
    def step(x: Any, y: Any, weights: Any) -> Any:
        total, weight = loss.sum_and_weight(called(model, x, training=False), y, weights)
        if not isinstance(loss, losses.Several):
            return [(gradients(total, model), weight)]
        return [(gradients(total[k] * factor, model, unrelated="zero"), weight[k])
                for k, factor in enumerate(loss.factors.tolist())]
    return step


def total_gradient(step: Any, data: Samples | Batched, batch_size: int) -> dict[str, np.ndarray]:
    """Gradient of the weighted mean loss over all of `data`, by name, in float64 sums; of several losses, of the sum of
    their means."""
    try:
        return _mean_gradient(step, padded_batches(data, batch_size))
    except OneNumber:  # of all samples at once
        if data.weighted or isinstance(data, Batched):
            raise
        return _mean_gradient(step, [(data.x, data.y, None, len(data))])


def _mean_gradient(step: Any, batches: Iterable[Any]) -> dict[str, np.ndarray]:
    sums: dict[tuple[int, str], np.ndarray] = {}
    whole: dict[int, float] = {}
    for x, y, weights, _ in batches:
        for k, (grads, weight) in enumerate(step.arrays(x, y, weights)):
            whole[k] = whole.get(k, 0.0) + float(weight)
            for name, g in grads.items():
                sums[k, name] = sums.get((k, name), 0.0) + g.astype(np.float64)
    found: dict[str, np.ndarray] = {}
    for (k, name), g in sums.items():
        found[name] = found.get(name, 0.0) + (g / whole[k] if whole[k] or len(whole) == 1 else 0.0 * g)
    return found


def gradient(model: ModelLike, data: DataLike, *, loss: LossLike, batch_size: int = 256,
             backend: str | None = None) -> dict[str, np.ndarray]:
    """Gradient of the loss over all of the data, by name, in inference mode: exact for any batch size. `data` and
    `loss` are as of `fit`.

    >>> model, x = nn.Dense(1, weight_initializer="zeros"), np.ones((4, 1), "float32")
    >>> cr.train.gradient(model, (x, x), loss="mse")
    {'weight': array([[-2.]]), 'bias': array([-2.])}
    """
    found = given(data, model, batch_size)
    build(model, found.x)
    return total_gradient(_sums_of_gradients(model, losses.of_outputs(loss, targets=found.y), backend), found,
                          batch_size)
