# SPDX-License-Identifier: Apache-2.0
"""Averaged gradient descent (ASGD) and follow-the-regularised-leader (FTRL), rules on one array in their papers'
symbols.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..ir import Tensor, Variable
from ..ops.elementwise import abs, less_equal, maximum, sign, sqrt, where, zeros_like
from ..typing import LearningRate
from .base import Optimizer, Scalars, not_negative, positive

Slots = Mapping[str, Tensor]


class ASGD(Optimizer):
    """p = p (1 - lambda eta_t) - eta_t g with eta_t = eta / (1 + lambda eta (t - 1))^alpha, and the mean a of p from
    step t0 on
    (Polyak and Juditsky, 1992). `averages()` gives the means, which are better weights than the last ones.

    Args:
        learning_rate: eta, the first step size.
        decay: lambda.
        power: alpha.
        start_averaging: t0.
        weight_decay, clip_norm, clip_value: see Optimizer.

    >>> w = cr.Variable([1.0, -2.0])
    >>> cr.optim.ASGD(0.1).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.79999, -1.59998], dtype=float32)
    """

    slots = ("average",)

    def __init__(self, learning_rate: LearningRate = 0.01, decay: float = 1e-4, power: float = 0.75,
                 start_averaging: int = 1_000_000,
                 weight_decay: float = 0.0, clip_norm: float | None = None, clip_value: float | None = None):
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.decay, self.power = not_negative("decay", decay), not_negative("power", power)
        self.start_averaging = int(not_negative("start_averaging", start_averaging))

    def scalars(self, t: Tensor, rate: Tensor) -> Scalars:
        return {"rate": rate / (1 + self.decay * rate * (t - 1)) ** self.power,
                "share": 1 / maximum(t - 1 - self.start_averaging, 1.0)}

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        p = p * (1 - self.decay * scalars["rate"]) - scalars["rate"] * g
        return p, {"average": slots["average"] + (p - slots["average"]) * scalars["share"]}

    def averages(self) -> dict[str, np.ndarray]:
        """The mean of each parameter over the steps since `start_averaging`; before it, the parameter itself."""
        return {name: slots["average"].numpy() for name, (_, slots) in self.state.items()}


class FTRL(Optimizer):
    """z = z + g - (sqrt(n + g^2) - sqrt(n)) p / eta, n = n + g^2; p = 0 where |z| <= l1, else
    (sign(z) l1 - z) / ((beta + sqrt(n)) / eta + l2) (McMahan et al., KDD 2013): sparse weights from a stream of
    samples.

    Args:
        learning_rate: eta; beta: keeps the first steps small.
        l1, l2: strengths of the two penalties; l1 makes weights exactly 0.
        initial: what n starts with.
        weight_decay, clip_norm, clip_value: see Optimizer.

    >>> w = cr.Variable([1.0, 0.01])
    >>> cr.optim.FTRL(0.1, l1=0.5).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([0.48221233, 0.        ], dtype=float32)
    """

    slots = ("shifted", "square")

    def __init__(self, learning_rate: LearningRate = 0.1, beta: float = 1.0, l1: float = 0.0, l2: float = 0.0,
                 initial: float = 0.1,
                 weight_decay: float = 0.0, clip_norm: float | None = None, clip_value: float | None = None):
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.beta, self.l1, self.l2 = not_negative("beta", beta), not_negative("l1", l1), not_negative("l2", l2)
        self.initial = positive("initial", initial)

    def start(self, slot: str, parameter: Variable) -> np.ndarray:
        return np.full(parameter.shape, self.initial if slot == "square" else 0.0, parameter.dtype)

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        n, rate = slots["square"] + g * g, scalars["rate"]
        z = slots["shifted"] + g - (sqrt(n) - sqrt(slots["square"])) / rate * p
        step = (sign(z) * self.l1 - z) / ((self.beta + sqrt(n)) / rate + self.l2)
        return where(less_equal(abs(z), self.l1), zeros_like(p), step), {"shifted": z, "square": n}


__all__ = ["ASGD", "FTRL"]
