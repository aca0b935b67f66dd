# SPDX-License-Identifier: Apache-2.0
"""`RealNVP`: exact likelihoods by layers that can be inverted (Dinh, Sohl-Dickstein and Bengio, 2017)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import arrays as cr
from .. import nn
from ..compiler.compile import compile
from ..errors import ArgumentError, explain, shown
from ..ir import Tensor
from ..train.evaluate import build
from ..train.programs import remembered
from ..typing import ArrayLike
from .base import GenerativeModel
from .draws import Draws


class Coupling(nn.Module):
    """Affine coupling: the part under the mask stays, y = x exp(s) + t for the rest, with s and t computed from the
    part that stays.

    s is bounded by 2 tanh(·/2), so that no sample can be blown up.
    """

    def __init__(self, features: int, hidden: Sequence[int], odd: bool):
        self.mask = (np.arange(features) % 2 == int(odd)).astype(np.float32)
        self.network = nn.Sequential([*(nn.Dense(width, activation="relu") for width in hidden),
                                      nn.Dense(2 * features, weight_initializer="zeros")])

    def forward(self, x: Any, inverse: bool = False) -> tuple[Tensor, Tensor]:
        """(y, log |dy/dx|), or (x, log |dx/dy|) of the inverse."""
        out = self.network(x * self.mask)
        s, t = out[:, :out.shape[1] // 2], out[:, out.shape[1] // 2:]
        s, t = (1 - self.mask) * 2 * cr.tanh(s / 2), (1 - self.mask) * t
        if inverse:
            return (x - t) * cr.exp(-s), -cr.sum(s, axis=1)
        return x * cr.exp(s) + t, cr.sum(s, axis=1)


class RealNVP(GenerativeModel):
    """log p(x) = log N(f(x); 0, I) + log |det df/dx| with f a chain of affine couplings.

    Args:
        features: of a sample (N, features), at least 2.
        layers: couplings; which features stay alternates.
        hidden: widths of the network in each.

    >>> import numpy as np, chainrule as cr
    >>> x = np.random.default_rng(0).normal(size=(256, 2)) @ [[1.0, 0.5], [0.0, 0.1]]
    >>> model = cr.generative.RealNVP(2, layers=4, hidden=(32,))
    >>> history = model.fit(x, epochs=30, batch_size=64, optimizer=cr.optim.Adam(0.005), progress=False)
    >>> bool(model.log_prob(x).mean() > -1.0)
    True
    """

    def __init__(self, features: int, layers: int = 8, hidden: Sequence[int] = (64, 64)):
        if features < 2 or layers < 1:
            raise ArgumentError(explain("a coupling changes some features by the others",
                                        got=f"features={shown(features)}, layers={shown(layers)}",
                                        expected="features >= 2, layers >= 1"))
        self.features = int(features)
        self.couplings = [Coupling(self.features, tuple(hidden), odd=i % 2 == 1) for i in range(layers)]

    def forward(self, x: Any) -> tuple[Tensor, Tensor]:
        """(z, log |det dz/dx|) for x (N, features)."""
        total: Any = 0.0
        for coupling in self.couplings:
            x, change = coupling(x)
            total = total + change
        return x, total

    def inverse(self, z: ArrayLike) -> Tensor:
        """The x that `forward` maps to z."""
        for coupling in reversed(self.couplings):
            z, _ = coupling(z, inverse=True)
        return z

    def losses(self, x: ArrayLike, condition: ArrayLike | None = None) -> dict[str, Tensor]:
        """The negative log-likelihood in nats."""
        return {"loss": -cr.mean(self._log_prob(x))}

    def log_prob(self, x: ArrayLike, batch_size: int = 1024) -> np.ndarray:
        """log p(x) of each row, in nats: (N,)."""
        x = np.asarray(x, np.float32)
        build(self, x)
        program = remembered("log_prob", self, (), None, lambda model: compile(lambda x: model._log_prob(x)))
        return np.concatenate([program(x[i:i + batch_size]).numpy() for i in range(0, len(x), batch_size)])

    def draw(self, random: Draws, count: int, condition: ArrayLike | None = None, temperature: float = 1.0) -> Tensor:
        """The inverse of z ~ N(0, temperature² I)."""
        return self.inverse(temperature * random.normal((count, self.features)))

    def _log_prob(self, x: Any) -> Tensor:
        z, change = self(x)
        return change - 0.5 * cr.sum(z ** 2, axis=1) - 0.5 * self.features * math.log(2 * math.pi)
