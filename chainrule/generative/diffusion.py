# SPDX-License-Identifier: Apache-2.0
"""`Diffusion`: denoising diffusion models (Ho, Jain and Abbeel, 2020), with the ancestral sampler and DDIM (Song, Meng
and Ermon, 2021)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import arrays as cr
from .. import nn, random
from ..errors import ArgumentError, explain, shown
from ..ir import Tensor, Variable
from ..train import History
from ..typing import ArrayLike
from .base import GenerativeModel
from .conditions import Guided
from .draws import Draws
from .loops import repeat


def signal_levels(schedule: str, steps: int) -> np.ndarray:
    """ᾱ_t, the share of the variance that is signal, at t = 0 (1: no noise), 1, …, steps: float64 (steps + 1,).

    "linear": β_t from 1e-4 to 0.02, scaled to 1,000 steps (Ho et al., 2020); "cosine": cos²((t/T + s) / (1 + s) · π/2),
    s = 0.008 (Nichol and Dhariwal, 2021), with β_t at most 0.999.

    >>> levels = cr.generative.signal_levels("cosine", 100)
    >>> len(levels), bool(levels[0] > levels[-1])
    (101, True)
    """
    if schedule == "linear":
        betas = np.linspace(1e-4, 0.02, steps) * (1000 / steps)
    elif schedule == "cosine":
        at = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = 1 - at[1:] / at[:-1]
    else:
        raise ArgumentError(explain("there is no such schedule of noise", got=shown(schedule),
                                    expected='"cosine" or "linear"'))
    return np.concatenate([[1.0], np.cumprod(1 - np.minimum(betas, 0.999))])


class Diffusion(GenerativeModel):
    """x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε; the network learns the noise ε from (x_t, t), and samples are what it takes away
    step by step.

    loss = E |ε̂(x_t, t) - ε|² for t uniform in 1, …, steps.

    Args:
        network: called as network(x, t), t (N,) in (0, 1], which is t / steps; with `classes`, as network(x, t, label).
        steps: T; schedule: "cosine" or "linear", see `signal_levels`.
        predict: "noise", or "velocity" v = √ᾱ ε - √(1 - ᾱ) x_0 (Salimans and Ho, 2022).
        classes, drop: as of `FlowMatching`.

    >>> x = np.random.default_rng(0).normal(0.5, 0.1, size=(512, 1))
    >>> model = cr.generative.Diffusion(cr.models.TimeMLP(1, width=32), steps=100)
    >>> history = model.fit(x, epochs=20, progress=False)
    >>> bool(abs(model.sample(100, steps=20).mean() - 0.5) < 0.1)
    True
    """

    def __init__(self, network: nn.Module, steps: int = 1000, schedule: str = "cosine", predict: str = "noise",
                 classes: int | None = None, drop: float = 0.1):
        if predict not in ("noise", "velocity"):
            raise ArgumentError(explain("there is nothing of this name to predict", got=shown(predict),
                                        expected='"noise" or "velocity"'))
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ArgumentError(explain("diffusion takes a number of steps", got=f"steps={shown(steps)}",
                                        expected="a positive integer, such as 1000"))
        self.denoiser, self.steps = Guided(network, classes, drop), steps
        self.schedule, self.predict = schedule, predict
        self.levels = signal_levels(schedule, steps)
        self.range = Variable(np.array([-np.inf, np.inf], np.float32), name="range", trainable=False)

    def forward(self, x: Any, t: Any, label: Any = None) -> Tensor:
        """What the network predicts at (x, t)."""
        return self.denoiser(x, t, label)

    def example(self, x: ArrayLike, condition: ArrayLike | None = None) -> tuple[Any, ...]:
        t = np.ones(len(x), np.float32)
        return (x, t) if condition is None else (x, t, condition)

    def fit(self, x: Any, **options: Any) -> History:
        """As of every generative model; the range of the data is kept, to bound what the sampler predicts."""
        found = np.asarray(x)
        if found.size and found.dtype.kind in "biuf":
            self.range.assign(np.array([found.min(), found.max()], np.float32))
        return super().fit(x, **options)

    def losses(self, x: ArrayLike, condition: ArrayLike | None = None) -> dict[str, Tensor]:
        """The mean squared error of what is predicted."""
        x = cr.asarray(x)
        t = random.randint(1, self.steps + 1, (x.shape[0],))
        noise = random.normal(x.shape)
        signal, spread = self._scales(t, x.ndim)
        wanted = noise if self.predict == "noise" else signal * noise - spread * x
        found = self.denoiser(signal * x + spread * noise, cr.astype(t, "float32") / self.steps, condition,
                              training=True)
        return {"loss": cr.mean((found - wanted) ** 2)}

    def draw(self, random: Draws, count: int, condition: ArrayLike | None = None, steps: int = 50, method: str = "ddim",
             guidance: float = 0.0, clip: float | None = None) -> Tensor:
        """Samples by "ddim" (no noise on the way) or "ancestral" (noise in each step) over `steps` of the times, with
        `guidance`.

        What is predicted as x_0 in each step is kept inside the range of the data that were learnt, or in
        [-clip, clip]: where there is hardly any signal, an error of the noise would be many times as large there
        (Ho et al., 2020).
        """
        if method not in ("ddim", "ancestral"):
            raise ArgumentError(explain("there is no such sampler", got=shown(method),
                                        expected='"ddim" or "ancestral"'))
        if not 1 <= steps <= self.steps:
            raise ArgumentError(explain("a sampler goes through some of the times", got=f"steps={steps}",
                                        expected=f"1 to {self.steps}"))
        times = np.rint(np.linspace(self.steps, 0, steps + 1)).astype(np.int64)

        def step(carry: tuple[Tensor, Tensor], i: Any) -> tuple[Tensor, Tensor]:
            x, state = carry
            now, after = cr.take(cr.asarray(times), i), cr.take(cr.asarray(times), i + 1)
            x0, noise = self._split(x, now, condition, guidance, clip)
            draws = Draws(state)
            return self._back(x0, noise, now, after, draws if method == "ancestral" else None), draws.now
        start = random.normal((count, *self.event))
        return repeat(step, (start, random.now), steps)[0]

    def _split(self, x: Tensor, t: Any, condition: Any, guidance: float, clip: float | None) -> tuple[Tensor, Tensor]:
        """(x_0, ε) as the network sees them in x_t."""
        count = x.shape[0]
        found = self.denoiser.guided(x, cr.broadcast_to(cr.astype(t, "float32") / self.steps, (count,)), condition,
                                     guidance)
        signal, spread = self._scales(t, 0)
        x0 = (x - spread * found) / signal if self.predict == "noise" else signal * x - spread * found
        low, high = (self.range.value[0], self.range.value[1]) if clip is None else (-clip, clip)
        x0 = cr.minimum(cr.maximum(x0, low), high)
        return x0, (x - signal * x0) / spread

    def _back(self, x0: Tensor, noise: Tensor, now: Any, after: Any, draws: Draws | None) -> Tensor:
        """x at the time `after` from x_0 and ε at `now`; the variance of new noise is that of the posterior (DDPM's
        β̃)."""
        signal, spread = self._scales(after, 0)
        if draws is None:
            return signal * x0 + spread * noise
        level, before = self._level(now), self._level(after)
        fresh = cr.sqrt(cr.maximum((1 - before) / (1 - level) * (1 - level / before), 0.0))
        return signal * x0 + cr.sqrt(cr.maximum(1 - before - fresh ** 2, 0.0)) * noise + fresh * draws.normal(x0.shape)

    def _level(self, t: Any) -> Tensor:
        return cr.take(cr.asarray(self.levels.astype(np.float32)), t)

    def _scales(self, t: Any, ndim: int) -> tuple[Tensor, Tensor]:
        """(√ᾱ, √(1 - ᾱ)) at times t, from float64, in the shape of a factor for arrays of `ndim` axes."""
        both = [cr.take(cr.asarray(table.astype(np.float32)), t)
                for table in (np.sqrt(self.levels), np.sqrt(1 - self.levels))]
        return tuple(cr.reshape(s, (s.shape[0], *[1] * (ndim - 1))) if ndim else s
                     for s in both)  # type: ignore[return-value]
