# SPDX-License-Identifier: Apache-2.0
"""Losses of regression: distances between outputs and targets of one shape, and likelihoods of a few families."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError, explain, shown
from ..ir import Tensor, as_tensor
from ..ops import compose
from ..ops.broadcast import broadcast_to
from ..ops.control import custom_gradient
from ..ops.elementwise import abs, astype, exp, log, log1p, maximum, sqrt, tanh, where, zeros_like
from ..ops.movement import reshape
from ..ops.require import Demand
from ..typing import ArrayLike
from .base import agree, check_positive, loss, several
from .targets import ANY

VARIANCE = Demand("a variance", 0.0, math.inf, "make them positive, for example by softplus")


@loss(targets=ANY)
def mean_squared_error(outputs: ArrayLike, targets: ArrayLike) -> Any:
    """(outputs - targets)^2, averaged over all elements.

    >>> cr.losses.mean_squared_error([[1.0], [3.0]], [[0.0], [0.0]])
    Tensor(5., dtype=float32)
    >>> cr.losses.mean_squared_error([[1.0], [3.0]], [[0.0], [0.0]], weights=[1.0, 0.0])
    Tensor(1., dtype=float32)
    """
    difference = outputs - agree(outputs, targets)
    return difference * difference


@loss(targets=ANY)
def mean_absolute_error(outputs: ArrayLike, targets: ArrayLike) -> Any:
    """|outputs - targets|, averaged over all elements.

    >>> cr.losses.mean_absolute_error([[1.0], [3.0]], [[0.0], [0.0]])
    Tensor(2., dtype=float32)
    """
    return abs(outputs - agree(outputs, targets))


@loss(targets=ANY)
def huber(outputs: ArrayLike, targets: ArrayLike, *, delta: float = 1.0) -> Any:
    """d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2), with d = outputs - targets (Huber, 1964).

    >>> cr.losses.huber([[0.0], [0.0]], [[0.5], [10.0]], reduction="none")
    Tensor([[0.125],
            [9.5  ]], dtype=float32)
    """
    check_positive("delta", delta)
    return _huber(outputs - agree(outputs, targets), delta)


def _huber(d: Tensor, delta: float) -> Tensor:
    """Its slope, d limited to [-delta, delta], is finite where the square of d is not."""
    a = abs(d)
    value = where(compose.less_equal(a, delta), 0.5 * d * d, delta * (a - 0.5 * delta))
    return custom_gradient(value, (d,), lambda g, y, d: (g * compose.clip(d, -delta, delta),))


@loss(targets=ANY)
def log_cosh(outputs: ArrayLike, targets: ArrayLike) -> Any:
    """log(cosh(outputs - targets)) = |d| + log1p(e^(-2 |d|)) - log 2.

    >>> cr.losses.log_cosh([[0.0], [0.0]], [[0.1], [100.0]], reduction="none")
    Tensor([[4.9917102e-03],
            [9.9306854e+01]], dtype=float32)
    """
    d = outputs - agree(outputs, targets)
    a, square = abs(d), d * d
    near = square * (0.5 - square * (1 / 12 - square / 45))  # the other form loses its digits there
    value = where(compose.less(a, 0.1), near, a + log1p(exp(-2 * a)) - math.log(2))
    return custom_gradient(value, (d,), lambda g, y, d: (g * tanh(d),))


@loss(targets=ANY)
def smooth_l1(outputs: ArrayLike, targets: ArrayLike, *, beta: float = 1.0) -> Any:
    """d^2 / (2 beta) for |d| < beta, else |d| - beta / 2: the Huber loss over beta (Girshick, 2015).

    >>> cr.losses.smooth_l1([[0.0], [0.0]], [[0.5], [10.0]], reduction="none")
    Tensor([[0.125],
            [9.5  ]], dtype=float32)
    """
    d = outputs - agree(outputs, targets)
    return _huber(d, beta) * (1 / beta) if beta else abs(d)


@loss(targets=ANY)
def quantile(outputs: ArrayLike, targets: ArrayLike, *, q: float | Sequence[float] = 0.5) -> Any:
    """max(q d, (q - 1) d) with d = targets - outputs, the pinball loss: least at the q-quantile
    (Koenker and Bassett, 1978).

    Args:
        q: between 0 and 1; or several, for outputs (..., len(q)) of one target each, (...) or (..., 1).

    >>> cr.losses.quantile([[0.0], [0.0]], [[1.0], [-1.0]], q=0.9, reduction="none")
    Tensor([[0.9],
            [0.1]], dtype=float32)
    """
    levels = [q] if isinstance(q, int | float) else list(q)
    if not levels or not all(isinstance(level, int | float) and 0 < level < 1 for level in levels):
        raise ArgumentError(explain("a quantile lies between 0 and 1", got=f"q={shown(q)}"))
    if isinstance(q, int | float):
        d = agree(outputs, targets) - outputs
        return maximum(q * d, (q - 1) * d)
    d = _for_each(outputs, targets, len(levels)) - outputs
    level = as_tensor(levels, outputs.dtype)
    return maximum(level * d, (level - 1) * d)


def _for_each(outputs: Any, targets: Any, count: int) -> Any:
    """Targets (...) or (..., 1) beside outputs (..., count): each once for each of them."""
    if outputs.shape[-1:] != (count,) or targets.shape not in (outputs.shape[:-1], (*outputs.shape[:-1], 1)):
        raise ShapeError(explain("several quantiles of each target are the last axis of the outputs",
                                 got=f"outputs {outputs.shape}, targets {targets.shape}",
                                 expected=f"outputs (..., {count}), targets (...) or (..., 1)",
                                 fix=f"end the network with Dense({count})"))
    target = astype(targets, outputs.dtype)
    return broadcast_to(reshape(target, (*outputs.shape[:-1], 1)), outputs.shape)


@loss(targets=ANY)
def mean_absolute_percentage_error(outputs: ArrayLike, targets: ArrayLike, *, epsilon: float = 1e-7) -> Any:
    """100 |outputs - targets| / max(|targets|, epsilon).

    >>> cr.losses.mean_absolute_percentage_error([[90.0], [110.0]], [[100.0], [100.0]])
    Tensor(10., dtype=float32)
    """
    t = agree(outputs, targets)
    return 100 * (abs(outputs - t) / maximum(abs(t), epsilon))


@loss(targets=ANY)
def mean_squared_logarithmic_error(outputs: ArrayLike, targets: ArrayLike) -> Any:
    """(log(1 + outputs) - log(1 + targets))^2, with negative numbers taken as 0.

    >>> cr.losses.mean_squared_logarithmic_error([[0.0]], [[np.e - 1]])
    Tensor(1., dtype=float32)
    """
    d = log1p(maximum(outputs, 0.0)) - log1p(maximum(agree(outputs, targets), 0.0))
    return d * d


@loss(targets=ANY)
def poisson(outputs: ArrayLike, targets: ArrayLike, *, log_rates: bool = True, full: bool = False,
            epsilon: float = 1e-8) -> Any:
    """e^outputs - targets * outputs: the outputs are logarithms of rates; or, with log_rates=False, the rates r:
    r - targets log(r + epsilon).

    Args:
        full: add Stirling's t log t - t + log(2 pi t) / 2 for targets t above 1, which stands for log(t!).

    >>> cr.losses.poisson([[0.0]], [[2.0]])
    Tensor(1., dtype=float32)
    """
    t = agree(outputs, targets)
    if full:
        large = compose.greater(t, 1)
        safe = where(large, t, 1.0)
        per_count, rest = where(large, log(safe) - 1, 0.0), where(large, 0.5 * log(2 * math.pi * safe), 0.0)
    else:
        per_count, rest = zeros_like(t), zeros_like(t)
    if not log_rates:
        return outputs - t * (log(outputs + epsilon) - per_count) + rest
    rates = exp(outputs)
    return where(compose.less(rates, math.inf), rates - t * (outputs - per_count) + rest, rates)


@loss(targets=ANY, outputs=(None, VARIANCE))
def gaussian_nll(outputs: ArrayLike, targets: ArrayLike, *, full: bool = False, epsilon: float = 1e-6) -> Any:
    """(log v + (targets - mean)^2 / v) / 2 with v = max(variance, epsilon), from outputs (mean, variance)
    (Nix and Weigend, 1994). `full` adds log(2 pi) / 2.

    >>> mean, variance = np.array([[0.0], [1.0]]), np.array([[1.0], [4.0]])
    >>> cr.losses.gaussian_nll((mean, variance), np.array([[1.0], [1.0]]))
    Tensor(0.59657359, dtype=float64)
    """
    mean, variance = several(outputs, ("mean", "variance"), "gaussian_nll")
    d = agree(mean, targets) - mean
    v = variance + compose.stop_gradient(maximum(variance, epsilon) - variance)  # a clamp that passes gradients
    ratio = d / sqrt(v)
    return 0.5 * (log(v) + ratio * ratio) + (0.5 * math.log(2 * math.pi) if full else 0.0)
