# SPDX-License-Identifier: Apache-2.0
"""Relatives of Adam: Adadelta, NAdam, RAdam, Lion and LAMB, each a rule on one array in the symbols of its paper."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..ir import Tensor, Variable
from ..ops.compose import clip, length, logical_and
from ..ops.elementwise import exp, less, maximum, ones_like, sign, sqrt, where, zeros_like
from ..ops.movement import reshape
from ..typing import LearningRate
from .base import Decoupled, Optimizer, Scalars, fraction, positive
from .rules import Adam, correction

Slots = Mapping[str, Tensor]


class Adadelta(Optimizer):
    """s = rho s + (1 - rho) g^2; d = g sqrt(u + epsilon) / sqrt(s + epsilon); u = rho u + (1 - rho) d^2; p = p - eta d
    (Zeiler, 2012).

    Args:
        learning_rate: eta, 1 in the paper; a number or a schedule.
        rho: memory of both mean squares.
        epsilon: starts the steps and keeps the quotient finite.
        weight_decay, clip_norm, clip_value: see Optimizer.

    >>> w = cr.Variable([1.0, -2.0])
    >>> cr.optim.Adadelta(1.0).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> bool(w.numpy()[0] < 1.0)
    True
    """

    slots = ("square", "moved")

    def __init__(self, learning_rate: LearningRate = 1.0, rho: float = 0.9, epsilon: float = 1e-6,
                 weight_decay: float = 0.0, clip_norm: float | None = None, clip_value: float | None = None):
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.rho, self.epsilon = fraction("rho", rho), positive("epsilon", epsilon)

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        s = self.rho * slots["square"] + (1 - self.rho) * g * g
        d = g * sqrt(slots["moved"] + self.epsilon) / sqrt(s + self.epsilon)
        u = self.rho * slots["moved"] + (1 - self.rho) * d * d
        return p - scalars["rate"] * d, {"square": s, "moved": u}


class NAdam(Adam):
    """Adam with Nesterov's momentum: the step is eta (mu' m / (1 - M mu') + (1 - mu) g / (1 - M)) / (sqrt(v') +
    epsilon),
    with mu_t = b1 (1 - 0.96^(t decay) / 2), mu' the next mu and M the product of all mu so far (Dozat, 2016).

    Args:
        learning_rate, beta1, beta2, epsilon, weight_decay, clip_norm, clip_value: as in Adam.
        decay: how fast mu grows to b1.

    >>> w = cr.Variable([1.0, -2.0])
    >>> cr.optim.NAdam(0.1).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.8943548, -1.8943548], dtype=float32)
    """

    def __init__(self, learning_rate: LearningRate = 2e-3, beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-8, weight_decay: float = 0.0, clip_norm: float | None = None,
                 clip_value: float | None = None, decay: float = 4e-3):
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, clip_norm, clip_value)
        self.decay, self.slots = decay, ("first", "second", "product")

    def start(self, slot: str, parameter: Variable) -> np.ndarray:
        return np.ones((), parameter.dtype) if slot == "product" else super().start(slot, parameter)

    def scalars(self, t: Tensor, rate: Tensor) -> Scalars:
        return {"mu": self._mu(t), "next": self._mu(t + 1), "rate": rate, "scale": 1 / sqrt(correction(self.beta2, t))}

    def _mu(self, t: Tensor) -> Tensor:
        return self.beta1 * (1 - 0.5 * exp(t * (self.decay * math.log(0.96))))

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        m = self.beta1 * slots["first"] + (1 - self.beta1) * g
        v = self.beta2 * slots["second"] + (1 - self.beta2) * g * g
        mu, after = scalars["mu"], scalars["next"]
        product = slots["product"] * mu
        ahead = (after / (1 - product * after)) * m + ((1 - mu) / (1 - product)) * g
        return (p - scalars["rate"] * ahead / (sqrt(v) * scalars["scale"] + self.epsilon),
                {"first": m, "second": v, "product": product})


class RAdam(Adam):
    """Adam whose step is rectified while the variance of 1 / sqrt(v) is large (Liu et al., 2020).

    With r_inf = 2 / (1 - b2) - 1 and r = r_inf - 2 t b2^t / (1 - b2^t): for r > 5 the step of Adam times
    sqrt((r - 4)(r - 2) r_inf / ((r_inf - 4)(r_inf - 2) r)), else p = p - eta m'. The arguments are those of Adam.

    >>> w = cr.Variable([1.0, -2.0])
    >>> cr.optim.RAdam(0.1).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.8, -1.6], dtype=float32)
    """

    def __init__(self, learning_rate: LearningRate = 1e-3, beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-8, weight_decay: float = 0.0, clip_norm: float | None = None,
                 clip_value: float | None = None):
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, clip_norm, clip_value)

    def scalars(self, t: Tensor, rate: Tensor) -> Scalars:
        unbiased, limit = correction(self.beta2, t), 2 / (1 - self.beta2) - 1
        r = limit - 2 * t * (1 - unbiased) / unbiased
        steady = less(5.0, r)
        safe = where(steady, r, ones_like(r) * 5)
        factor = sqrt((safe - 4) * (safe - 2) * limit / ((limit - 4) * (limit - 2) * safe) * unbiased)
        return {"step": rate / correction(self.beta1, t), "factor": factor, "steady": steady}

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        m = self.beta1 * slots["first"] + (1 - self.beta1) * g
        v = self.beta2 * slots["second"] + (1 - self.beta2) * g * g
        scale = where(scalars["steady"], scalars["factor"] / (sqrt(v) + self.epsilon), ones_like(v))
        return p - scalars["step"] * m * scale, {"first": m, "second": v}


class Lion(Decoupled, Optimizer):
    """p = p - eta (sign(b1 m + (1 - b1) g) + weight_decay p); m = b2 m + (1 - b2) g (Chen et al., 2023).

    Every element moves by eta, so the learning rate is three to ten times smaller than for Adam, the decay larger.

    Args:
        learning_rate: eta, a number or a schedule.
        beta1, beta2: share of the past in the step, and in what is remembered.
        weight_decay: apart from the gradient.
        clip_norm, clip_value: see Optimizer.

    >>> w = cr.Variable([1.0, -2.0])
    >>> cr.optim.Lion(0.1).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.9, -1.9], dtype=float32)
    """

    slots = ("first",)

    def __init__(self, learning_rate: LearningRate = 1e-4, beta1: float = 0.9, beta2: float = 0.99,
                 weight_decay: float = 0.0, clip_norm: float | None = None, clip_value: float | None = None):
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.beta1, self.beta2 = fraction("beta1", beta1), fraction("beta2", beta2)

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        m = slots["first"]
        direction = sign(self.beta1 * m + (1 - self.beta1) * g) + self.weight_decay * p
        return p - scalars["rate"] * direction, {"first": self.beta2 * m + (1 - self.beta2) * g}


class LAMB(Decoupled, Adam):
    """r = m' / (sqrt(v') + epsilon) + weight_decay p; p = p - eta (|p| / |r|) r, norms per parameter (You et al.,
    2020).

    For large batches: each layer moves in proportion to its weights. Where |p| or |r| is 0 their ratio is taken as 1.
    The arguments are those of Adam.

    >>> w = cr.Variable([3.0, 4.0])
    >>> cr.optim.LAMB(0.1).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([2.6481586, 3.6447427], dtype=float32)
    """

    def __init__(self, learning_rate: LearningRate = 1e-3, beta1: float = 0.9, beta2: float = 0.999,
                 epsilon: float = 1e-6, weight_decay: float = 0.01, clip_norm: float | None = None,
                 clip_value: float | None = None):
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay, clip_norm, clip_value)

    def scalars(self, t: Tensor, rate: Tensor) -> Scalars:
        return {"rate": rate, "mean": 1 / correction(self.beta1, t), "scale": 1 / sqrt(correction(self.beta2, t))}

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        m = self.beta1 * slots["first"] + (1 - self.beta1) * g
        v = self.beta2 * slots["second"] + (1 - self.beta2) * g * g
        r = m * scalars["mean"] / (sqrt(v) * scalars["scale"] + self.epsilon) + self.weight_decay * p
        length, step = norm(p), norm(r)
        known = logical_and(less(0.0, length), less(0.0, step))
        ratio = where(known, length / maximum(step, float(np.finfo(p.dtype).tiny)), ones_like(length))
        return p - scalars["rate"] * ratio * r, {"first": m, "second": v}


class Rprop(Optimizer):
    """p = p - sign(g) d, with a step d for each element: 1.2 times as large where g kept its sign, half as large
    where it
    changed, and then g counts as 0 (Riedmiller and Braun, 1993). For gradients of all data, not of batches.

    Args:
        learning_rate: the first d, a number.
        shrink, grow: factors of d.
        least, most: limits of d.

    >>> w = cr.Variable([1.0, -2.0])
    >>> cr.optim.Rprop(0.1).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> w.numpy()
    array([ 0.9, -1.9], dtype=float32)
    """

    slots = ("previous", "size")

    def __init__(self, learning_rate: float = 0.01, shrink: float = 0.5, grow: float = 1.2, least: float = 1e-6,
                 most: float = 50.0):
        super().__init__(positive("learning_rate", learning_rate))
        self.first = float(learning_rate)
        self.shrink, self.grow = positive("shrink", shrink), positive("grow", grow)
        self.least, self.most = positive("least", least), positive("most", most, math.inf)

    def start(self, slot: str, parameter: Variable) -> np.ndarray:
        return np.full(parameter.shape, self.first if slot == "size" else 0.0, parameter.dtype)

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        same = sign(g * slots["previous"])
        factor = where(less(0, same), self.grow, where(less(same, 0), self.shrink, ones_like(g)))
        d = clip(slots["size"] * factor, self.least, self.most)
        g = where(less(same, 0), zeros_like(g), g)
        return p - sign(g) * d, {"previous": g, "size": d}


def norm(x: Tensor) -> Tensor:
    """The length of all elements as one vector."""
    return reshape(length(x, tuple(range(x.ndim))), ())


__all__ = ["LAMB", "Adadelta", "Lion", "NAdam", "RAdam", "Rprop"]
