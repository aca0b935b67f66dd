# SPDX-License-Identifier: Apache-2.0
"""Weight averaging: averages of the weights along the way of training: EMA after every step, SWA after every late
epoch.

The averages are kept beside the model, go into checkpoints, are measured on the validation data after each epoch, and
become the weights of the model when training ends. Batch statistics do not belong to averaged weights, so SWA computes
them anew from the training data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..compiler.compile import compile
from ..errors import ArgumentError, explain
from ..ir import no_grad
from ..nn import BatchNorm
from ..typing import ArrayLike, DataLike, ModelLike, TrainingRun
from .callbacks import Callback
from .data import structure
from .structure import called, leaves, take


class WeightAverage(Callback):
    """Base: averages of all floating-point Variables of a model, by name.

    Args:
        apply: whether the model ends with the averaged weights.
        measure: whether the validation columns of the history come again for the averages, as `ema_validation_loss`.
    """

    prefix = "average"

    def __init__(self, apply: bool = True, measure: bool = True):
        self.apply, self.measure = apply, measure
        self.averages: dict[str, np.ndarray] = {}
        self.count = 0

    def after_epoch(self, run: Any, row: dict[str, Any]) -> None:
        if self.measure and run.validation is not None and self.averages:
            with self.swapped(run.model):
                self.prepare(run)
                measured = run._validate()
            row |= {f"{self.prefix}_validation_{name}": value for name, value in measured.items()}

    def end(self, run: Any) -> None:
        if self.apply and self.averages and not run.history.interrupted:
            self.assign(run.model)
            self.prepare(run)

    def prepare(self, run: Any) -> None:
        """What else a model with averaged weights needs."""

    def assign(self, model: Any) -> None:
        """Put the averages into the model."""
        for name, variable in _averaged(model).items():
            variable.assign(self.averages[name])

    @contextlib.contextmanager
    def swapped(self, model: Any) -> Iterator[None]:
        """Within, the model has the averaged weights; afterwards every Variable holds again what it held before."""
        kept = {variable: variable.numpy() for variable in model.variables().values()}
        try:
            self.assign(model)
            yield
        finally:
            for variable, array in kept.items():
                variable.assign(array)

    def state(self) -> dict[str, Any]:
        return {"count": self.count, "averages": self.averages}

    def restore(self, state: dict[str, Any]) -> None:
        self.count, self.averages = state["count"], {name: array.copy() for name, array in state["averages"].items()}


class EMA(WeightAverage):
    """Exponential moving average: a = d a + (1 - d) w after each step (Polyak and Juditsky, 1992).

    Args:
        decay: d. In step t = 1, 2, ... the smaller (1 + t) / (10 + t) is used, so that the start is soon forgotten.
        apply, measure: see WeightAverage.

    >>> x = np.ones((8, 1), "float32")
    >>> ema = cr.train.EMA(decay=0.9)
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=2, callbacks=[ema], progress=False)
    >>> len(history.rows)
    2
    """

    prefix = "ema"

    def __init__(self, decay: float = 0.999, apply: bool = True, measure: bool = True):
        super().__init__(apply, measure)
        if not 0 <= decay < 1:
            raise ArgumentError(explain("the decay lies in [0, 1)", got=repr(decay), expected="for example 0.999"))
        self.decay = float(decay)

    def after_step(self, run: TrainingRun) -> None:
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for name, variable in _averaged(run.model).items():
            array = variable.take_array(write=False)
            if name not in self.averages:
                self.averages[name] = array.copy()
            else:
                self.averages[name] += ((1 - decay) * (array - self.averages[name])).astype(array.dtype)


class SWA(WeightAverage):
    """Stochastic weight averaging: the mean of the weights after the epochs from `start` on (Izmailov et al., 2018).

    Args:
        start: first epoch that counts, from 1; a share below 1 is one of the run's epochs.
        every: only every so many epochs.
        apply, measure: see WeightAverage.

    >>> x = np.ones((8, 1), "float32")
    >>> swa = cr.train.SWA(start=0.5)
    >>> history = cr.fit(nn.Dense(1), (x, x), loss="mse", epochs=4, callbacks=[swa], progress=False)
    >>> len(history.rows)
    4
    """

    prefix = "swa"

    def __init__(self, start: float = 0.75, every: int = 1, apply: bool = True, measure: bool = False):
        super().__init__(apply, measure)
        if start <= 0 or every < 1:
            raise ArgumentError(explain("SWA counts every n-th epoch from a later one on", got=f"{start=}, {every=}"))
        self.start, self.every = start, every

    def after_epoch(self, run: TrainingRun, row: dict[str, Any]) -> None:
        first = self.start if self.start >= 1 else max(1, round(self.start * run.epochs))
        if row["epoch"] >= first and (row["epoch"] - first) % self.every == 0:
            self._add(run.model)
        super().after_epoch(run, row)

    def _add(self, model: Any) -> None:
        self.count += 1
        for name, variable in _averaged(model).items():
            array = variable.numpy()
            mean = self.averages.get(name, array)
            self.averages[name] = mean + ((array - mean) / self.count).astype(array.dtype)

    def needs_arrays(self, model: ModelLike) -> bool:
        """To measure the statistics of batches with the averaged weights."""
        return any(isinstance(module, BatchNorm) and not module.running_mean.frozen
                   for module in model.modules().values())

    def prepare(self, run: TrainingRun) -> None:
        if self.needs_arrays(run.model):
            recompute_statistics(run.model, run.data.x, run.batch_size)


def _averaged(model: Any) -> dict[str, Any]:
    return {name: v for name, v in model.variables().items() if v.dtype.kind == "f"}


def recompute_statistics(model: ModelLike, x: ArrayLike | DataLike, batch_size: int = 256,
                         backend: str | None = None) -> None:
    """Set the running statistics of every BatchNorm below `model` that is not frozen to their means over the batches of
    `x`.

    x is an array, or a tuple or dict of them, as of `predict`. Nothing else changes: neither weights nor the state of
    dropout. Needed after weights were replaced by averages.

    >>> model = nn.Sequential([nn.BatchNorm()])
    >>> x = np.array([[1.0], [3.0]], "float32")
    >>> y = model(x)
    >>> cr.train.recompute_statistics(model, x)
    >>> {name: v.numpy() for name, v in model.variables().items() if "mean" in name}
    {'0.running_mean': array([2.], dtype=float32)}
    """
    layers = [module for module in model.modules().values() if isinstance(module, BatchNorm)
              and not module.running_mean.frozen]
    if not layers:
        return
    statistics = [v for layer in layers for v in (layer.running_mean, layer.running_variance)]
    kept = [(v, v.numpy()) for v in model.variables().values() if not any(v is s for s in statistics)]
    momenta = [layer.momentum for layer in layers]
    try:
        for layer in layers:
            layer.momentum = 0.0
        means = _mean_statistics(model, structure(x, "x", model), batch_size, statistics, backend)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    for variable, array in [*kept, *zip(statistics, means, strict=True)]:
        variable.assign(array)


def _mean_statistics(model: Any, x: Any, batch_size: int, statistics: list[Any],
                     backend: str | None) -> list[np.ndarray]:
    step = compile(lambda batch: called(model, batch, training=True), backend=backend)
    totals = [np.zeros(v.shape, np.float64) for v in statistics]
    seen, count = 0, len(leaves(x)[0])
    with no_grad():
        for start in range(0, count, batch_size):
            rows = min(batch_size, count - start)
            if rows < 2 and seen:
                continue
            step(take(x, slice(start, start + rows)))
            seen += rows
            for total, v in zip(totals, statistics, strict=True):
                total += rows * v.numpy().astype(np.float64)
    return [(total / seen).astype(v.dtype) for total, v in zip(totals, statistics, strict=True)]
