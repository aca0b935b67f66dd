# SPDX-License-Identifier: Apache-2.0
"""Maximum likelihood: the parameters under which the data are most probable.

`mle(Distribution, data)` uses the closed form where there is one; else Newton's method on the log-likelihood, in
coordinates without bounds (logarithms of positive parameters), with gradient and Hessian by automatic differentiation.
`maximize` does the same for any log-likelihood (or, with a prior added, any posterior).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import distributions as d
from ..compiler.transform import grad, hessian
from ..errors import ArgumentError, DataError, explain
from ..foundations.arguments import guard
from ..ir.bind import as_tensor, no_grad
from ..ir.tensor import Tensor
from ..ops.elementwise import exp
from ..ops.reduce import sum
from ..typing import ArrayLike
from .checks import by_name

Likelihood = Callable[[Tensor], Any]


def maximize(function: Likelihood, start: Any, *, tolerance: float = 1e-10, steps: int = 200) -> np.ndarray:
    """The vector (k,) at which `function` is largest, by Newton's method with halved steps, in float64.

    Args:
        function: maps a tensor (k,) to a scalar; twice differentiable.
        start: where to begin.
        tolerance: ends when the expected gain falls below it (times 1 + |value|).

    Raises ArgumentError if it does not converge: the function may have no maximum.

    >>> cr.statistics.maximize(lambda w: -cr.sum((w - 3.0) ** 2), [0.0])
    array([3.])
    """
    x = np.array(start, np.float64)
    slope, curvature = grad(function), hessian(function)
    value = _value(function, x)
    for _ in range(steps):
        g, h = slope(as_tensor(x)).numpy(), curvature(as_tensor(x)).numpy()
        move = _uphill(g, h)
        gain = float(g @ move)
        if gain <= tolerance**2 * (1 + abs(value)):
            return x + move
        x, value, moved = _step(function, x, value, move, gain)
        if not moved:
            return x
    raise ArgumentError(explain("no maximum was found", got=f"{steps} steps, the last gain {gain:.3g}",
                                fix="start nearer, or check that the likelihood is bounded"))


def _value(function: Likelihood, x: np.ndarray) -> float:
    with no_grad():
        return float(as_tensor(function(as_tensor(x))).item())


def _uphill(g: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Newton's step, with the curvature's sign made negative in every direction."""
    if not np.isfinite(g).all() or not np.isfinite(h).all():
        raise ArgumentError(explain("the log-likelihood has no finite derivatives here",
                                    fix="start elsewhere, or check the data"))
    size, vectors = np.linalg.eigh(h)
    size = np.maximum(np.abs(size), 1e-12 * max(np.abs(size).max(), 1e-300))
    return vectors @ ((vectors.T @ g) / size)


def _step(function: Likelihood, x: np.ndarray, value: float, move: np.ndarray,
          gain: float) -> tuple[np.ndarray, float, bool]:
    """The longest of the steps 1, 1/2, 1/4, ... that gains enough (Armijo)."""
    for k in range(50):
        share = 0.5**k
        found = _value(function, x + share * move)
        if found >= value + 1e-4 * share * gain - 1e-14 * abs(value):
            return x + share * move, found, share * np.abs(move).max() > 1e-14 * (1 + np.abs(x).max())
    return x, value, False


# ---- distributions

def mle(distribution: type[d.Distribution], data: ArrayLike, **fixed: Any) -> d.Distribution:
    """The distribution of this class under which the data are most probable.

    Args:
        distribution: a class of `chainrule.distributions`.
        data: (n,) numbers; (n, k) vectors for MultivariateNormal, Dirichlet, Multinomial; labels for Categorical.
        fixed: `trials` of Binomial; `classes` of Categorical (default: the largest label + 1).

    Closed form for all but Gamma, Beta, Dirichlet and StudentT. Raises DataError for data outside the support.

    >>> x = np.array([1.0, 2.0, 3.0, 6.0])
    >>> cr.statistics.mle(cr.distributions.Normal, x).mean
    Tensor(3., dtype=float64)
    """
    if distribution not in FITS:
        raise ArgumentError(explain("there is no estimate for this distribution",
                                    got=getattr(distribution, "__name__", repr(distribution)),
                                    expected=", ".join(sorted(kind.__name__ for kind in FITS)),
                                    fix="write the log-likelihood and use maximize"))
    x = np.asarray(data, np.float64)
    if not x.size or not np.isfinite(x).all():
        raise DataError(explain("maximum likelihood needs finite data",
                                got=f"{x.size} values" if not x.size else "a NaN or an infinity"))
    if distribution is d.Binomial and "trials" not in fixed:
        raise ArgumentError(explain("the number of trials of Binomial cannot be learnt from the numbers of successes",
                                    got="no trials", expected="mle(Binomial, successes, trials=10)",
                                    fix="for trials with one outcome each use Bernoulli"))
    return FITS[distribution](x, **fixed)


def _within(x: np.ndarray, fine: Any, what: str) -> np.ndarray:
    if not np.all(fine):
        raise DataError(explain(f"the data lie outside the support: {what}",
                                got=f"values from {x.min():g} to {x.max():g}"))
    return x


def _spread(value: Any, name: str) -> Any:
    if not np.all(value > 0):
        raise DataError(explain(f"the data are all the same: no {name} makes them most probable",
                                fix="more (and different) data are needed"))
    return value


def _normal(x: np.ndarray) -> d.Normal:
    return d.Normal(x.mean(), _spread(x.std(), "standard deviation"))


def _multivariate(x: np.ndarray) -> d.MultivariateNormal:
    mean = x.mean(axis=0)
    return d.MultivariateNormal(mean, (x - mean).T @ (x - mean) / len(x))


def _laplace(x: np.ndarray) -> d.Laplace:
    centre = np.median(x)
    return d.Laplace(centre, _spread(np.abs(x - centre).mean(), "scale"))


def _categorical(x: np.ndarray, classes: int | None = None) -> d.Categorical:
    labels = _within(x, (x >= 0) & (x == np.floor(x)), "labels are 0, 1, 2, ...").astype(np.int64)
    counts = np.bincount(labels, minlength=classes or 0)
    return d.Categorical(counts / counts.sum())


def _gamma(x: np.ndarray) -> d.Gamma:
    _within(x, x > 0, "Gamma needs numbers above 0")
    return _by_newton(d.Gamma, x, [x.mean() ** 2 / _spread(x.var(), "rate"), x.mean() / x.var()], (True, True))


def _beta(x: np.ndarray) -> d.Beta:
    _within(x, (x > 0) & (x < 1), "Beta needs numbers between 0 and 1")
    m = x.mean()
    strength = max(m * (1 - m) / _spread(x.var(), "strength") - 1, 0.1)
    return _by_newton(d.Beta, x, [m * strength, (1 - m) * strength], (True, True))


def _dirichlet(x: np.ndarray) -> d.Dirichlet:
    _within(x, (x > 0) & (np.abs(x.sum(axis=-1, keepdims=True) - 1) < 1e-6),
            "Dirichlet needs shares above 0 that sum to 1")
    m, v = x.mean(axis=0), _spread(x.var(axis=0), "strength")
    start = m * max(float(np.median(m * (1 - m) / v)) - 1, 0.1)
    return d.Dirichlet(np.exp(maximize(lambda z: sum(d.Dirichlet(exp(z)).log_prob(x)), np.log(start))))


def _student(x: np.ndarray) -> d.StudentT:
    scale = _spread(np.median(np.abs(x - np.median(x))) * 1.2 or x.std(), "scale")
    return _by_newton(d.StudentT, x, [5.0, np.median(x), scale], (True, False, True))


def _by_newton(family: Callable[..., d.Distribution], x: np.ndarray, start: Any, positive: tuple[bool, ...]) -> Any:
    """The family's parameters by `maximize`, positive ones through their logarithms."""
    inner = lambda z: [exp(z[i]) if up else z[i] for i, up in enumerate(positive)]
    first = [np.log(v) if up else v for v, up in zip(start, positive, strict=True)]
    found = maximize(lambda z: sum(family(*inner(z)).log_prob(x)), first)
    return family(*(np.exp(v) if up else v for v, up in zip(found, positive, strict=True)))


def _exponential(x: np.ndarray) -> d.Distribution:
    return d.Exponential(1 / _spread(_within(x, x >= 0, "Exponential needs numbers from 0 upwards").mean(), "rate"))


def _binomial(x: np.ndarray, trials: Any) -> d.Distribution:
    return d.Binomial(trials, (_within(x, (x >= 0) & (x <= trials), "0 ... trials") / trials).mean())


def _multinomial(x: np.ndarray) -> d.Distribution:
    counts = x[0].sum()
    return d.Multinomial(int(counts), _within(x, x.sum(axis=1) == counts, "rows of one sum").mean(axis=0) / counts)


# fmt: off
FITS: dict[Any, Callable[..., d.Distribution]] = {
    d.Normal:             _normal,
    d.MultivariateNormal: _multivariate,
    d.Laplace:            _laplace,
    d.Uniform:            lambda x: d.Uniform(x.min(), _spread(x.max() - x.min(), "interval") + x.min()),
    d.Exponential:        _exponential,
    d.Bernoulli:          lambda x: d.Bernoulli(_within(x, (x == 0) | (x == 1), "Bernoulli needs 0 and 1").mean()),
    d.Binomial:           _binomial,
    d.Poisson:            lambda x: d.Poisson(_within(x, x >= 0, "Poisson needs counts").mean()),
    d.Categorical:        _categorical,
    d.Multinomial:        _multinomial,
    d.Gamma:              _gamma,
    d.Beta:               _beta,
    d.Dirichlet:          _dirichlet,
    d.StudentT:           _student,
}
# fmt: on

guard(globals(), ("maximize", "mle"), by_name(("maximize", "mle")))

__all__ = ["maximize", "mle"]
