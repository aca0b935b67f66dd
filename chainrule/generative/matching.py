# SPDX-License-Identifier: Apache-2.0
"""`FlowMatching`: a vector field that carries noise to data along straight lines (Lipman et al., 2023; Liu et al.,
2023)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import arrays as cr
from .. import nn, random
from ..errors import ArgumentError, explain, shown
from ..ir import Tensor
from ..typing import ArrayLike
from .base import GenerativeModel
from .conditions import Guided
from .draws import Draws
from .loops import repeat
from .transport import paired


class FlowMatching(GenerativeModel):
    """x_t = (1 - t) x_0 + t x_1 with x_0 ~ N(0, I) and x_1 a sample; the network learns the velocity x_1 - x_0 at (x_t,
    t).

    loss = E |v(x_t, t) - (x_1 - x_0)|² for t ~ U(0, 1); sampling solves dx/dt = v(x, t) from 0 to 1.

    Args:
        network: called as network(x, t), t (N,) in [0, 1]; with `classes`, as network(x, t, label), label (N,) in 0, …,
            classes (the last for no label); such as `cr.models.TimeMLP` and `cr.models.TimeUNet`.
        coupling: "independent", or "optimal": noise and samples of a batch are paired by optimal transport (Tong et
            al., 2024).
        classes: number of classes for conditions; `drop` is the share of labels taken away while learning.

    >>> import numpy as np, chainrule as cr
    >>> x = np.random.default_rng(0).normal(3.0, 0.1, size=(512, 1))
    >>> model = cr.generative.FlowMatching(cr.models.TimeMLP(1, width=32))
    >>> history = model.fit(x, epochs=20, progress=False)
    >>> bool(abs(model.sample(100).mean() - 3.0) < 0.5)
    True
    """

    def __init__(self, network: nn.Module, coupling: str = "independent", classes: int | None = None,
                 drop: float = 0.1):
        if coupling not in ("independent", "optimal"):
            raise ArgumentError(explain("there is no such coupling", got=shown(coupling),
                                        expected='"independent" or "optimal"'))
        self.field, self.coupling = Guided(network, classes, drop), coupling

    def forward(self, x: Any, t: Any, label: Any = None) -> Tensor:
        """The velocity at (x, t)."""
        return self.field(x, t, label)

    def example(self, x: ArrayLike, condition: ArrayLike | None = None) -> tuple[Any, ...]:
        t = np.ones(len(x), np.float32)
        return (x, t) if condition is None else (x, t, condition)

    def losses(self, x: ArrayLike, condition: ArrayLike | None = None) -> dict[str, Tensor]:
        """The mean squared error of the velocity."""
        x = cr.asarray(x)
        noise = random.normal(x.shape)
        if self.coupling == "optimal":
            noise = paired(noise, x)
        t = random.uniform((x.shape[0],))
        at = cr.reshape(t, (x.shape[0], *[1] * (x.ndim - 1)))
        velocity = self.field((1 - at) * noise + at * x, t, condition, training=True)
        return {"loss": cr.mean((velocity - (x - noise)) ** 2)}

    def draw(self, random: Draws, count: int, condition: ArrayLike | None = None, steps: int = 50, method: str = "heun",
             guidance: float = 0.0) -> Tensor:
        """The solution at t = 1 by `steps` steps of "euler" or "heun", with classifier-free `guidance` of the given
        strength."""
        if method not in ("euler", "heun"):
            raise ArgumentError(explain("there is no such solver", got=shown(method), expected='"euler" or "heun"'))
        h = 1.0 / steps
        slope = lambda x, t: self.field.guided(x, cr.broadcast_to(cr.astype(t, "float32"), (count,)), condition,
                                               guidance)

        def step(x: Tensor, i: Any) -> Tensor:
            t = cr.astype(i, "float32") * h
            first = slope(x, t)
            if method == "euler":
                return x + h * first
            return x + 0.5 * h * (first + slope(x + h * first, t + h))
        return repeat(step, random.normal((count, *self.event)), steps)
