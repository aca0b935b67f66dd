# SPDX-License-Identifier: Apache-2.0
"""Draws that need more than one formula of uniform numbers: gamma, Poisson, and inverse-CDF sampling from a table.

Rejection works on whole arrays: rounds of proposals, each element keeping the first that is accepted. The number of
rounds is fixed, so that it compiles; at once it stops early. All rounds draw from a child generator whose key is one
draw of the given one: eager and compiled samples are the same, and the given generator moves on by one draw.
Sources: Marsaglia and Tsang, ACM TOMS 26 (2000); Hoermann, Insurance: Mathematics and Economics 12 (1993), PTRS;
implicit derivative of gamma samples: Figurnov et al., NeurIPS 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .. import random
from ..ir.bind import as_tensor
from ..ir.dtype import float64, int64, uint32
from ..ir.node import Shape
from ..ir.tensor import Tensor
from ..ops.broadcast import broadcast_to
from ..ops.compose import concat, logical_not
from ..ops.control import custom_gradient, stop_gradient
from ..ops.elementwise import (
    abs,
    astype,
    exp,
    expm1,
    floor,
    less,
    log,
    maximum,
    minimum,
    multiply,
    sqrt,
    where,
    zeros_like,
)
from ..ops.index import take
from ..ops.movement import reshape
from ..ops.reduce import cumulative_sum, sum
from .special import digamma, lgamma

GAMMA_ROUNDS = 14     # each accepts at least 95 %: fewer than 1e-17 of the elements are left
POISSON_ROUNDS = 28   # each accepts at least 70 %
SMALL_RATE = 10.0     # below, Poisson draws come from a table
SMALL_COUNTS = 64


class _Cell:
    """What a Variable does for a generator, for as long as one draw lasts."""

    def __init__(self, value: Tensor):
        self.value = value

    def assign(self, value: Tensor) -> None:
        self.value = value


def child(generator: random.Generator) -> random.Generator:
    """A generator of its own whose key is one draw of `generator`."""
    made = random.Generator.__new__(random.Generator)
    made.state = _Cell(concat([generator.bits(2), as_tensor(np.zeros(2, uint32))]))  # type: ignore[assignment]
    return made


def first_accepted(propose: Callable[[], tuple[Tensor, Tensor]], rounds: int) -> Tensor:
    """For each element the first proposal that is accepted (the last one if none is)."""
    value, done = propose()
    for _ in range(rounds - 1):
        if done.node.data is not None and done.node.data.all():
            break
        other, accepted = propose()
        value, done = where(done, value, other), done | accepted
    return value


# ---- gamma

def standard_gamma(alpha: Tensor, shape: Shape, generator: random.Generator) -> Tensor:
    """Gamma(alpha, rate 1) of `shape`, differentiable with respect to alpha (first order)."""
    return exp(log_gamma_draw(alpha, shape, generator))


def log_gamma_draw(alpha: Tensor, shape: Shape, generator: random.Generator) -> Tensor:
    """The logarithm of a Gamma(alpha, 1) draw: log of a Gamma(alpha + 1) draw plus log(u) / alpha, finite also for tiny
    alpha."""
    generator, alpha = child(generator), broadcast_to(alpha, shape)
    small = less(alpha, 1)
    boosted = where(small, alpha + 1, alpha)
    waiting = generator.exponential(shape, dtype=alpha.dtype)  # -log(u); drawn first: the number of rounds may differ
    x = _implicit(_marsaglia_tsang(stop_gradient(boosted), shape, generator), boosted)
    return log(x) - where(small, waiting / where(small, alpha, 1.0), 0.0)


def _marsaglia_tsang(alpha: Tensor, shape: Shape, generator: random.Generator) -> Tensor:
    """Gamma(alpha, 1) for alpha >= 1: d v with v = (1 + c x)^3, accepted if log u < x^2 / 2 + d (1 - v + log v)."""
    d = alpha - 1 / 3
    c = 1 / (3 * sqrt(d))

    def propose() -> tuple[Tensor, Tensor]:
        x = generator.normal(shape, dtype=alpha.dtype)
        root = 1 + c * x
        positive = less(0, root)
        root = where(positive, root, 1.0)
        v = root * root * root
        threshold = 0.5 * x * x + d * (1 - v + log(v))
        return d * v, positive & less(0.0, generator.exponential(shape, dtype=alpha.dtype) + threshold)
    return first_accepted(propose, GAMMA_ROUNDS)


def _implicit(x: Tensor, alpha: Tensor) -> Tensor:
    """`x` with the derivative dx / dalpha = -(dF(x; alpha) / dalpha) / p(x; alpha), at fixed quantile."""
    return custom_gradient(stop_gradient(x), (alpha,), lambda g, y, alpha: (g * gamma_sensitivity(y, alpha),))


NODES, WEIGHTS = (np.asarray(part, float64) for part in np.polynomial.legendre.leggauss(40))
REACH = 38.0  # e^-38 of the integrand is left out


def gamma_sensitivity(x: Tensor, alpha: Tensor) -> Tensor:
    """dx / dalpha of a Gamma(alpha, 1) quantile, for alpha >= 1.

    dF/dalpha is the integral of (log t - digamma(alpha)) p(t) from 0 to x, or its negative from x upwards (the whole is
    0). With t = x e^(-s) below the mean and t = x e^s above, the integrand falls from s = 0 on: Gauss-Legendre, 40
    points.
    """
    x, alpha = stop_gradient(x), stop_gradient(alpha)
    sign = astype(where(less(x, alpha), -1.0, 1.0), x.dtype)
    reach = _reach(x, alpha, sign)
    column = lambda z: reshape(z, (*z.shape, 1))
    s = column(reach) * astype(as_tensor(0.5 * (NODES + 1)), x.dtype)
    tail = column(log(x) - digamma(alpha)) + column(sign) * s
    decay = exp(-_drop(s, column(x), column(alpha), column(sign)))
    total = sum(tail * decay * astype(as_tensor(0.5 * WEIGHTS), x.dtype), axis=-1) * reach
    return sign * x * total


def _drop(s: Tensor, x: Tensor, alpha: Tensor, sign: Tensor) -> Tensor:
    """log of the integrand at 0 over that at s: x (e^(±s) - 1) ∓ alpha s, convex in s and 0 at 0."""
    return x * expm1(sign * s) - sign * alpha * s


def _reach(x: Tensor, alpha: Tensor, sign: Tensor) -> Tensor:
    """s with drop(s) = 38: Newton's method from the right, where it cannot overshoot a convex function."""
    s = where(less(0, sign), minimum(sqrt(2 * REACH / x), log(1 + (REACH + alpha) / x) + 1.0), (REACH + x) / alpha)
    for _ in range(12):
        slope = sign * (x * exp(sign * s) - alpha)
        s = s - (_drop(s, x, alpha, sign) - REACH) / slope
    return s


# ---- Poisson

def poisson(rate: Tensor, shape: Shape, generator: random.Generator) -> Tensor:
    """Poisson counts (int64): a table for rates below 10, transformed rejection (PTRS) above."""
    only_small = rate.node.data is not None and bool((rate.node.data < SMALL_RATE).all())
    generator, rate = child(generator), stop_gradient(rate)
    small = less(rate, SMALL_RATE)
    k = as_tensor(np.arange(float(SMALL_COUNTS)))
    low = astype(reshape(where(small, rate, 1.0), (*rate.shape, 1)), float64)
    pmf = exp(where(less(0, k), k * log(maximum(low, 1e-300)), 0.0) - low - lgamma(k + 1))
    drawn = from_table(pmf, shape, generator)
    if only_small:
        return drawn
    return where(broadcast_to(small, shape), drawn, _ptrs(where(small, SMALL_RATE, rate), shape, generator))


def _ptrs(rate: Tensor, shape: Shape, generator: random.Generator) -> Tensor:
    """Hoermann's PTRS for rate >= 10, in float64."""
    mu = broadcast_to(astype(rate, float64), shape)
    b = 0.931 + 2.53 * sqrt(mu)
    a = 0.02483 * b - 0.059
    alpha, limit = 1.1239 + 1.1328 / (b - 3.4), 0.9277 - 3.6224 / (b - 2)

    def propose() -> tuple[Tensor, Tensor]:
        u, v = generator.uniform(shape, dtype=float64) - 0.5, generator.uniform(shape, dtype=float64)
        us = 0.5 - abs(u)
        k = floor((2 * a / us + b) * u + mu + 0.43)
        valid = less(-0.5, k) & less(0.0, us)
        kept = where(valid, k, 0.0)
        bound = log(v * alpha / (a / (us * us) + b))
        sure = less(0.07, us) & less(v, limit)
        outside = logical_not(valid) | (less(us, 0.013) & less(us, v))
        return kept, sure & valid | logical_not(outside) & less(bound, kept * log(mu) - mu - lgamma(kept + 1))
    return astype(first_accepted(propose, POISSON_ROUNDS), int64)


# ---- tables

def from_table(pmf: Tensor, shape: Shape, generator: random.Generator) -> Tensor:
    """Indices (int64) of `shape` with probabilities pmf (*batch, n): the inverse of the cumulated sum, by bisection."""
    cumulated = cumulative_sum(astype(pmf, float64), axis=-1)
    count = cumulated.shape[-1]
    u = multiply(generator.uniform(shape, dtype=float64), broadcast_to(cumulated[..., -1], shape))
    return _bisect(cumulated, u, count)


def _bisect(cumulated: Tensor, u: Tensor, count: int) -> Tensor:
    """The number of entries that are <= u along the last axis of (*batch, n), for u of shape (*lead, *batch)."""
    low, high = zeros_like(u, dtype=int64), zeros_like(u, dtype=int64) + (count - 1)
    for _ in range(max(count - 1, 1).bit_length()):
        middle = (low + high) // 2
        entry = _look_up(cumulated, middle)
        right = less(u, entry)
        low, high = where(right, low, minimum(middle + 1, high)), where(right, middle, high)
    return low


def _look_up(table: Tensor, index: Tensor) -> Tensor:
    """table[..., index] for a table (*batch, n) and indices (*lead, *batch)."""
    *batch, count = table.shape
    rows = np.arange(math.prod(batch)).reshape(batch) * count
    return reshape(take(reshape(table, (table.size,)), reshape(index + rows, (index.size,)), axis=0), index.shape)
