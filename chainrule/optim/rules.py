# SPDX-License-Identifier: Apache-2.0
"""The optimisers: each a rule on one array, in the symbols of its paper (p parameter, g gradient, t step, eta rate)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..errors import ArgumentError, explain
from ..ir import Tensor, Variable
from ..ops.elementwise import abs, expm1, less, maximum, sqrt, where
from ..ops.index import scatter
from ..typing import LearningRate
from .base import Decoupled, Optimizer, Scalars, fraction, not_negative, positive
from .rows import Rows

Slots = Mapping[str, Tensor]


class SGD(Optimizer):
    """Gradient descent: v = momentum v + g; p = p - eta v, or with Nesterov p = p - eta (g + momentum v).

    Polyak (1964); Nesterov (1983) in the form of Sutskever et al. (2013).

    Args:
        learning_rate: eta, a number or a schedule.
        momentum: in [0, 1); 0 keeps no velocity.
        nesterov: look ahead.
        weight_decay, clip_norm, clip_value: see Optimizer.
        dampening: v = momentum v + (1 - dampening) g from the second step on.

    >>> w = cr.Variable([1.0, -2.0])
    >>> optimizer = cr.optim.SGD(0.1, momentum=0.9)
    >>> for _ in range(2):
    ...     optimizer.update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.46, -0.92], dtype=float32)
    """

    def __init__(self, learning_rate: LearningRate = 0.01, momentum: float = 0.0, nesterov: bool = False,
                 weight_decay: float = 0.0,
                 clip_norm: float | None = None, clip_value: float | None = None, dampening: float = 0.0):
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.momentum, self.nesterov = fraction("momentum", momentum), nesterov
        self.dampening = fraction("dampening", dampening)
        self.slots = ("velocity",) if momentum else ()
        self.keeps_untouched = not momentum
        for name, given in (("nesterov", nesterov), ("dampening", dampening)):
            if given and not momentum:
                raise ArgumentError(explain(f"{name} needs momentum", got=f"momentum=0, {name}={given}",
                                            fix=f"SGD(..., momentum=0.9, {name}={given})"))

    def scalars(self, t: Tensor, rate: Tensor) -> Scalars:
        if not self.dampening:
            return {"rate": rate}
        return {"rate": rate, "share": where(less(t, 1.5), 1.0, 0 * t + (1 - self.dampening))}

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        if not self.momentum:
            return p - scalars["rate"] * g, {}
        v = self.momentum * slots["velocity"] + (g * scalars["share"] if self.dampening else g)
        return p - scalars["rate"] * (g + self.momentum * v if self.nesterov else v), {"velocity": v}

    def _apply_rows(self, parameter: Variable, g: Rows, slots: Mapping[str, Variable], scalars: Scalars) -> None:
        """Linear in the gradient, so equal ids need not be added up first."""
        parameter.assign(scatter(parameter.value, g.ids, -scalars["rate"] * g.values, drop=True))


class Adagrad(Optimizer):
    """s = s + g^2; p = p - eta g / (sqrt(s) + epsilon) (Duchi et al., 2011).

    Args:
        learning_rate: eta, a number or a schedule.
        initial: what s starts with.
        epsilon: keeps the quotient finite.
        weight_decay, clip_norm, clip_value: see Optimizer.

    >>> w = cr.Variable([1.0, -2.0])
    >>> cr.optim.Adagrad(0.1).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.9, -1.9], dtype=float32)
    """

    slots, keeps_untouched = ("square",), True

    def __init__(self, learning_rate: LearningRate = 0.01, initial: float = 0.0, epsilon: float = 1e-10,
                 weight_decay: float = 0.0,
                 clip_norm: float | None = None, clip_value: float | None = None):
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.initial, self.epsilon = not_negative("initial", initial), positive("epsilon", epsilon)

    def start(self, slot: str, parameter: Variable) -> np.ndarray:
        return np.full(parameter.shape, self.initial, parameter.dtype)

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        s = slots["square"] + g * g
        return p - scalars["rate"] * g / (sqrt(s) + self.epsilon), {"square": s}


class RMSprop(Optimizer):
    """s = rho s + (1 - rho) g^2; p = p - eta g / (sqrt(s) + epsilon) (Hinton, 2012); with momentum as in SGD.

    Args:
        learning_rate: eta, a number or a schedule.
        rho: memory of the mean square.
        momentum: of the scaled gradient; 0 keeps no velocity.
        centered: divide by the standard deviation: s - (mean g)^2 in the place of s (Graves, 2013).
        weight_decay, clip_norm, clip_value: see Optimizer.

    >>> w = cr.Variable([1.0, -2.0])
    >>> cr.optim.RMSprop(0.01).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.90000004, -1.9       ], dtype=float32)
    """

    def __init__(self, learning_rate: LearningRate = 0.01, rho: float = 0.99, momentum: float = 0.0,
                 epsilon: float = 1e-8, centered: bool = False,
                 weight_decay: float = 0.0, clip_norm: float | None = None, clip_value: float | None = None):
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.rho, self.momentum, self.centered = fraction("rho", rho), fraction("momentum", momentum), centered
        self.epsilon = positive("epsilon", epsilon)
        self.slots = (*(("variance", "mean") if centered else ("square",)), *(("velocity",) if momentum else ()))

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        if self.centered:  # s - (mean g)^2 by a recurrence of its own, which nothing cancels in
            apart = g - slots["mean"]
            spread = self.rho * (slots["variance"] + (1 - self.rho) * apart * apart)
            new = {"variance": spread, "mean": slots["mean"] + (1 - self.rho) * apart}
        else:
            spread = self.rho * slots["square"] + (1 - self.rho) * g * g
            new = {"square": spread}
        step = g / (sqrt(spread) + self.epsilon)
        if self.momentum:
            new["velocity"] = step = self.momentum * slots["velocity"] + step
        return p - scalars["rate"] * step, new


class Adam(Optimizer):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p = p - eta m' / (sqrt(v') + epsilon), with m' = m / (1 - b1^t),
    v' = v / (1 - b2^t) (Kingma and Ba, 2015).

    Args:
        learning_rate: eta, a number or a schedule.
        beta1, beta2: memory of the mean and of the mean square.
        epsilon: keeps the quotient finite.
        weight_decay, clip_norm, clip_value: see Optimizer.
        amsgrad: divide by the largest v so far, which never shrinks (Reddi et al., 2018).
        lazy: rows of an embedding that a batch did not take keep p, m and v (PyTorch's SparseAdam), so that a step
            costs the same for a table of any size; without it m moves them on.

    >>> w = cr.Variable([1.0, -2.0])
    >>> optimizer = cr.optim.Adam(0.1)
    >>> optimizer.update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.90000004, -1.9       ], dtype=float32)
    """

    slots: tuple[str, ...] = ("first", "second")

    def __init__(self, learning_rate: LearningRate = 1e-3, beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-8, weight_decay: float = 0.0, clip_norm: float | None = None,
                 clip_value: float | None = None, amsgrad: bool = False, lazy: bool = False):
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.beta1, self.beta2, self.epsilon = fraction("beta1",
                                                        beta1), fraction("beta2", beta2), positive("epsilon", epsilon)
        self.amsgrad, self.lazy = amsgrad, lazy
        self.slots = ("first", "second", "largest") if amsgrad else ("first", "second")

    def scalars(self, t: Tensor, rate: Tensor) -> Scalars:
        return {"rate": rate, "step": rate / correction(self.beta1, t), "scale": 1 / sqrt(correction(self.beta2, t))}

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        m = self.beta1 * slots["first"] + (1 - self.beta1) * g
        v = self.beta2 * slots["second"] + (1 - self.beta2) * g * g
        new = {"first": m, "second": v}
        if self.amsgrad:
            new["largest"] = v = maximum(slots["largest"], v)
        return p - scalars["step"] * m / (sqrt(v) * scalars["scale"] + self.epsilon), new


def correction(beta: float, t: Tensor) -> Tensor:
    """1 - beta^t, without cancellation for beta near 1."""
    return -expm1(t * math.log(beta)) if beta else 1 - 0 * t


class AdamW(Decoupled, Adam):
    """Adam with weight decay apart from the gradient: p = p - eta weight_decay p, then the step of Adam
    (Loshchilov and Hutter, 2019).

    >>> w = cr.Variable([1.0, -2.0])
    >>> cr.optim.AdamW(0.1, weight_decay=0.5).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.85, -1.8 ], dtype=float32)
    """

    def __init__(self, learning_rate: LearningRate = 1e-3, beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-8, weight_decay: float = 0.01, clip_norm: float | None = None,
                 clip_value: float | None = None, amsgrad: bool = False, lazy: bool = False):
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, clip_norm, clip_value, amsgrad, lazy)

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        return super().rule(p * (1 - scalars["rate"] * self.weight_decay), g, slots, scalars)


class Adamax(Optimizer):
    """m = b1 m + (1 - b1) g; u = max(b2 u, |g| + epsilon); p = p - eta m / ((1 - b1^t) u).

    Kingma and Ba (2015), section 7. The arguments are those of Adam.

    >>> w = cr.Variable([1.0, -2.0])
    >>> cr.optim.Adamax(0.1).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.9, -1.9], dtype=float32)
    """

    slots = ("first", "norm")

    def __init__(self, learning_rate: LearningRate = 2e-3, beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-8, weight_decay: float = 0.0, clip_norm: float | None = None,
                 clip_value: float | None = None):
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.beta1, self.beta2, self.epsilon = fraction("beta1",
                                                        beta1), fraction("beta2", beta2), positive("epsilon", epsilon)

    def scalars(self, t: Tensor, rate: Tensor) -> Scalars:
        return {"step": rate / correction(self.beta1, t)}

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        m = self.beta1 * slots["first"] + (1 - self.beta1) * g
        u = maximum(self.beta2 * slots["norm"], abs(g) + self.epsilon)
        return p - scalars["step"] * m / u, {"first": m, "norm": u}


__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Adamax", "RMSprop"]
