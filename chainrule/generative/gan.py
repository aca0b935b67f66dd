# SPDX-License-Identifier: Apache-2.0
"""`GAN`: generative adversarial networks (Goodfellow et al., 2014), with the losses that are used today."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import arrays as cr
from .. import nn, optim, random
from ..compiler.transform import gradients
from ..errors import ArgumentError, explain, shown
from ..ir import Tensor
from ..ops.control import stop_gradient
from ..typing import ArrayLike, OptimizerLike
from .base import GenerativeModel
from .draws import Draws

LOSSES = ("non_saturating", "hinge", "wasserstein_gp")


class GAN(GenerativeModel):
    """A generator makes samples from noise, a critic tells them from real ones, and each learns against the other.

    Args:
        generator: z (N, latent) → samples; with `classes`, called as generator(z, label).
        critic: samples → one number each, (N, 1) or (N,), larger for real ones; with `classes`, called as critic(x,
            label).
        latent: dimensions of z ~ N(0, I).
        loss: "non_saturating" (-log σ(D); Goodfellow et al., 2014), "hinge" (Lim and Ye, 2017), or "wasserstein_gp"
            (Gulrajani et al., 2017): E D(fake) - E D(real) + λ E (|∇D(x̂)| - 1)² on points x̂ between real and fake
            ones.
        critic_steps: steps of the critic, each on samples of its own, for one of the generator.
        gradient_penalty: λ; for the other losses R1, λ/2 E |∇D(real)|² (Mescheder et al., 2018), where it is not 0.
            None: 10 for "wasserstein_gp", else 0.
        critic_optimizer: None makes another one like the generator's.
        classes: number of classes for conditions.

    `fit(..., ema=0.999)` averages the weights of the generator. Spectral normalisation: `nn.SpectralNorm` around the
    critic's layers.

    >>> import numpy as np, chainrule as cr
    >>> from chainrule import nn
    >>> x = np.random.default_rng(0).normal(2.0, 0.5, size=(512, 1))
    >>> generator = nn.Sequential([nn.Dense(16, activation="relu"), nn.Dense(1)])
    >>> critic = nn.Sequential([nn.Dense(16, activation="relu"), nn.Dense(1)])
    >>> model = cr.generative.GAN(generator, critic, latent=2, loss="hinge")
    >>> history = model.fit(x, epochs=2, batch_size=64, progress=False)
    >>> model.sample(3).shape
    (3, 1)
    """

    def __init__(self, generator: nn.Module, critic: nn.Module, latent: int = 64, loss: str = "non_saturating",
                 critic_steps: int = 1, gradient_penalty: float | None = None,
                 critic_optimizer: OptimizerLike | None = None, classes: int | None = None):
        if loss not in LOSSES:
            raise ArgumentError(explain("there is no such loss of a GAN", got=shown(loss), expected=", ".join(LOSSES)))
        if critic_steps < 1:
            raise ArgumentError(explain("the critic makes one step or more for one of the generator",
                                        got=f"critic_steps={shown(critic_steps)}"))
        self.generator, self.critic = generator, critic
        self.latent, self.loss, self.critic_steps = int(latent), loss, int(critic_steps)
        self.gradient_penalty = (10.0 if loss == "wasserstein_gp"
                                 else 0.0) if gradient_penalty is None else float(gradient_penalty)
        self.critic_optimizer, self.classes = critic_optimizer, classes

    def forward(self, z: Any, label: Any = None) -> Tensor:
        """Samples from z."""
        return self.generator(z) if label is None else self.generator(z, label)

    def build(self, z: Any, label: Any = None) -> None:
        """Make the Variables of both players."""
        fake = self.generator(z) if label is None else self.generator(z, label)
        self.critic(fake) if label is None else self.critic(fake, label)

    def example(self, x: ArrayLike, condition: ArrayLike | None = None) -> tuple[Any, ...]:
        z = np.zeros((len(x), self.latent), np.float32)
        return (z,) if condition is None else (z, condition)

    def losses(self, x: ArrayLike, condition: ArrayLike | None = None) -> dict[str, Tensor]:
        """Both losses, which nobody minimises together."""
        fake = self._fake(x.shape[0], condition)
        return {"loss": self.critic_loss(x, fake, condition), "generator": self.generator_loss(fake, condition)}

    def critic_loss(self, real: ArrayLike, fake: ArrayLike, label: ArrayLike | None = None) -> Tensor:
        """What the critic minimises; no gradient flows to the generator."""
        real, fake = cr.asarray(real), stop_gradient(fake)
        on_real, on_fake = self._judged(real, label), self._judged(fake, label)
        if self.loss == "wasserstein_gp":
            return cr.mean(on_fake) - cr.mean(on_real) + self._slope_penalty(real, fake, label)
        value = (cr.mean(cr.softplus(-on_real)) + cr.mean(cr.softplus(on_fake)) if self.loss == "non_saturating"
                 else cr.mean(cr.maximum(1 - on_real, 0.0)) + cr.mean(cr.maximum(1 + on_fake, 0.0)))
        if not self.gradient_penalty:
            return value
        slope = gradients(cr.sum(self._judged(real, label)), real)
        return (value + 0.5 * self.gradient_penalty
                * cr.mean(cr.sum(cr.reshape(slope, (real.shape[0], -1)) ** 2, axis=1)))

    def generator_loss(self, fake: ArrayLike, label: ArrayLike | None = None) -> Tensor:
        """What the generator minimises."""
        judged = self._judged(fake, label)
        return cr.mean(cr.softplus(-judged)) if self.loss == "non_saturating" else -cr.mean(judged)

    def step(self, optimizer: OptimizerLike) -> Callable[..., dict[str, Tensor]]:
        """`critic_steps` updates of the critic on a part of the batch each, then one of the generator."""
        self._theirs = optim.get(self.critic_optimizer) if self.critic_optimizer is not None else _another(optimizer)

        def step(x: Any, *condition: Any) -> dict[str, Tensor]:
            label = condition[0] if condition else None
            size = x.shape[0] // self.critic_steps
            for i in range(self.critic_steps):
                rows = slice(i * size, (i + 1) * size)
                labels = None if label is None else label[rows]
                loss = self.critic_loss(x[rows], self._fake(size, labels), labels)
                self._theirs.update(self.critic, gradients(loss, self.critic, unrelated="zero"))
            labels = None if label is None else label[:size]
            mine = self.generator_loss(self._fake(size, labels), labels)
            optimizer.update(self.generator, gradients(mine, self.generator))
            return {"loss": loss, "generator": mine}
        return step

    def objects(self, optimizer: OptimizerLike) -> dict[str, Any]:
        return {"model": self, "optimizer": optimizer, "critic_optimizer": self._theirs}

    def weights(self) -> nn.Module:
        return self.generator

    def rows(self, batch_size: int) -> int:
        return batch_size * self.critic_steps

    def draw(self, random: Draws, count: int, condition: ArrayLike | None = None, truncation: float = 1.0) -> Tensor:
        """What the generator makes of z ~ N(0, truncation² I)."""
        return self(truncation * random.normal((count, self.latent)), condition)

    def _fake(self, count: int, label: Any) -> Tensor:
        return self(random.normal((count, self.latent)), label, training=True)

    def _judged(self, x: Any, label: Any) -> Tensor:
        """The critic's numbers, (N,)."""
        out = self.critic(x, training=True) if label is None else self.critic(x, label, training=True)
        return cr.reshape(out, (x.shape[0],))

    def _slope_penalty(self, real: Tensor, fake: Tensor, label: Any) -> Tensor:
        share = random.uniform((real.shape[0], *[1] * (real.ndim - 1)))
        between = share * real + (1 - share) * fake
        slope = cr.reshape(gradients(cr.sum(self._judged(between, label)), between), (real.shape[0], -1))
        return self.gradient_penalty * cr.mean((cr.sqrt(cr.sum(slope ** 2, axis=1) + 1e-12) - 1) ** 2)


def _another(optimizer: Any) -> Any:
    """An optimiser of the same kind and settings without state."""
    return type(optimizer)(**optimizer.arguments)
