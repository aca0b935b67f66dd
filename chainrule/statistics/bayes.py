# SPDX-License-Identifier: Apache-2.0
"""Bayes' rule: on tables of probabilities, as conjugate updates, and for the parts of a normal vector.

P(cause | evidence) = P(evidence | cause) P(cause) / P(evidence). Conjugate priors stay in their family, so that
learning from data is adding counts. Source: Murphy, Machine Learning: A Probabilistic Perspective (2012), chapters 3
and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import linalg
from ..distributions import Beta, Dirichlet, MultivariateNormal, Normal
from ..distributions.special import lbeta, lgamma, log_choose
from ..errors import ArgumentError, BoundsError, explain
from ..foundations.arguments import guard, whole, wholes
from ..ir.bind import as_tensor
from ..ir.tensor import Tensor
from ..ops.compose import matmul, matrix_transpose
from ..ops.elementwise import astype
from ..ops.index import take
from ..ops.movement import reshape
from ..ops.reduce import sum
from ..typing import ArrayLike
from .checks import by_name, finite_numbers, guard_class

# ---- tables


def posterior(prior: ArrayLike, likelihood: ArrayLike) -> np.ndarray:
    """P(cause | evidence) from P(cause) (..., causes) and P(evidence | cause) (..., causes), along the last axis.

    >>> cr.statistics.posterior([0.01, 0.99], [0.9, 0.05])
    array([0.15384615, 0.84615385])
    """
    joint = np.asarray(prior, np.float64) * np.asarray(likelihood, np.float64)
    return _normalized(joint, -1)


def condition(joint: ArrayLike, axis: int, index: int) -> np.ndarray:
    """P(the other variables | variable `axis` = index) from a joint table: the slice, made to sum to 1.

    >>> cr.statistics.condition([[0.1, 0.3], [0.2, 0.4]], axis=0, index=0)
    array([0.25, 0.75])
    """
    piece = np.take(np.asarray(joint, np.float64), index, axis=axis)
    return _normalized(piece, None)


def conditional(joint: ArrayLike, given: int | Sequence[int]) -> np.ndarray:
    """P(the other variables | the variables `given`) for all their values: joint / marginal, in the shape of the table.

    >>> cr.statistics.conditional([[0.1, 0.3], [0.2, 0.4]], given=0)
    array([[0.25      , 0.75      ],
           [0.33333333, 0.66666667]])
    """
    joint = np.asarray(joint, np.float64)
    return _normalized(joint, tuple(i for i in range(joint.ndim) if i not in _places(given, joint.ndim)))


def marginal(joint: ArrayLike, keep: int | Sequence[int]) -> np.ndarray:
    """P(the variables `keep`): the sum over all others.

    >>> cr.statistics.marginal([[0.1, 0.3], [0.2, 0.4]], keep=0)
    array([0.4, 0.6])
    """
    joint = np.asarray(joint, np.float64)
    return joint.sum(axis=tuple(i for i in range(joint.ndim) if i not in _places(keep, joint.ndim)))


def _places(which: int | Sequence[int], size: int) -> list[int]:
    """Positions among `size`, those from the end as negative ones; BoundsError for others."""
    found = [int(i) for i in np.atleast_1d(np.asarray(which, np.int64))]
    for i in found:
        if not -size <= i < size:
            raise BoundsError(explain("there is no such variable", got=str(i), expected=f"from {-size} to {size - 1}"))
    return [i % size for i in found]


def _normalized(joint: np.ndarray, axis: Any) -> np.ndarray:
    if (joint < 0).any():
        raise ArgumentError(explain("a probability is negative", got=f"{joint.min():g}"))
    total = joint.sum(axis=axis, keepdims=True)
    if not (total > 0).all():
        raise ArgumentError(explain("the evidence has probability 0",
                                    fix="nothing follows from what cannot happen; check the table"))
    return joint / total


# ---- conjugate updates

def _positive(name: str, *values: Any) -> list[np.ndarray]:
    """The parameters of a prior in float64; they are above 0."""
    found = [np.asarray(x, np.float64) for x in values]
    for x in found:
        if not (x > 0).all():
            raise ArgumentError(explain(f"a parameter of {name} is not above 0", got=f"{x.min():g}",
                                        expected="numbers above 0"))
    return found


def _counts(*values: Any) -> list[np.ndarray]:
    found = [np.asarray(x, np.float64) for x in values]
    for x in found:
        if not (x >= 0).all():
            raise ArgumentError(explain("a count is negative", got=f"{x.min():g}", expected="numbers from 0 upwards"))
    return found


class BetaBinomial:
    """A chance of success that is not known: Beta(alpha, beta), learning from successes and failures.

    `Beta(1, 1)`, the default, takes all chances as equally likely.

    >>> belief = cr.statistics.BetaBinomial(1.0, 1.0).update(successes=7, failures=3)
    >>> belief.distribution.mean
    Tensor(0.66666667, dtype=float64)
    """

    def __init__(self, alpha: ArrayLike = 1.0, beta: ArrayLike = 1.0):
        self.alpha, self.beta = _positive("BetaBinomial", alpha, beta)

    def __repr__(self) -> str:
        return f"BetaBinomial({self.alpha}, {self.beta})"

    def update(self, successes: ArrayLike, failures: ArrayLike) -> BetaBinomial:
        """What is known after the data: alpha + successes, beta + failures."""
        won, lost = _counts(successes, failures)
        return BetaBinomial(self.alpha + won, self.beta + lost)

    @property
    def distribution(self) -> Beta:
        """Of the chance."""
        return Beta(self.alpha, self.beta)

    def log_predictive(self, successes: ArrayLike, trials: ArrayLike) -> Tensor:
        """log P(successes among the next trials), the chance averaged out."""
        k, n = (np.asarray(x, np.float64) for x in (successes, trials))
        return log_choose(n, k) + lbeta(k + self.alpha, n - k + self.beta) - lbeta(self.alpha, self.beta)


class DirichletMultinomial:
    """Chances of k classes that are not known: Dirichlet(alpha), learning from how often each was seen.

    >>> belief = cr.statistics.DirichletMultinomial([1.0, 1.0, 1.0]).update([3, 0, 1])
    >>> belief.distribution.mean
    Tensor([0.57142857, 0.14285714, 0.28571429], dtype=float64)
    """

    def __init__(self, concentration: ArrayLike):
        (self.concentration,) = _positive("DirichletMultinomial", concentration)

    def __repr__(self) -> str:
        return f"DirichletMultinomial({self.concentration.tolist()})"

    def update(self, counts: ArrayLike) -> DirichletMultinomial:
        """What is known after the data: concentration + counts (k,)."""
        return DirichletMultinomial(self.concentration + _counts(counts)[0])

    @property
    def distribution(self) -> Dirichlet:
        """Of the chances."""
        return Dirichlet(self.concentration)

    def log_predictive(self, counts: ArrayLike) -> Tensor:
        """log P(counts (..., k) among the next draws), the chances averaged out."""
        x, a = as_tensor(np.asarray(counts, np.float64)), as_tensor(self.concentration)
        n, total = sum(x, axis=-1), sum(a, axis=-1)
        own = sum(lgamma(x + a) - lgamma(a) - lgamma(x + 1), axis=-1)
        return lgamma(total) + lgamma(n + 1) - lgamma(n + total) + own


class NormalNormal:
    """A mean that is not known: Normal(mean, std), learning from measurements with known noise of standard deviation
    `noise`.

    Precisions 1 / std^2 add up, and the mean is weighted by them.

    >>> belief = cr.statistics.NormalNormal(0.0, 10.0, noise=1.0).update([2.1, 1.9, 2.0])
    >>> belief.distribution.mean, belief.distribution.std
    (Tensor(1.99335548, dtype=float64), Tensor(0.57639042, dtype=float64))
    """

    def __init__(self, mean: ArrayLike = 0.0, std: ArrayLike = 1.0, *, noise: ArrayLike):
        self.mean = np.asarray(mean, np.float64)
        self.std, self.noise = _positive("NormalNormal", std, noise)

    def __repr__(self) -> str:
        return f"NormalNormal({self.mean}, {self.std}, noise={self.noise})"

    def update(self, data: ArrayLike) -> NormalNormal:
        """What is known after measurements (n,) or (n, *batch)."""
        x = np.asarray(data, np.float64)
        x = x[None] if not x.ndim else x
        before, after = 1 / self.std**2, len(x) / self.noise**2
        mean = (before * self.mean + x.sum(axis=0) / self.noise**2) / (before + after)
        return NormalNormal(mean, 1 / np.sqrt(before + after), noise=self.noise)

    @property
    def distribution(self) -> Normal:
        """Of the mean."""
        return Normal(self.mean, self.std)

    @property
    def predictive(self) -> Normal:
        """Of the next measurement."""
        return Normal(self.mean, np.sqrt(self.std**2 + self.noise**2))


# ---- parts of a normal vector

def _a_normal(value: Any) -> str | None:
    return None if isinstance(value, MultivariateNormal) else "a MultivariateNormal"


def condition_normal(joint: MultivariateNormal, observed: Sequence[int], values: ArrayLike) -> MultivariateNormal:
    """The distribution of the components that were not observed, given those that were.

    mean_u + C_uo C_oo^-1 (values - mean_o), covariance C_uu - C_uo C_oo^-1 C_ou; differentiable.

    Args:
        joint: one distribution (no batch).
        observed: positions of the components; the others keep their order.
        values: what was observed, (..., number observed).

    >>> joint = cr.distributions.MultivariateNormal([0.0, 0.0], [[1.0, 0.8], [0.8, 1.0]])
    >>> cr.statistics.condition_normal(joint, observed=[0], values=[1.0]).mean
    Tensor([0.8], dtype=float32)
    """
    d = joint.event_shape[0]
    known = _places(observed, d)
    rest = [i for i in range(d) if i not in known]
    if joint.batch_shape or not rest or len(set(known)) != len(known):
        raise ArgumentError(explain("these components cannot be conditioned on",
                                    got=f"{list(observed)} of {d}, batch {joint.batch_shape}",
                                    expected="some, not all, components of one distribution, each once"))
    part = lambda rows, columns: take(take(joint.covariance, np.array(rows), axis=0), np.array(columns), axis=1)
    gain = matrix_transpose(linalg.solve(part(known, known), part(known, rest)))
    x = astype(as_tensor(values), joint.dtype) - take(joint.mean, np.array(known), axis=0)
    shift = reshape(matmul(gain, reshape(x, (*x.shape, 1))), (*x.shape[:-1], len(rest)))
    return MultivariateNormal(take(joint.mean, np.array(rest), axis=0) + shift,
                              part(rest, rest) - matmul(gain, part(known, rest)))


TABLES = ("condition", "conditional", "marginal", "posterior")

guard(globals(), TABLES, by_name(TABLES, axis=whole))
guard(globals(), ("condition_normal",),
      {"condition_normal": {"observed": wholes, "values": finite_numbers, "joint": _a_normal}})
guard_class(BetaBinomial, "update", "log_predictive")
guard_class(DirichletMultinomial, "update", "log_predictive")
guard_class(NormalNormal, "update", data=finite_numbers)

__all__ = ["BetaBinomial", "DirichletMultinomial", "NormalNormal", "condition", "condition_normal", "conditional",
           "marginal", "posterior"]
