# SPDX-License-Identifier: Apache-2.0
"""Rules that see a parameter as a matrix: Adafactor, which keeps row and column means in the place of a square for each
element, and Muon, which makes the step orthogonal. Filters (*kernel, in, out) count as matrices of their last two axes
(Adafactor), or as (kernel * in, out) (Muon).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..errors import ArgumentError, explain, shown
from ..ir import Tensor, Variable
from ..ops.compose import matmul, matrix_transpose
from ..ops.elementwise import exp, log, maximum, minimum, sqrt
from ..ops.movement import reshape
from ..ops.reduce import mean
from ..typing import LearningRate
from .base import Decoupled, Optimizer, Scalars, fraction, positive
from .variants import norm

Slots = Mapping[str, Tensor]


class Adafactor(Decoupled, Optimizer):
    """Adam's square as the product of its row and column means; steps in proportion to the parameter (Shazeer and
    Stern,
    2018, algorithms 4 and 5).

    With beta = 1 - t^-decay: R = beta R + (1 - beta) mean_columns(g^2), C likewise over rows, V = R C / mean(R);
    u = g / sqrt(V); p = p - min(eta, 1 / sqrt(t)) max(least, rms(p)) u / max(1, rms(u) / threshold).

    Args:
        learning_rate: eta, the largest relative step; a number or a schedule.
        decay: exponent of the memory.
        least: the smallest size that a parameter is taken to have.
        threshold: root mean square above which a step is scaled down.
        weight_decay: apart from the gradient.
        clip_norm, clip_value: see Optimizer.

    >>> layer = nn.Dense(3, input_shape=(4,))
    >>> optimizer = cr.optim.Adafactor()
    >>> optimizer.build(layer)
    >>> {name: v.shape for name, v in optimizer.variables().items() if name.startswith("weight")}
    {'weight.rows': (4, 1), 'weight.columns': (1, 3)}
    """

    def __init__(self, learning_rate: LearningRate = 1e-2, decay: float = 0.8, least: float = 1e-3,
                 threshold: float = 1.0, weight_decay: float = 0.0, clip_norm: float | None = None,
                 clip_value: float | None = None):
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        self.decay, self.least, self.threshold = (positive(n, v) for n, v in (("decay", decay), ("least", least),
                                                                              ("threshold", threshold)))

    def slots_of(self, parameter: Variable) -> tuple[str, ...]:
        return ("rows", "columns") if parameter.ndim > 1 else ("square",)

    def start(self, slot: str, parameter: Variable) -> np.ndarray:
        *lead, rows, columns = parameter.shape if parameter.ndim > 1 else (1, 1)
        shape = {"rows": (*lead, rows, 1), "columns": (*lead, 1, columns), "square": parameter.shape}[slot]
        return np.zeros(shape, parameter.dtype)

    def scalars(self, t: Tensor, rate: Tensor) -> Scalars:
        return {"rate": rate, "fresh": exp(-self.decay * log(t)), "step": minimum(rate, 1 / sqrt(t))}

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        tiny = float(np.finfo(p.dtype).eps)
        square, new = self._squares(g * g, slots, scalars["fresh"], tiny)
        u = g / sqrt(maximum(square, tiny * tiny))
        count = math.sqrt(max(p.size, 1))
        step = scalars["step"] * maximum(norm(p) / count, self.least)
        limited = maximum(norm(u) / (count * self.threshold), 1.0)
        return p * (1 - scalars["rate"] * self.weight_decay) - step / limited * u, new

    def _squares(self, square: Tensor, slots: Slots, fresh: Tensor, tiny: float) -> tuple[Tensor, Slots]:
        """(estimate of the mean square of each element, new slots)."""
        def follow(name: str, value: Tensor) -> Tensor:
            return slots[name] + fresh * (value - slots[name])
        if "square" in slots:
            v = follow("square", square)
            return v, {"square": v}
        rows = follow("rows", mean(square, axis=-1, keepdims=True))
        columns = follow("columns", mean(square, axis=-2, keepdims=True))
        return rows * columns / maximum(mean(rows, axis=-2, keepdims=True), tiny), {"rows": rows, "columns": columns}


class Muon(Decoupled, Optimizer):
    """m = momentum m + (1 - momentum) g; p = p - eta s O, where O is the orthogonal matrix nearest to the step
    (Jordan et al., 2024). For matrices and filters; give other parameters to AdamW with `optim.groups`.

    O is found by Newton and Schulz's iteration X = a X + (b X X^T + c (X X^T)^2) X, which brings all singular values
    near 1 (about 0.7 to 1.2 with these coefficients).

    Args:
        learning_rate: eta, a number or a schedule.
        momentum: in [0, 1).
        nesterov: orthogonalise momentum m + (1 - momentum) g, not m.
        iterations: of Newton and Schulz.
        match: "size": s = sqrt(max(1, out / in)); "adam": s = 0.2 sqrt(max(in, out)), the size of AdamW's steps
            (Liu et al., 2025), so that its learning rate can be kept.
        weight_decay: apart from the gradient.
        coefficients: (a, b, c).
        clip_norm, clip_value: see Optimizer.

    >>> w = cr.Variable(np.diag([3.0, 1.0]))
    >>> cr.optim.Muon(0.1).update([w], cr.gradients(cr.sum(w * w), [w]))
    >>> np.abs(w.numpy() - np.diag([3.0, 1.0])).round(1)
    array([[0.1, 0. ],
           [0. , 0.1]])
    """

    slots = ("first",)

    def __init__(self, learning_rate: LearningRate = 1e-3, momentum: float = 0.95, nesterov: bool = True,
                 iterations: int = 5, match: str = "size", weight_decay: float = 0.1,
                 coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
                 clip_norm: float | None = None, clip_value: float | None = None):
        super().__init__(learning_rate, weight_decay, clip_norm, clip_value)
        if match not in ("size", "adam"):
            raise ArgumentError(explain("this is no way to scale the steps of Muon", got=f"match={match!r}",
                                        expected="size | adam"))
        self.momentum, self.nesterov, self.iterations = fraction("momentum", momentum), nesterov, iterations
        if len(coefficients) != 3:
            raise ArgumentError(explain("the polynomial of Muon has three coefficients", got=shown(coefficients),
                                        expected="(a, b, c)"))
        self.match, self.coefficients = match, coefficients

    def start(self, slot: str, parameter: Variable) -> np.ndarray:
        if parameter.ndim < 2:
            raise ArgumentError(explain(f"Muon is for matrices, {parameter.name or 'a parameter'} is none",
                                        got=f"shape {parameter.shape}", expected="two axes or more",
                                        fix='optim.groups(optim.Muon(0.02), {"*bias": optim.AdamW(1e-3)})'))
        return super().start(slot, parameter)

    def rule(self, p: Tensor, g: Tensor, slots: Slots, scalars: Scalars) -> tuple[Tensor, Slots]:
        m = self.momentum * slots["first"] + (1 - self.momentum) * g
        step = self.momentum * m + (1 - self.momentum) * g if self.nesterov else m
        matrix = reshape(step, (-1, p.shape[-1]))
        rows, columns = matrix.shape
        scale = math.sqrt(max(1.0, columns / rows)) if self.match == "size" else 0.2 * math.sqrt(max(rows, columns))
        step = reshape(orthogonalize(matrix, self.iterations, self.coefficients), p.shape) * scale
        return p * (1 - scalars["rate"] * self.weight_decay) - scalars["rate"] * step, {"first": m}


def orthogonalize(x: Tensor, iterations: int, coefficients: tuple[float, float, float]) -> Tensor:
    """U V^T, nearly, of x = U S V^T, by Newton and Schulz's iteration on the smaller side."""
    a, b, c = coefficients
    wide = x.shape[0] <= x.shape[1]
    x = x if wide else matrix_transpose(x)
    x = x / maximum(norm(x), 1e-7)
    for _ in range(iterations):
        gram = matmul(x, matrix_transpose(x))
        x = a * x + matmul(b * gram + c * matmul(gram, gram), x)
    return x if wide else matrix_transpose(x)


__all__ = ["Adafactor", "Muon"]
