# SPDX-License-Identifier: Apache-2.0
"""What all generative models share: `fit` through the Trainer, and `sample` as one compiled program that is a function
of its seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import optim, random
from ..compiler.compile import Compiled, compile
from ..compiler.transform import gradients
from ..errors import ArgumentError, ShapeError, explain, shown
from ..ir import Tensor, no_grad
from ..nn import Module
from ..train import Callback, History
from ..train.programs import remembered
from ..train.trainer import Trainer
from ..typing import ArrayLike, OptimizerLike
from .averaged import Average
from .draws import Draws, start
from .pictures import SampleGrid


class GenerativeModel(Module):
    """Base of the generative models: a subclass has `losses`, numbers of a batch with the objective "loss", and `draw`,
    its sampler.

    >>> model = cr.generative.VAE(nn.Dense(4), nn.Dense(2), latent=2)
    >>> isinstance(model, cr.generative.GenerativeModel)
    True
    """

    # ---- what subclasses give

    def losses(self, x: ArrayLike, condition: ArrayLike | None = None) -> dict[str, Tensor]:
        """The numbers of one batch x (N, ...), the objective under the name "loss"."""
        raise NotImplementedError

    def draw(self, random: Draws, count: int, condition: ArrayLike | None = None, **options: Any) -> Tensor:
        """`count` samples from random numbers."""
        raise NotImplementedError

    def example(self, x: ArrayLike, condition: ArrayLike | None = None) -> tuple[Any, ...]:
        """What the model can be called with, as a module, for samples x."""
        return (x,)

    @property
    def event(self) -> tuple[int, ...] | None:
        """The shape of what comes in, without the axis of samples; None for a model that has seen nothing yet."""
        inputs = self._record.inputs
        return None if inputs is None else tuple(inputs[0].shape[1:])

    def objects(self, optimizer: OptimizerLike) -> dict[str, Any]:
        """What a step changes, by name."""
        return {"model": self, "optimizer": optimizer}

    def step(self, optimizer: OptimizerLike) -> Callable[..., dict[str, Tensor]]:
        """The training step."""
        def step(*batch: Any) -> dict[str, Tensor]:
            numbers = self.losses(*batch)
            optimizer.update(self, gradients(numbers["loss"], self, unrelated="zero"))
            return numbers
        return step

    def weights(self) -> Module:
        """The module whose weights make samples, of which `fit` keeps averages."""
        return self

    # ---- training

    def fit(self, x: ArrayLike, *, condition: ArrayLike | None = None, epochs: int = 10, batch_size: int = 128,
            optimizer: OptimizerLike = "adam", ema: float | None = None, seed: int = 0,
            samples: str | Path | None = None, checkpoint: str | Path | None = None, resume: str | Path | None = None,
            callbacks: Sequence[Callback] = (), progress: bool | str = True, max_time: float | None = None,
            backend: str | None = None, precision: str = "float32") -> History:
        """Learn from samples x (N, ...), with a `condition` (N,) for a model that takes one; returns the History.

        Args:
            optimizer: of `cr.optim`, or its name.
            ema: decay of an exponential moving average of the weights, such as 0.999, which are the model's at the end.
            samples: a folder into which a picture of samples is saved after each epoch.
            epochs, batch_size, seed, checkpoint, resume, callbacks, progress, max_time: as of `cr.train.Trainer.run`;
            batches are full ones.
        """
        x = _samples(x)
        data = (x,) if condition is None else (x, _conditions(condition, len(x)))
        self._make(data, seed)
        chosen = optim.get(optimizer)
        average = None if ema is None else Average(self.weights(), ema)
        step = self.step(chosen)

        def whole(batch: Any) -> dict[str, Tensor]:
            numbers = step(*batch)
            if average is not None:
                average.update()
            return numbers
        trainer = Trainer(whole, self.objects(chosen) | ({} if average is None else {"average": average}),
                          backend=backend, precision=precision)
        shown_with = None if condition is None else data[1][:64]
        pictures = [] if samples is None else [SampleGrid(self, samples, average, min(64, len(x)), shown_with)]
        history = trainer.run(data, epochs=epochs, batch_size=min(self.rows(batch_size), len(x)), drop_last=True,
                              seed=seed, checkpoint=checkpoint, resume=resume, callbacks=[*callbacks, *pictures],
                              progress=progress, max_time=max_time)
        if average is not None and not history.interrupted:
            average.apply()
        return history

    def rows(self, batch_size: int) -> int:
        """Samples that one step needs."""
        return batch_size

    def _make(self, data: tuple[np.ndarray, ...], seed: int) -> None:
        """The Variables of layers that do not know yet what comes in, by a call whose result nobody wants."""
        random.seed(seed)
        self(*self.example(*(part[:2] for part in data)))

    # ---- sampling

    def sample(self, count: int = 1, *, seed: int = 0, condition: ArrayLike | None = None,
               **options: Any) -> np.ndarray:
        """`count` samples (count, ...); the same seed gives the same bits.

        Args:
            condition: one for all samples, or one for each, (count,).
            options: of the model's sampler, see its `draw`.
        """
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise ArgumentError(explain("this is no number of samples", got=shown(count),
                                        expected="a positive integer"))
        if not self.built:
            raise ArgumentError(explain("this model has learnt from nothing yet, so it does not know what a sample "
                                        "looks like", fix="fit(x) first"))
        program: Compiled = remembered("sampler", self, (int(count), tuple(sorted(options.items()))), None,
                                       lambda model: _sampler(model, int(count), options))
        wanted = () if condition is None else (_for_each(condition, int(count)),)
        return program(start(seed), *wanted).numpy()


def _sampler(model: Any, count: int, options: dict[str, Any]) -> Compiled:
    def sampler(state: Any, *condition: Any) -> Tensor:
        with no_grad():
            return model.draw(Draws(state), count, *condition, **options)
    return compile(sampler)


def _samples(x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim < 2 or not len(x) or x.dtype.kind not in "biuf":
        raise ShapeError(explain("these are no samples to learn from", got=f"{x.dtype} {x.shape}",
                                 expected="numbers (samples, ...), with at least one axis of features"))
    return x.astype(np.float32)


def _conditions(condition: Any, count: int) -> np.ndarray:
    condition = np.asarray(condition)
    if condition.shape[:1] != (count,):
        raise ShapeError(explain("there is not one condition for each sample", got=f"shape {condition.shape}",
                                 expected=f"({count:,}, ...)"))
    return condition


def _for_each(condition: Any, count: int) -> np.ndarray:
    condition = np.asarray(condition)
    if condition.ndim and len(condition) != count:
        raise ShapeError(explain("there is not one condition for each sample", got=f"shape {condition.shape}",
                                 expected=f"one condition, or ({count:,}, ...)"))
    return np.repeat(condition[None], count, axis=0) if condition.ndim == 0 else condition
