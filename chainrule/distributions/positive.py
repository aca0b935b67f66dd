# SPDX-License-Identifier: Apache-2.0
"""Distributions of positive numbers and of shares: Exponential, Gamma, Beta, Dirichlet.

Beta and Dirichlet samples are quotients of gamma samples, taken as logarithms so that tiny parameters do not give 0 /
0; all are differentiable with respect to the parameters.
"""

from __future__ import annotations

from .. import random
from ..errors import ShapeError, explain
from ..ir.node import Shape
from ..ir.tensor import Tensor
from ..ops.compose import sigmoid, softmax, square
from ..ops.elementwise import abs, expm1, less, log, maximum, minimum, where
from ..ops.movement import reshape
from ..ops.reduce import any, sum
from ..typing import ArrayLike, DTypeLike
from .base import Distribution, beyond, by_scipy, impossible_where, in_float64, scipy_special
from .sampling import child, log_gamma_draw, standard_gamma
from .special import digamma, lbeta, lgamma, xlog1py, xlogy


class Exponential(Distribution):
    """Exponential distribution: p(x) = rate e^(-rate x) for x >= 0; its mean is 1 / rate.

    >>> d = cr.distributions.Exponential(rate=2.0)
    >>> d.mean, d.cdf(1.0)
    (Tensor(0.5, dtype=float32), Tensor(0.86466473, dtype=float32))
    """

    reparameterized = True

    def __init__(self, rate: ArrayLike = 1.0, *, dtype: DTypeLike | None = None):
        (self.rate,) = self._parameters(rate, dtype=dtype)
        self._positive(rate=self.rate)

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        return generator.exponential(shape, dtype=self.dtype) / self.rate

    def log_prob(self, value: ArrayLike) -> Tensor:
        """log(rate) - rate x."""
        x = self._value(value)
        return impossible_where(less(x, 0), log(self.rate) - self.rate * x)

    def cdf(self, value: ArrayLike) -> Tensor:
        """1 - e^(-rate x)."""
        return -expm1(-self.rate * maximum(self._value(value), 0))

    @property
    def mean(self) -> Tensor:
        return 1 / self.rate

    @property
    def variance(self) -> Tensor:
        return 1 / square(self.rate)

    def entropy(self) -> Tensor:
        """1 - log(rate)."""
        return 1 - log(self.rate)

    def _kl(self, other: Exponential) -> Tensor:
        ratio = other.rate / self.rate
        return ratio - 1 - log(ratio)


class Gamma(Distribution):
    """Gamma distribution: p(x) = rate^alpha x^(alpha - 1) e^(-rate x) / Gamma(alpha) for x > 0, with alpha =
    `concentration`.

    Samples by Marsaglia and Tsang; `rsample` is differentiable to first order (implicit reparameterisation).

    >>> d = cr.distributions.Gamma(3.0, rate=2.0)
    >>> d.mean, d.variance
    (Tensor(1.5, dtype=float32), Tensor(0.75, dtype=float32))
    """

    reparameterized = True

    def __init__(self, concentration: ArrayLike, rate: ArrayLike = 1.0, *, dtype: DTypeLike | None = None):
        self.concentration, self.rate = self._parameters(concentration, rate, dtype=dtype)
        self._positive(concentration=self.concentration, rate=self.rate)

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        return standard_gamma(self.concentration, shape, generator) / self.rate

    @in_float64
    def log_prob(self, value: ArrayLike) -> Tensor:
        """alpha log(rate) + (alpha - 1) log(x) - rate x - log Gamma(alpha)."""
        x = self._value(value)
        outside = less(x, 0)
        safe = where(outside, 1.0, x)
        a = self.concentration
        value = xlogy(a, self.rate) + xlogy(a - 1, safe) - self.rate * safe - lgamma(a)
        return impossible_where(outside, value)

    def cdf(self, value: ArrayLike) -> Tensor:
        """By SciPy, without gradient and outside compiled functions."""
        function = scipy_special("the cdf of Gamma").gammainc
        return by_scipy("the cdf of Gamma", function, self.concentration, maximum(self.rate * self._value(value), 0))

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def variance(self) -> Tensor:
        return self.concentration / square(self.rate)

    @in_float64
    def entropy(self) -> Tensor:
        """alpha - log(rate) + log Gamma(alpha) + (1 - alpha) digamma(alpha)."""
        a = self.concentration
        return a - log(self.rate) + lgamma(a) + (1 - a) * digamma(a)

    @in_float64
    def _kl(self, other: Gamma) -> Tensor:
        a, b = self.concentration, other.concentration
        ratio = other.rate / self.rate
        return (a - b) * digamma(a) - lgamma(a) + lgamma(b) - b * log(ratio) + a * (ratio - 1)


class Beta(Distribution):
    """Beta distribution on [0, 1]: p(x) = x^(alpha - 1) (1 - x)^(beta - 1) / B(alpha, beta).

    >>> d = cr.distributions.Beta(2.0, 3.0)
    >>> d.mean, d.prob(0.5)
    (Tensor(0.4, dtype=float32), Tensor(1.5, dtype=float32))
    """

    reparameterized = True

    def __init__(self, alpha: ArrayLike, beta: ArrayLike, *, dtype: DTypeLike | None = None):
        self.alpha, self.beta = self._parameters(alpha, beta, dtype=dtype)
        self._positive(alpha=self.alpha, beta=self.beta)

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        own = child(generator)
        first, second = log_gamma_draw(self.alpha, shape, own), log_gamma_draw(self.beta, shape, own)
        return sigmoid(first - second)

    @in_float64
    def log_prob(self, value: ArrayLike) -> Tensor:
        """(alpha - 1) log(x) + (beta - 1) log(1 - x) - log B(alpha, beta)."""
        x = self._value(value)
        outside = beyond(x, 0, 1)
        safe = where(outside, 0.5, x)
        return impossible_where(outside, xlogy(self.alpha - 1, safe) + xlog1py(self.beta - 1, -safe)
                                - lbeta(self.alpha, self.beta))

    def cdf(self, value: ArrayLike) -> Tensor:
        """By SciPy, without gradient and outside compiled functions."""
        function = scipy_special("the cdf of Beta").betainc
        return by_scipy("the cdf of Beta", function, self.alpha, self.beta, minimum(maximum(self._value(value), 0), 1))

    @property
    def mean(self) -> Tensor:
        return self.alpha / (self.alpha + self.beta)

    @property
    def variance(self) -> Tensor:
        total = self.alpha + self.beta
        return self.alpha * self.beta / (square(total) * (total + 1))

    @in_float64
    def entropy(self) -> Tensor:
        """log B - (alpha - 1) digamma(alpha) - (beta - 1) digamma(beta) + (alpha + beta - 2) digamma(alpha + beta)."""
        a, b = self.alpha, self.beta
        return lbeta(a, b) - (a - 1) * digamma(a) - (b - 1) * digamma(b) + (a + b - 2) * digamma(a + b)

    @in_float64
    def _kl(self, other: Beta) -> Tensor:
        a, b, c, d = self.alpha, self.beta, other.alpha, other.beta
        return (lbeta(c, d) - lbeta(a, b) + (a - c) * digamma(a) + (b - d) * digamma(b) + (c - a + d - b)
                * digamma(a + b))


class Dirichlet(Distribution):
    """Dirichlet distribution of shares x (k,) that sum to 1: p(x) = prod x_i^(alpha_i - 1) / B(alpha).

    Args:
        concentration: alpha (..., k).

    >>> d = cr.distributions.Dirichlet([1.0, 2.0, 3.0])
    >>> d.mean
    Tensor([0.16666667, 0.33333334, 0.5       ], dtype=float32)
    """

    reparameterized = True

    def __init__(self, concentration: ArrayLike, *, dtype: DTypeLike | None = None):
        (self.concentration,) = self._parameters(concentration, dtype=dtype, event=1)
        if not self.concentration.ndim:
            raise ShapeError(explain("Dirichlet needs one concentration per class", got="a number",
                                     expected="(..., classes)"))
        self._positive(concentration=self.concentration)
        *batch, k = self.concentration.shape
        self.batch_shape, self.event_shape = tuple(batch), (k,)

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        return softmax(log_gamma_draw(self.concentration, (*shape, *self.event_shape), generator))

    def _log_norm(self) -> Tensor:
        """log B(alpha) = sum log Gamma(alpha_i) - log Gamma(sum alpha_i)."""
        return sum(lgamma(self.concentration), axis=-1) - lgamma(self._total())

    def _total(self) -> Tensor:
        return sum(self.concentration, axis=-1)

    @in_float64
    def log_prob(self, value: ArrayLike) -> Tensor:
        """sum (alpha_i - 1) log(x_i) - log B(alpha); -inf unless the shares sum to 1 (to 1e-3 in float32, 1e-6 in
        float64)."""
        x = self._value(value)
        outside = any(less(x, 0), axis=-1) | less(1e-6 if x.dtype.itemsize == 8 else 1e-3, abs(sum(x, axis=-1) - 1))
        safe = where(less(x, 0), 0.5, x)
        return impossible_where(outside, sum(xlogy(self.concentration - 1, safe), axis=-1) - self._log_norm())

    @property
    def mean(self) -> Tensor:
        return self.concentration / sum(self.concentration, axis=-1, keepdims=True)

    @property
    def variance(self) -> Tensor:
        mean = self.mean
        return mean * (1 - mean) / (sum(self.concentration, axis=-1, keepdims=True) + 1)

    @in_float64
    def entropy(self) -> Tensor:
        """log B(alpha) + (alpha_0 - k) digamma(alpha_0) - sum (alpha_i - 1) digamma(alpha_i), alpha_0 their sum."""
        total = self._total()
        rest = sum((self.concentration - 1) * digamma(self.concentration), axis=-1)
        return self._log_norm() + (total - self.event_shape[0]) * digamma(total) - rest

    @in_float64
    def _kl(self, other: Dirichlet) -> Tensor:
        centred = digamma(self.concentration) - reshape(digamma(self._total()), (*self.batch_shape, 1))
        return other._log_norm() - self._log_norm() + sum((self.concentration - other.concentration) * centred, axis=-1)


__all__ = ["Beta", "Dirichlet", "Exponential", "Gamma"]
