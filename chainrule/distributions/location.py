# SPDX-License-Identifier: Apache-2.0
"""Distributions with a location and a scale: Normal, MultivariateNormal, Laplace, StudentT, Uniform.

All samples are a differentiable function of the parameters (x = location + scale * noise); the noise of StudentT is
itself differentiable with respect to the degrees of freedom.
"""

from __future__ import annotations

import math

from .. import linalg, random
from ..errors import ArgumentError, ShapeError, explain
from ..ir.node import Shape
from ..ir.tensor import Tensor
from ..ops.broadcast import broadcast_to
from ..ops.compose import clip, matmul, matrix_transpose, square
from ..ops.control import custom_gradient
from ..ops.elementwise import abs, astype, exp, expm1, less, log, log1p, sign, sqrt, where
from ..ops.movement import permute_dims, reshape
from ..ops.reduce import sum
from ..ops.types import broadcast_shapes
from ..typing import ArrayLike, DTypeLike
from .base import Distribution, beyond, by_scipy, impossible_where, in_float64, scipy_special
from .sampling import child, standard_gamma
from .special import digamma, erfc, lbeta

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Normal(Distribution):
    """Normal (Gaussian) distribution: p(x) = exp(-(x - mean)^2 / 2 std^2) / (std sqrt(2 pi)).

    >>> d = cr.distributions.Normal(0.0, 1.0)
    >>> d.log_prob(0.0), d.cdf(1.96)
    (Tensor(-0.9189385, dtype=float32), Tensor(0.9750021, dtype=float32))
    >>> d.sample((3,), generator=0).shape
    (3,)
    """

    reparameterized = True

    def __init__(self, mean: ArrayLike = 0.0, std: ArrayLike = 1.0, *, dtype: DTypeLike | None = None):
        self.location, self.scale = self._parameters(mean, std, dtype=dtype)
        self._positive(std=self.scale)

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        return self.location + self.scale * generator.normal(shape, dtype=self.dtype)

    def log_prob(self, value: ArrayLike) -> Tensor:
        """-z^2 / 2 - log(std) - log(2 pi) / 2 with z = (x - mean) / std."""
        z = (self._value(value) - self.location) / self.scale
        return -0.5 * z * z - log(self.scale) - HALF_LOG_TWO_PI

    @in_float64
    def cdf(self, value: ArrayLike) -> Tensor:
        """erfc(-z / sqrt 2) / 2, with all digits far below the mean."""
        return 0.5 * erfc((self.location - self._value(value)) / self.scale * math.sqrt(0.5))

    @property
    def mean(self) -> Tensor:
        return self._spread(self.location)

    @property
    def variance(self) -> Tensor:
        return self._spread(square(self.scale))

    def entropy(self) -> Tensor:
        """log(std sqrt(2 pi e))."""
        return self._spread(log(self.scale) + (0.5 + HALF_LOG_TWO_PI))

    def _kl(self, other: Normal) -> Tensor:
        ratio = square(self.scale / other.scale)
        return 0.5 * (ratio + square((self.location - other.location) / other.scale) - 1 - log(ratio))


class MultivariateNormal(Distribution):
    """Normal distribution of vectors (d,) with a full covariance L L^T.

    Args:
        mean: (..., d).
        covariance: (..., d, d), symmetric positive definite; LinAlgError if it is not.
        scale_tril: L (..., d, d), lower triangular, instead of the covariance.

    >>> d = cr.distributions.MultivariateNormal([0.0, 0.0], [[2.0, 0.5], [0.5, 1.0]])
    >>> d.log_prob([0.0, 0.0]), d.sample((5,), generator=0).shape
    (Tensor(-2.1176848, dtype=float32), (5, 2))
    """

    reparameterized = True

    def __init__(self, mean: ArrayLike, covariance: ArrayLike | None = None, *, scale_tril: ArrayLike | None = None,
                 dtype: DTypeLike | None = None):
        if (covariance is None) == (scale_tril is None):
            raise ArgumentError(explain("MultivariateNormal needs a covariance or a scale_tril, one of them"))
        self.location, matrix = self._parameters(mean, covariance if scale_tril is None else scale_tril, dtype=dtype,
                                                 event=1)
        d = self.location.shape[-1] if self.location.ndim else 0
        if matrix.ndim < 2 or matrix.shape[-2:] != (d, d):
            raise ShapeError(explain("mean and covariance do not fit together",
                                     got=f"{self.location.shape} and {matrix.shape}",
                                     expected="(..., d) and (..., d, d)"))
        self.scale_tril = linalg.cholesky(matrix) if scale_tril is None else matrix
        self.event_shape = (d,)
        self.batch_shape = broadcast_shapes(self.location.shape[:-1], matrix.shape[:-2])

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        z = generator.normal((*shape, *self.event_shape), dtype=self.dtype)
        if self.scale_tril.ndim == 2:
            return self.location + matmul(z, matrix_transpose(self.scale_tril))
        return self.location + reshape(matmul(self.scale_tril, reshape(z, (*z.shape, 1))), z.shape)

    def _whitened(self, difference: Tensor) -> Tensor:
        """L^-1 difference."""
        lower = astype(self.scale_tril, difference.dtype)
        if lower.ndim == 2:
            flat = (reshape(difference, (-1, lower.shape[-1])) if difference.size
                    else reshape(difference, (0, lower.shape[-1])))
            return reshape(permute_dims(linalg.solve(lower, permute_dims(flat, (1, 0))), (1, 0)), difference.shape)
        z = linalg.solve(lower, reshape(difference, (*difference.shape, 1)))
        return reshape(z, z.shape[:-1])

    def _log_volume(self) -> Tensor:
        """log det L."""
        return sum(log(abs(linalg.diagonal(self.scale_tril))), axis=-1)

    def log_prob(self, value: ArrayLike) -> Tensor:
        """-|L^-1 (x - mean)|^2 / 2 - log det L - d log(2 pi) / 2."""
        z = self._whitened(self._value(value) - self.location)
        return -0.5 * sum(z * z, axis=-1) - self._log_volume() - self.event_shape[0] * HALF_LOG_TWO_PI

    @property
    def mean(self) -> Tensor:
        return self._spread(self.location)

    @property
    def covariance(self) -> Tensor:
        """L L^T, of shape (*batch, d, d)."""
        product = matmul(self.scale_tril, matrix_transpose(self.scale_tril))
        return broadcast_to(product, (*self.batch_shape, *self.event_shape, *self.event_shape))

    @property
    def variance(self) -> Tensor:
        return self._spread(sum(square(self.scale_tril), axis=-1))

    def entropy(self) -> Tensor:
        """log det L + d (1 + log 2 pi) / 2."""
        return broadcast_to(self._log_volume() + self.event_shape[0] * (0.5 + HALF_LOG_TWO_PI), self.batch_shape)

    def _kl(self, other: MultivariateNormal) -> Tensor:
        ratio = linalg.solve(other.scale_tril, self.scale_tril)
        z = other._whitened(self.location - other.location)
        distance = sum(square(ratio), axis=(-2, -1)) + sum(z * z, axis=-1) - self.event_shape[0]
        return 0.5 * distance + other._log_volume() - self._log_volume()


class Laplace(Distribution):
    """Laplace distribution: p(x) = exp(-|x - location| / scale) / (2 scale).

    >>> d = cr.distributions.Laplace(0.0, 1.0)
    >>> d.prob(0.0), d.std
    (Tensor(0.5, dtype=float32), Tensor(1.4142135, dtype=float32))
    """

    reparameterized = True

    def __init__(self, location: ArrayLike = 0.0, scale: ArrayLike = 1.0, *, dtype: DTypeLike | None = None):
        self.location, self.scale = self._parameters(location, scale, dtype=dtype)
        self._positive(scale=self.scale)

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        pair = generator.exponential((2, *shape), dtype=self.dtype)
        return self.location + self.scale * (pair[0] - pair[1])

    def log_prob(self, value: ArrayLike) -> Tensor:
        """-|x - location| / scale - log(2 scale)."""
        return -abs(self._value(value) - self.location) / self.scale - log(2 * self.scale)

    def cdf(self, value: ArrayLike) -> Tensor:
        """e^z / 2 for z < 0, else 1 - e^-z / 2."""
        z = (self._value(value) - self.location) / self.scale
        below = less(z, 0)
        return where(below, 0.5 * exp(where(below, z, 0.0)), 1 - 0.5 * exp(-where(below, 0.0, z)))

    @property
    def mean(self) -> Tensor:
        return self._spread(self.location)

    @property
    def variance(self) -> Tensor:
        return self._spread(2 * square(self.scale))

    def entropy(self) -> Tensor:
        """1 + log(2 scale)."""
        return self._spread(1 + log(2 * self.scale))

    def _kl(self, other: Laplace) -> Tensor:
        z = (self.location - other.location) / self.scale
        return log(other.scale / self.scale) + self.scale / other.scale * (_bowl(z) + 1) - 1


def _bowl(z: Tensor) -> Tensor:
    """|z| + e^-|z| - 1, which is smooth at 0 although |z| is not: the rule keeps its curvature there."""
    return custom_gradient(abs(z) + expm1(-abs(z)), (z,), lambda g, y, z: (g * _bowl_slope(z),))


def _bowl_slope(z: Tensor) -> Tensor:
    return custom_gradient(-sign(z) * expm1(-abs(z)), (z,), lambda g, y, z: (g * exp(-abs(z)),))


class StudentT(Distribution):
    """Student's t distribution with df degrees of freedom, moved by `location` and stretched by `scale`.

    p(x) = (1 + z^2 / df)^(-(df + 1) / 2) / (scale sqrt(df) B(df / 2, 1/2)). The mean is NaN for df <= 1, the variance
    infinite for df <= 2 (NaN for df <= 1).

    >>> d = cr.distributions.StudentT(df=4.0)
    >>> d.variance, d.cdf(0.0)
    (Tensor(2., dtype=float32), Tensor(0.5, dtype=float32))
    """

    reparameterized = True

    def __init__(self, df: ArrayLike, location: ArrayLike = 0.0, scale: ArrayLike = 1.0, *,
                 dtype: DTypeLike | None = None):
        self.df, self.location, self.scale = self._parameters(df, location, scale, dtype=dtype)
        self._positive(df=self.df, scale=self.scale)

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        own = child(generator)
        half = broadcast_to(0.5 * self.df, shape)
        return (self.location + self.scale * own.normal(shape, dtype=self.dtype)
                * sqrt(half / standard_gamma(half, shape, own)))

    def _log_norm(self) -> Tensor:
        return 0.5 * log(self.df) + lbeta(0.5 * self.df, 0.5) + log(self.scale)

    @in_float64
    def log_prob(self, value: ArrayLike) -> Tensor:
        """-(df + 1) / 2 log(1 + z^2 / df) - log(scale sqrt(df) B(df / 2, 1/2))."""
        z = (self._value(value) - self.location) / self.scale
        return -0.5 * (self.df + 1) * log1p(z * z / self.df) - self._log_norm()

    def cdf(self, value: ArrayLike) -> Tensor:
        """By SciPy, without gradient and outside compiled functions."""
        z = (self._value(value) - self.location) / self.scale
        return by_scipy("the cdf of StudentT", scipy_special("the cdf of StudentT").stdtr, self.df, z)

    @property
    def mean(self) -> Tensor:
        return self._spread(where(less(1, self.df), self.location, math.nan))

    @property
    def variance(self) -> Tensor:
        finite = less(2, self.df)
        value = square(self.scale) * where(finite, self.df / (where(finite, self.df, 3.0) - 2), math.inf)
        return self._spread(where(less(1, self.df), value, math.nan))

    @in_float64
    def entropy(self) -> Tensor:
        """(df + 1) / 2 (digamma((df + 1) / 2) - digamma(df / 2)) + log(scale sqrt(df) B(df / 2, 1/2))."""
        half = 0.5 * (self.df + 1)
        return self._spread(half * (digamma(half) - digamma(0.5 * self.df)) + self._log_norm())


class Uniform(Distribution):
    """Uniform distribution on [low, high].

    >>> d = cr.distributions.Uniform(0.0, 4.0)
    >>> d.mean, d.prob(1.0)
    (Tensor(2., dtype=float32), Tensor(0.25, dtype=float32))
    """

    reparameterized = True

    def __init__(self, low: ArrayLike = 0.0, high: ArrayLike = 1.0, *, dtype: DTypeLike | None = None):
        self.low, self.high = self._parameters(low, high, dtype=dtype)
        self._check("high - low", self.high - self.low, lambda x: x > 0, "low < high")

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        return generator.uniform(shape, self.low, self.high, dtype=self.dtype)

    def log_prob(self, value: ArrayLike) -> Tensor:
        """-log(high - low) within the interval."""
        x = self._value(value)
        return impossible_where(beyond(x, self.low, self.high), -log(self.high - self.low) + 0 * x)

    def cdf(self, value: ArrayLike) -> Tensor:
        """(x - low) / (high - low), limited to [0, 1]."""
        return clip((self._value(value) - self.low) / (self.high - self.low), 0.0, 1.0)

    @property
    def mean(self) -> Tensor:
        return self._spread(0.5 * (self.low + self.high))

    @property
    def variance(self) -> Tensor:
        return self._spread(square(self.high - self.low) / 12)

    def entropy(self) -> Tensor:
        """log(high - low)."""
        return self._spread(log(self.high - self.low))

    def _kl(self, other: Uniform) -> Tensor:
        missed = beyond(self.low, other.low, other.high) | beyond(self.high, other.low, other.high)
        return where(missed, math.inf, log((other.high - other.low) / (self.high - self.low)))


__all__ = ["Laplace", "MultivariateNormal", "Normal", "StudentT", "Uniform"]
