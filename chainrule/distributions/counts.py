# SPDX-License-Identifier: Apache-2.0
"""Distributions of whole numbers: Bernoulli, Binomial, Poisson, Categorical, Multinomial.

Those of chances take probabilities or logits; log probabilities are computed from what was given, so that p = 0 and
p = 1 are exact and extreme logits do not overflow. Samples are int64 and pass no gradient.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import random
from ..errors import ArgumentError, ShapeError, TraceError, explain
from ..ir.bind import as_tensor
from ..ir.dtype import float64, int64
from ..ir.node import Shape
from ..ir.tensor import Tensor
from ..ops.broadcast import broadcast_to
from ..ops.compose import clip, log_softmax, logical_not, sigmoid, softmax, softplus, stack
from ..ops.elementwise import astype, equal, exp, floor, less, less_equal, log, log1p, where, zeros_like
from ..ops.index import iota, take, take_along_axis
from ..ops.movement import reshape
from ..ops.reduce import any, cumulative_sum, sum
from ..ops.types import broadcast_shapes
from ..typing import ArrayLike, DTypeLike
from .base import Distribution, by_scipy, impossible_where, in_float64, scipy_special
from .sampling import from_table
from .sampling import poisson as draw_poisson
from .special import lgamma, log_choose, no_count, xlog1py, xlogy


def _one_of(name: str, probabilities: Any, logits: Any) -> bool:
    """Whether logits were given."""
    if (probabilities is None) == (logits is None):
        raise ArgumentError(explain(f"{name} needs probabilities or logits, one of them",
                                    got="both" if logits is not None else "neither",
                                    fix=f"{name}(0.3) or {name}(logits=x)"))
    return logits is not None


class _Chance(Distribution):
    """What Bernoulli and Binomial share: a chance p per trial, given as probability or as logit log(p / (1 - p))."""

    discrete = True

    def _chance(self, given: Tensor, by_logits: bool) -> None:
        self._given, self._by_logits = given, by_logits
        if not by_logits:
            self._check("probabilities", given, lambda p: (p >= 0) & (p <= 1), "0 <= p <= 1")

    @property
    def probabilities(self) -> Tensor:
        """The chance of a success."""
        return sigmoid(self._given) if self._by_logits else self._given

    @property
    def logits(self) -> Tensor:
        """log(p / (1 - p))."""
        return self._given if self._by_logits else log(self._given) - log1p(-self._given)

    def _failure(self) -> Tensor:
        """1 - p, without cancellation for large logits."""
        return sigmoid(-self._given) if self._by_logits else 1 - self._given

    def _log_trials(self, successes: Any, failures: Any) -> Tensor:
        """successes log p + failures log(1 - p), 0 log 0 = 0."""
        p = self._given
        if not self._by_logits:
            return xlogy(successes, p) + xlog1py(failures, -p)
        weighted = lambda n, loss: where(equal(n, 0), zeros_like(loss * n), -n * loss)
        return weighted(successes, softplus(-p)) + weighted(failures, softplus(p))

    def _trial_entropy(self) -> Tensor:
        return -self._log_trials(self.probabilities, self._failure())

    def _trial_kl(self, other: _Chance) -> Tensor:
        p, q = self.probabilities, self._failure()
        return self._log_trials(p, q) - other._log_trials(p, q)


class Bernoulli(_Chance):
    """1 with probability p, else 0. `Bernoulli(0.3)` or `Bernoulli(logits=x)`; its log_prob is minus the binary
    cross-entropy.

    >>> d = cr.distributions.Bernoulli(0.3)
    >>> d.mean, d.prob(1)
    (Tensor(0.3, dtype=float32), Tensor(0.29999998, dtype=float32))
    """

    def __init__(self, probabilities: ArrayLike | None = None, *, logits: ArrayLike | None = None,
                 dtype: DTypeLike | None = None):
        by_logits = _one_of("Bernoulli", probabilities, logits)
        self._chance(self._parameters(logits if by_logits else probabilities, dtype=dtype)[0], by_logits)

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        return astype(generator.bernoulli(self.probabilities, shape), int64)

    def log_prob(self, value: ArrayLike) -> Tensor:
        """x log p + (1 - x) log(1 - p) for x = 0 or 1."""
        x = self._value(value)
        return impossible_where(no_count(x) | less(1, x), self._log_trials(x, 1 - x))

    def cdf(self, value: ArrayLike) -> Tensor:
        """0 below 0, 1 - p in [0, 1), 1 from 1 on."""
        x = self._value(value)
        return where(less(x, 0), 0.0, where(less(x, 1), self._failure(), 1.0 + 0 * x))

    @property
    def mean(self) -> Tensor:
        return self.probabilities

    @property
    def variance(self) -> Tensor:
        return self.probabilities * self._failure()

    def entropy(self) -> Tensor:
        """-p log p - (1 - p) log(1 - p)."""
        return self._trial_entropy()

    def _kl(self, other: Bernoulli) -> Tensor:
        return self._trial_kl(other)


class Binomial(_Chance):
    """The number of successes in `trials` independent trials: P(k) = n! / (k! (n - k)!) p^k (1 - p)^(n - k).

    Args:
        trials: a whole number, or an array of them (known when a function is compiled).

    >>> d = cr.distributions.Binomial(10, 0.5)
    >>> d.mean, d.prob(5)
    (Tensor(5., dtype=float32), Tensor(0.24609375, dtype=float32))
    """

    def __init__(self, trials: ArrayLike, probabilities: ArrayLike | None = None, *, logits: ArrayLike | None = None,
                 dtype: DTypeLike | None = None):
        by_logits = _one_of("Binomial", probabilities, logits)
        (given,) = self._parameters(logits if by_logits else probabilities, dtype=dtype)
        self._chance(given, by_logits)
        counts = as_tensor(trials)
        if counts.node.data is None:
            raise TraceError(explain("the number of trials of Binomial must be known",
                                     got="a tensor of the function that is being compiled",
                                     fix="pass a Python number or a NumPy array"))
        self.count = counts.numpy()
        if np.any(self.count < 0) or np.any(self.count != np.floor(self.count)):
            raise ArgumentError(explain("Binomial: trials is a whole number, 0 or more", got=str(trials)))
        self.trials = astype(counts, self.dtype)
        self.batch_shape = broadcast_shapes(given.shape, counts.shape)

    def _support(self) -> Tensor:
        """0, 1, ..., the largest number of trials, float64."""
        return as_tensor(np.arange(int(self.count.max(initial=0)) + 1, dtype=float64))

    def _table(self) -> Tensor:
        """log P(k), (*batch, n + 1), in float64."""
        chance = astype(reshape(self._given, (*self._given.shape, 1)), float64)
        trials = self.count[..., None] if self.count.ndim else self.count
        other = Binomial(trials, **{"logits" if self._by_logits else "probabilities": chance})
        return broadcast_to(other.log_prob(self._support()), (*self.batch_shape, self._support().size))

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        return from_table(exp(self._table()), shape, generator)

    @in_float64
    def log_prob(self, value: ArrayLike) -> Tensor:
        """log(n! / (k! (n - k)!)) + k log p + (n - k) log(1 - p)."""
        k = self._value(value)
        outside = no_count(k) | less(self.trials, k)
        k = where(outside, 0.0, k)
        return impossible_where(outside, log_choose(self.trials, k) + self._log_trials(k, self.trials - k))

    def cdf(self, value: ArrayLike) -> Tensor:
        """By SciPy, without gradient and outside compiled functions."""
        function = scipy_special("the cdf of Binomial").betainc

        def cdf(k: np.ndarray, n: np.ndarray, q: np.ndarray) -> np.ndarray:
            k = np.floor(k)
            inner = (k >= 0) & (k < n)
            within = function(np.where(inner, n - k, 1), np.where(inner, k + 1, 1), q)
            return np.where(inner, within, np.where(np.isnan(k), np.nan, k >= 0))
        return by_scipy("the cdf of Binomial", cdf, self._value(value), self.trials, self._widened()._failure())

    @property
    def mean(self) -> Tensor:
        return self.trials * self.probabilities

    @property
    def variance(self) -> Tensor:
        return self.trials * self.probabilities * self._failure()

    def entropy(self) -> Tensor:
        """-sum P(k) log P(k) over k = 0, ..., n."""
        return astype(_entropy_of(self._table()), self.dtype)

    def _kl(self, other: Binomial) -> Tensor:
        if not np.array_equal(*np.broadcast_arrays(self.count, other.count)):
            raise ArgumentError(explain("the divergence of two Binomials needs equal trials",
                                        got=f"{self.count} and {other.count}"))
        return self.trials * self._trial_kl(other)


def _entropy_of(log_p: Tensor) -> Tensor:
    """-sum p log p along the last axis."""
    impossible = equal(log_p, -math.inf)
    safe = where(impossible, 0.0, log_p)
    return -sum(where(impossible, 0.0, exp(safe) * safe), axis=-1)


class Poisson(Distribution):
    """Poisson distribution of counts: P(k) = rate^k e^(-rate) / k!.

    >>> d = cr.distributions.Poisson(3.0)
    >>> d.prob([0, 3])
    Tensor([0.04978707, 0.22404182], dtype=float32)
    """

    discrete = True
    LARGE = 100.0

    def __init__(self, rate: ArrayLike, *, dtype: DTypeLike | None = None):
        (self.rate,) = self._parameters(rate, dtype=dtype)
        self._check("rate", self.rate, lambda x: x >= 0, "rate >= 0")

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        return draw_poisson(self.rate, shape, generator)

    @in_float64
    def log_prob(self, value: ArrayLike) -> Tensor:
        """k log(rate) - rate - log k!."""
        k = self._value(value)
        outside = no_count(k)
        k = where(outside, 0.0, k)
        return impossible_where(outside, xlogy(k, self.rate) - self.rate - lgamma(k + 1))

    def cdf(self, value: ArrayLike) -> Tensor:
        """By SciPy, without gradient and outside compiled functions."""
        function = scipy_special("the cdf of Poisson").gammaincc
        cdf = lambda k, rate: np.where(k < 0, 0.0, function(np.maximum(np.floor(k), 0) + 1, rate))
        return by_scipy("the cdf of Poisson", cdf, self._value(value), self.rate)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def variance(self) -> Tensor:
        return self.rate

    def entropy(self) -> Tensor:
        """The sum over k = 0, ..., 255 for rates up to 100; above, the asymptotic series to rate^-3 (error below 1e-8).

        log(2 pi e rate) / 2 - 1 / (12 rate) - 1 / (24 rate^2) - 19 / (360 rate^3); Evans and Boersma, SIAM Review 30
        (1988).
        """
        large = less(self.LARGE, self.rate)
        low = astype(reshape(where(large, 1.0, self.rate), (*self.rate.shape, 1)), float64)
        table = Poisson(low).log_prob(np.arange(256.0))
        t = 1 / where(large, self.rate, self.LARGE)
        series = 0.5 * log(2 * math.pi * math.e / t) - t * (1 / 12 + t * (1 / 24 + t * (19 / 360)))
        return where(large, series, astype(_entropy_of(table), self.dtype))

    @in_float64
    def _kl(self, other: Poisson) -> Tensor:
        return xlogy(self.rate, self.rate) - xlogy(self.rate, other.rate) - self.rate + other.rate


class _Classes(Distribution):
    """What Categorical and Multinomial share: one chance per class, along the last axis."""

    discrete = True

    def _chances(self, name: str, probabilities: Any, logits: Any, dtype: Any) -> None:
        self._by_logits = _one_of(name, probabilities, logits)
        (given,) = self._parameters(logits if self._by_logits else probabilities, dtype=dtype, event=1)
        if not given.ndim:
            raise ShapeError(explain(f"{name} needs one chance per class", got="a number", expected="(..., classes)"))
        if not self._by_logits:
            self._check("probabilities", given, lambda p: p >= 0, "shares that sum to 1")
            total = sum(given, axis=-1, keepdims=True)
            self._check("the sum of probabilities", total, lambda x: np.abs(x - 1) < 1e-3, "1 along the last axis")
            given = given / total
        self._given = given
        self.classes = given.shape[-1]
        self.batch_shape = given.shape[:-1]

    @property
    def probabilities(self) -> Tensor:
        """The chance of each class, (*batch, classes)."""
        return softmax(self._given) if self._by_logits else self._given

    @property
    def logits(self) -> Tensor:
        """log of the chance of each class."""
        return log_softmax(self._given) if self._by_logits else log(self._given)

    def _log_trials(self, counts: Tensor) -> Tensor:
        """sum of counts log p along the last axis, 0 log 0 = 0."""
        if not self._by_logits:
            return sum(xlogy(counts, self._given), axis=-1)
        return sum(where(equal(counts, 0), 0.0, counts * self.logits), axis=-1)

    def _trial_entropy(self) -> Tensor:
        return -self._log_trials(self.probabilities)

    def _trial_kl(self, other: _Classes) -> Tensor:
        if self.classes != other.classes:
            raise ShapeError(explain("two distributions over different numbers of classes",
                                     got=f"{self.classes} and {other.classes}"))
        return self._log_trials(self.probabilities) - other._log_trials(self.probabilities)


class Categorical(_Classes):
    """Class i = 0, ..., k - 1 with probability p_i. `Categorical(p)` or `Categorical(logits=x)`; log_prob is minus the
    cross-entropy.

    Sampling: from logits by Gumbel noise and the largest, from probabilities by the inverse of the cumulated sum.

    >>> d = cr.distributions.Categorical([0.2, 0.3, 0.5])
    >>> d.prob(2), d.sample((4,), generator=0).shape
    (Tensor(0.5, dtype=float32), (4,))
    """

    def __init__(self, probabilities: ArrayLike | None = None, *, logits: ArrayLike | None = None,
                 dtype: DTypeLike | None = None):
        self._chances("Categorical", probabilities, logits, dtype)

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        if self._by_logits:
            return generator.categorical(self._given, shape)
        return from_table(self._given, shape, generator)

    def log_prob(self, value: ArrayLike) -> Tensor:
        """log p[value]; -inf for what is no class."""
        x = self._value(value)
        outside = no_count(x) | logical_not(less_equal(x, self.classes - 1))
        index = astype(where(outside, 0.0, x), int64)
        shape = broadcast_shapes(index.shape, self.batch_shape)
        return impossible_where(broadcast_to(outside, shape), self._entry(self.logits, index, shape))

    def _entry(self, table: Tensor, index: Tensor, shape: Shape) -> Tensor:
        if table.ndim == 1:  # one distribution and many values: nothing has to be repeated
            return reshape(take(table, reshape(index, (index.size,))), shape)
        found = take_along_axis(broadcast_to(table, (*shape, self.classes)),
                                reshape(broadcast_to(index, shape), (*shape, 1)), axis=-1)
        return reshape(found, shape)

    def cdf(self, value: ArrayLike) -> Tensor:
        """The sum of the chances of the classes up to `value`."""
        x = self._value(value)
        index = astype(clip(floor(x), 0, self.classes - 1), int64)
        shape = broadcast_shapes(index.shape, self.batch_shape)
        return where(less(x, 0), 0.0, self._entry(cumulative_sum(self.probabilities, axis=-1), index, shape))

    @property
    def mean(self) -> Tensor:
        """sum of i p_i."""
        return sum(self.probabilities * self._labels(), axis=-1)

    @property
    def variance(self) -> Tensor:
        centred = self._labels() - reshape(self.mean, (*self.batch_shape, 1))
        return sum(self.probabilities * centred * centred, axis=-1)

    def _labels(self) -> Tensor:
        return iota((self.classes,), 0, self.dtype)

    def entropy(self) -> Tensor:
        """-sum p_i log p_i."""
        return self._trial_entropy()

    def _kl(self, other: Categorical) -> Tensor:
        return self._trial_kl(other)


class Multinomial(_Classes):
    """How often each of k classes came up in `trials` independent draws: P(x) = n! / (x_1! ... x_k!) prod p_i^x_i.

    Sampling draws every trial: memory for `trials` labels per sample.

    >>> d = cr.distributions.Multinomial(4, [0.5, 0.25, 0.25])
    >>> d.mean, d.prob([2, 1, 1])
    (Tensor([2., 1., 1.], dtype=float32), Tensor(0.1875, dtype=float32))
    """

    def __init__(self, trials: int, probabilities: ArrayLike | None = None, *, logits: ArrayLike | None = None,
                 dtype: DTypeLike | None = None):
        self._chances("Multinomial", probabilities, logits, dtype)
        if not isinstance(trials, int | np.integer) or trials < 0:
            raise ArgumentError(explain("Multinomial: trials is a whole number, 0 or more", got=repr(trials)))
        self.trials, self.event_shape = int(trials), (self.classes,)

    def _draw(self, shape: Shape, generator: random.Generator) -> Tensor:
        labels = from_table(self.probabilities, (self.trials, *shape), generator)
        ones = [sum(astype(equal(labels, i), int64), axis=0) for i in range(self.classes)]
        return stack(ones, axis=-1)

    @in_float64
    def log_prob(self, value: ArrayLike) -> Tensor:
        """log n! - sum log x_i! + sum x_i log p_i; -inf unless the counts sum to n."""
        x = self._value(value)
        bad = no_count(x)
        outside = any(bad, axis=-1) | logical_not(equal(sum(x, axis=-1), self.trials))
        x = where(bad, 0.0, x)
        ways = math.lgamma(self.trials + 1) - sum(lgamma(x + 1), axis=-1)
        return impossible_where(outside, ways + self._log_trials(x))

    @property
    def mean(self) -> Tensor:
        return self.trials * self.probabilities

    @property
    def variance(self) -> Tensor:
        p = self.probabilities
        return self.trials * p * (1 - p)

    @in_float64
    def entropy(self) -> Tensor:
        """n H(p) - log n! + sum_i E[log X_i!], each X_i being binomial."""
        p = self.probabilities
        marginal = Binomial(self.trials, p)
        table = exp(marginal._table())
        factorials = lgamma(marginal._support() + 1)
        expected = sum(sum(table * factorials, axis=-1), axis=-1)
        return self.trials * self._trial_entropy() - math.lgamma(self.trials + 1) + astype(expected, self.dtype)

    def _kl(self, other: Multinomial) -> Tensor:
        if self.trials != other.trials:
            raise ArgumentError(explain("the divergence of two Multinomials needs equal trials",
                                        got=f"{self.trials} and {other.trials}"))
        return self.trials * self._trial_kl(other)


__all__ = ["Bernoulli", "Binomial", "Categorical", "Multinomial", "Poisson"]
