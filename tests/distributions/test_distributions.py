# SPDX-License-Identifier: Apache-2.0
"""Every distribution against scipy.stats: log probabilities, cumulated probabilities, moments, entropy, samples,
divergences.

One row per family buys all of it: closed forms to 1e-8, Kolmogorov-Smirnov or chi-square of 10^5 samples, KL against
Monte-Carlo, finite differences with respect to value and parameters, eager = compiled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import scipy.stats as stats

import chainrule as cr
from chainrule import distributions as d
from chainrule import random
from chainrule.errors import ArgumentError, MissingExtra, ShapeError, TraceError
from chainrule.testing import check_gradient, compare_backends


@dataclass(frozen=True)
class Family:
    """A class, parameters of three members, SciPy's name for it from the same parameters, and points of the support."""

    make: Callable[..., Any]
    parameters: tuple[tuple[float, ...], ...]
    oracle: Callable[..., Any]
    points: tuple[float, ...]
    discrete: bool = False


REAL, POSITIVE = (-7.5, -0.3, 0.1, 2.0, 40.0), (0.0, 1e-9, 0.2, 1.0, 30.0, -1.0)
SHARE, COUNT = (0.0, 1e-9, 0.3, 0.99, 1.0, 1.5, -0.5), (0, 1, 2, 7, 20, -1)
# fmt: off
FAMILIES = {
    "Normal":      Family(d.Normal,      ((0.0, 1.0, -3.0), (1.0, 0.2, 4.0)),                   stats.norm, REAL),
    "Laplace":     Family(d.Laplace,     ((0.0, 1.0, -3.0), (1.0, 0.2, 4.0)),                   stats.laplace, REAL),
    "StudentT":    Family(d.StudentT,    ((2.5, 9.0, 40.0), (0.0, 1.0, -3.0), (1.0, 0.2, 4.0)), stats.t, REAL),
    "Uniform":     Family(d.Uniform,     ((0.0, -1.0, 2.0), (1.0, 0.2, 4.0)),
                          lambda a, b: stats.uniform(a, b - a), REAL),
    "Exponential": Family(d.Exponential, ((1.0, 0.2, 4.0),),
                          lambda r: stats.expon(scale=1 / r), POSITIVE),
    "Gamma":       Family(d.Gamma,       ((0.2, 3.0, 60.0), (1.0, 0.2, 4.0)),
                          lambda a, r: stats.gamma(a, scale=1 / r), POSITIVE[1:]),
    "Beta":        Family(d.Beta,        ((0.5, 2.0, 30.0), (0.7, 1.0, 8.0)),                   stats.beta,
                          SHARE[1:4] + SHARE[5:]),
    "Bernoulli":   Family(d.Bernoulli,   ((0.0, 0.3, 1.0),),                                    stats.bernoulli,
                          (0, 1, 0.5, 2, -1), True),
    "Binomial":    Family(d.Binomial,    ((20, 20, 3), (0.1, 0.5, 0.9)),                        stats.binom, COUNT,
                          True),
    "Poisson":     Family(d.Poisson,     ((0.5, 9.0, 130.0),),                                  stats.poisson, COUNT,
                          True),
}
# fmt: on
each = pytest.mark.parametrize("name", FAMILIES)


def _made(name: str) -> tuple[Any, Any]:
    row = FAMILIES[name]
    parameters = [np.asarray(p, np.float64) for p in row.parameters]
    return row.make(*parameters), row.oracle(*parameters)


@each
def test_log_prob_and_cdf_equal_scipy(name):
    found, oracle = _made(name)
    x = np.asarray(FAMILIES[name].points, np.float64)[:, None]
    with np.errstate(divide="ignore"):
        wanted = oracle.logpmf(x) if found.discrete else oracle.logpdf(x)
    np.testing.assert_allclose(found.log_prob(x).numpy(), wanted, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.prob(x).numpy(), np.exp(wanted), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.cdf(x).numpy(), oracle.cdf(x), rtol=1e-8, atol=1e-14)


@each
def test_moments_and_entropy_equal_scipy(name):
    found, oracle = _made(name)
    for value, wanted in ((found.mean, oracle.mean()), (found.variance, oracle.var()), (found.std, oracle.std()),
                          (found.entropy(), oracle.entropy())):
        assert value.shape == found.batch_shape
        np.testing.assert_allclose(value.numpy(), wanted, rtol=1e-8, atol=1e-12)


@each
def test_samples_have_the_distribution(name):
    found, _ = _made(name)
    x = found.sample(100_000, generator=random.Generator(11)).numpy()
    assert x.shape == (100_000, 3)
    assert x.dtype == (np.int64 if found.discrete else np.float64)
    for i in range(3):
        member = FAMILIES[name].oracle(*(np.float64(p[i]) for p in FAMILIES[name].parameters))
        p = _chi_square(x[:, i], member) if found.discrete else stats.kstest(x[:, i], member.cdf).pvalue
        assert p > 1e-3, (name, i, p)


def _chi_square(x: np.ndarray, oracle: Any) -> float:
    values = np.arange(x.max() + 2)
    expected = oracle.pmf(values) * x.size
    observed = np.bincount(x, minlength=len(values))
    assert observed[expected == 0].sum() == 0
    keep = expected > 5
    if keep.sum() < 2:
        return 1.0
    expected, observed = (np.append(a[keep], x.size - a[keep].sum()) for a in (expected, observed))
    if expected[-1] < 5:
        expected, observed = expected[:-1], observed[:-1]
    return float(stats.chi2.sf(((observed - expected) ** 2 / np.maximum(expected, 1e-9)).sum(), len(expected) - 1))


@each
def test_divergence_equals_monte_carlo(name):
    p, _ = _made(name)
    moved = {"Bernoulli": ((0.2, 0.5, 0.9),), "Binomial": ((20, 20, 3), (0.2, 0.45, 0.8)),
             "Uniform": ((-1.0, -2.0, 0.0), (1.5, 1.0, 5.0))}
    q = FAMILIES[name].make(*(np.asarray(x)
                              for x in moved.get(name, [np.asarray(v) * 1.2 + 0.1 for v in FAMILIES[name].parameters])))
    if name == "StudentT":
        with pytest.raises(ArgumentError, match="no closed form"):
            p.kl(q)
        return
    x = p.sample(100_000, generator=random.Generator(3))
    terms = (p.log_prob(x) - q.log_prob(x)).numpy()
    error = terms.std(axis=0) / np.sqrt(len(terms))
    assert (abs(p.kl(q).numpy() - terms.mean(axis=0)) <= 5 * error + 1e-9).all()
    np.testing.assert_allclose(p.kl(p).numpy(), 0, atol=1e-9)


INNER = {"Uniform": (0.1, 0.15, 3.0), "Bernoulli": (0, 1, 1), "Binomial": (3, 10, 2), "Poisson": (1, 8, 120),
         "Beta": (0.2, 0.4, 0.8),
         "Exponential": (0.3, 2.0, 0.1), "Gamma": (0.3, 12.0, 14.0)}


@each
def test_gradients_of_log_prob(name):
    row = FAMILIES[name]
    x = np.asarray(INNER.get(name, (0.4, 2.0, -1.0)), np.float64)
    parameters = [np.asarray(p, np.float64) for p in row.parameters]
    if name == "Bernoulli":
        parameters = [np.array([0.2, 0.3, 0.6])]
    if name == "Binomial":
        check_gradient(lambda p: d.Binomial(parameters[0], p).log_prob(x), parameters[1])
        return
    check_gradient(lambda *p: row.make(*p).log_prob(x), *parameters)
    if not row.discrete:
        check_gradient(lambda x: row.make(*parameters).log_prob(x), x)


@each
def test_gradients_of_moments_entropy_and_divergence(name):
    row = FAMILIES[name]
    parameters = ([np.array([0.2, 0.3, 0.6])] if name == "Bernoulli"
                  else [np.asarray(p, np.float64) for p in row.parameters])
    parameters = [np.array([3.0, 9.0, 40.0]), *parameters[1:]] if name == "StudentT" else parameters
    fixed = parameters[:1] if name == "Binomial" else []

    def everything(*p: Any) -> list[Any]:
        made = row.make(*fixed, *p)
        divergence = [made.kl(row.make(*fixed, *(1.1 * x for x in p)))] if name not in ("StudentT", "Uniform") else []
        return [made.mean, made.variance, made.entropy(), *divergence]
    check_gradient(everything, *parameters[len(fixed):])


def test_divergence_of_vectors_equals_monte_carlo():
    p = np.array([0.1, 0.2, 0.7])
    pairs = [(d.Categorical(p), d.Categorical(logits=np.zeros(3))),
             (d.Multinomial(6, p), d.Multinomial(6, np.full(3, 1 / 3))),
             (d.MultivariateNormal(MEAN, COVARIANCE), d.MultivariateNormal(np.zeros(3), np.eye(3) * 2.0))]
    for first, second in pairs:
        x = first.sample(50_000, 1)
        terms = (first.log_prob(x) - second.log_prob(x)).numpy()
        assert abs(first.kl(second).item() - terms.mean()) <= 5 * terms.std() / np.sqrt(len(terms))


@each
def test_eager_equals_compiled(name):
    row = FAMILIES[name]
    parameters = [np.asarray(p, np.float64) for p in row.parameters]
    x = np.asarray(INNER.get(name, (0.4, 2.0, -1.0)), np.float64)
    fixed = parameters[:1] if name == "Binomial" else []
    rest = parameters[len(fixed):]
    compare_backends(lambda x, *p: _formulas(row.make(*fixed, *p), x), x, *rest, backends=["native"], rtol=1e-9,
                     atol=1e-10)
    first, second = random.Generator(5), random.Generator(5)
    compiled = cr.compile(lambda *p: row.make(*fixed, *p).sample((4, 5), first), backend="native")
    for _ in range(2):
        np.testing.assert_allclose(compiled(*rest).numpy(),
                                   row.make(*fixed, *map(cr.asarray, rest)).sample((4, 5), second).numpy(), rtol=1e-9)


def _formulas(made: Any, x: Any) -> list[Any]:
    return [made.log_prob(x), made.mean, made.variance, made.entropy()]


# ---- samples that are differentiable

@pytest.mark.parametrize("name", ["Normal", "Laplace", "StudentT", "Uniform", "Exponential", "Gamma", "Beta"])
def test_gradients_of_samples(name):
    """E[x^2] = variance + mean^2: its derivative from samples within Monte-Carlo error of the closed form."""
    row = FAMILIES[name]
    parameters = [np.array([3.0, 9.0, 40.0]) if (name, i) == ("StudentT", 0) else np.asarray(p, np.float64)
                  for i, p in enumerate(row.parameters)]
    parameters = [np.array([6.0, 9.0, 40.0]), *parameters[1:]] if name == "StudentT" else parameters
    places = tuple(range(len(parameters)))

    def second_moment(*p: Any) -> Any:
        made = row.make(*p)
        return cr.sum(made.variance + made.mean * made.mean)
    wanted = cr.grad(second_moment, places)(*parameters)
    runs = 12

    def from_samples(seed: int) -> Any:
        return cr.grad(lambda *p: cr.sum(cr.mean(row.make(*p).rsample(1000, seed) ** 2, axis=0)), places)(*parameters)
    found = [from_samples(seed) for seed in range(runs)]
    for i in places:
        each_run = np.stack([run[i].numpy() for run in found])
        error = each_run.std(axis=0, ddof=1) / np.sqrt(runs)
        assert (abs(each_run.mean(axis=0) - wanted[i].numpy()) <= 6 * error + 1e-9).all(), (name, i)


def test_gradient_of_second_moment_of_a_normal_is_two_sigma():
    sigma = np.float64(1.7)
    x2 = lambda s: cr.mean(d.Normal(np.float64(0), s).rsample(200_000, random.Generator(1)) ** 2)
    assert abs(cr.grad(x2)(sigma).item() - 2 * sigma) < 5 * 2 * sigma * np.sqrt(2 / 200_000)


def test_gamma_sensitivity_is_the_derivative_of_the_quantile():
    from chainrule.distributions.sampling import gamma_sensitivity
    alpha = np.array([1.0, 1.3, 4.0, 50.0, 1e4])[:, None]
    u = np.array([1e-6, 0.01, 0.3, 0.7, 0.99, 1 - 1e-6])
    step = 1e-5 * alpha
    wanted = (stats.gamma.ppf(u, alpha + step) - stats.gamma.ppf(u, alpha - step)) / (2 * step)
    x = stats.gamma.ppf(u, alpha)
    np.testing.assert_allclose(gamma_sensitivity(cr.asarray(x), cr.asarray(np.broadcast_to(alpha, x.shape))).numpy(),
                               wanted, rtol=2e-6)


def test_samples_pass_no_gradient_and_rsample_refuses():
    assert cr.grad(lambda s: cr.mean(d.Normal(0.0, s).sample(5)))(2.0).item() == 0
    with pytest.raises(ArgumentError, match="not a differentiable function"):
        d.Bernoulli(0.3).rsample(5)


# ---- the two ways to give chances

@pytest.mark.parametrize("make", [d.Bernoulli, lambda *a, **k: d.Binomial(7, *a, **k)])
def test_logits_equal_probabilities(make):
    logits = np.array([-30.0, -2.0, 0.0, 3.0, 25.0])
    p = 1 / (1 + np.exp(-logits))
    a, b = make(p), make(logits=logits)
    for x in (0.0, 1.0):
        np.testing.assert_allclose(a.log_prob(x).numpy(), b.log_prob(x).numpy(), rtol=1e-4)
    np.testing.assert_allclose(a.entropy().numpy(), b.entropy().numpy(), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(b.logits.numpy(), a.logits.numpy(), rtol=1e-4)


def test_bernoulli_log_prob_is_minus_the_binary_cross_entropy():
    logits, x = np.array([-800.0, -2.0, 0.3, 900.0]), np.array([0.0, 1.0, 1.0, 0.0])
    wanted = [cr.losses.binary_cross_entropy(cr.asarray(logits[i:i + 1]), cr.asarray(x[i:i + 1])).item()
              for i in range(4)]
    np.testing.assert_allclose(-d.Bernoulli(logits=logits).log_prob(x).numpy(), wanted, rtol=1e-12)


def test_categorical_log_prob_is_minus_the_cross_entropy():
    logits, labels = np.random.default_rng(0).normal(size=(6, 4)), np.array([0, 3, 1, 2, 2, 0])
    wanted = cr.losses.cross_entropy(cr.asarray(logits), cr.asarray(labels)).item()
    assert abs(-cr.mean(d.Categorical(logits=logits).log_prob(labels)).item() - wanted) < 1e-12


@pytest.mark.parametrize("n", [1, 100, 10_000])
@pytest.mark.parametrize("p", [0.0, 1e-6, 0.5, 1.0])
def test_large_binomials(n, p):
    k = np.unique(np.clip(np.array([0, 1, 2, n // 2, n - 1, n]), 0, n))
    made = d.Binomial(n, np.float64(p))
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(made.log_prob(k).numpy(), stats.binom(n, p).logpmf(k), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(made.cdf(k).numpy(), stats.binom(n, p).cdf(k), rtol=1e-8)
    x = made.sample(1000, random.Generator(0)).numpy()
    assert abs(x.mean() - n * p) <= 5 * np.sqrt(n * p * (1 - p) / 1000) + 0.01


# ---- classes and vectors

CHANCES = np.array([[0.1, 0.2, 0.7], [0.0, 0.5, 0.5]])


def test_categorical():
    made = d.Categorical(CHANCES)
    labels = np.array([[0, 0], [1, 1], [2, 2]])
    np.testing.assert_allclose(made.prob(labels).numpy(), CHANCES.T, atol=1e-15)
    assert (made.log_prob(np.array([[3], [-1]])).numpy() == -np.inf).all()
    np.testing.assert_allclose(made.cdf(labels).numpy(), np.cumsum(CHANCES, axis=1).T)
    np.testing.assert_allclose(made.cdf(np.array([[-0.5], [9.0]])).numpy(), [[0, 0], [1, 1]], rtol=1e-15)
    np.testing.assert_allclose(made.entropy().numpy(), stats.entropy(CHANCES, axis=1))
    np.testing.assert_allclose(made.mean.numpy(), CHANCES @ np.arange(3))
    np.testing.assert_allclose(made.variance.numpy(), CHANCES @ np.arange(3) ** 2 - (CHANCES @ np.arange(3)) ** 2)
    other = np.array([0.3, 0.3, 0.4])
    np.testing.assert_allclose(made.kl(d.Categorical(other)).numpy(), stats.entropy(CHANCES, other, axis=1))
    single = d.Categorical(np.array([0.1, 0.2, 0.7]))
    np.testing.assert_allclose(single.prob(labels).numpy(), np.array([0.1, 0.2, 0.7])[labels])
    check_gradient(lambda z: d.Categorical(logits=z).log_prob(np.array([0, 2])),
                   np.array([[0.1, -2, 1], [0.3, 0.2, 0]]))


@pytest.mark.parametrize("way", ["probabilities", "logits"])
def test_gumbel_and_inverse_sampling_agree(way):
    p = np.array([0.05, 0.6, 0.1, 0.25])
    made = d.Categorical(p) if way == "probabilities" else d.Categorical(logits=np.log(p))
    x = made.sample(100_000, random.Generator(7)).numpy()
    assert stats.chisquare(np.bincount(x, minlength=4), p * 100_000).pvalue > 1e-3


def test_multinomial():
    made = d.Multinomial(10, CHANCES)
    for x in ([3, 2, 5], [0, 5, 5], [0, 0, 10], [1, 1, 1]):
        with np.errstate(divide="ignore"):
            np.testing.assert_allclose(made.log_prob(np.array(x)).numpy(),
                                       [stats.multinomial(10, p).logpmf(x) for p in CHANCES], rtol=1e-10)
    np.testing.assert_allclose(made.entropy().numpy(), [stats.multinomial(10, p).entropy() for p in CHANCES], rtol=1e-8)
    x = made.sample(20_000, random.Generator(2)).numpy()
    assert x.shape == (20_000, 2, 3)
    assert (x.sum(axis=-1) == 10).all()
    np.testing.assert_allclose(x.mean(axis=0), made.mean.numpy(), atol=0.06)
    np.testing.assert_allclose(x.var(axis=0), made.variance.numpy(), atol=0.1)
    for i in range(3):
        assert _chi_square(x[:, 0, i], stats.binom(10, CHANCES[0, i])) > 1e-3
    np.testing.assert_allclose(made.kl(d.Multinomial(10, np.full(3, 1 / 3))).numpy(),
                               10 * stats.entropy(CHANCES, np.full(3, 1 / 3)[None], axis=1))


def test_dirichlet():
    alpha = np.array([[0.3, 2.0, 5.0], [1.0, 1.0, 1.0]])
    made = d.Dirichlet(alpha)
    x = np.array([0.2, 0.3, 0.5])
    np.testing.assert_allclose(made.log_prob(x).numpy(), [stats.dirichlet(a).logpdf(x) for a in alpha], rtol=1e-10)
    np.testing.assert_allclose(made.mean.numpy(), [stats.dirichlet(a).mean() for a in alpha])
    np.testing.assert_allclose(made.variance.numpy(), [stats.dirichlet(a).var() for a in alpha])
    np.testing.assert_allclose(made.entropy().numpy(), [stats.dirichlet(a).entropy() for a in alpha], rtol=1e-9)
    assert (made.log_prob(np.array([0.5, 0.5, 0.5])).numpy() == -np.inf).all()
    draws = made.sample(100_000, random.Generator(4)).numpy()
    for k, a in enumerate(alpha):
        for i in range(3):
            assert stats.kstest(draws[:, k, i], stats.beta(a[i], a.sum() - a[i]).cdf).pvalue > 1e-3
    q = d.Dirichlet(np.array([1.0, 2.0, 0.7]))
    terms = (made.log_prob(draws) - q.log_prob(draws)).numpy()
    assert (abs(made.kl(q).numpy() - terms.mean(axis=0)) <= 5 * terms.std(axis=0) / np.sqrt(len(terms)) + 1e-12).all()
    check_gradient(lambda a: d.Dirichlet(a).log_prob(x), alpha)
    assert np.isfinite(d.Dirichlet(np.full(3, 1e-3)).sample(1000, random.Generator(0)).numpy()).all()


MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]])


def test_multivariate_normal():
    made, oracle = d.MultivariateNormal(MEAN, COVARIANCE), stats.multivariate_normal(MEAN, COVARIANCE)
    x = np.random.default_rng(0).normal(size=(5, 4, 3))
    np.testing.assert_allclose(made.log_prob(x).numpy(), oracle.logpdf(x), rtol=1e-10)
    np.testing.assert_allclose(made.entropy().numpy(), oracle.entropy(), rtol=1e-12)
    np.testing.assert_allclose(made.covariance.numpy(), COVARIANCE, rtol=1e-12)
    np.testing.assert_allclose(made.variance.numpy(), np.diag(COVARIANCE), rtol=1e-12)
    batch = d.MultivariateNormal(np.stack([MEAN, -MEAN]), np.stack([COVARIANCE, np.eye(3)]))
    np.testing.assert_allclose(batch.log_prob(x[:, 0, None]).numpy()[:, 0], oracle.logpdf(x[:, 0]), rtol=1e-10)
    draws = made.sample(100_000, random.Generator(9)).numpy()
    white = np.linalg.solve(np.linalg.cholesky(COVARIANCE), (draws - MEAN).T)
    assert all(stats.kstest(row, "norm").pvalue > 1e-3 for row in white)
    np.testing.assert_allclose(np.cov(draws.T), COVARIANCE, atol=0.03)
    assert batch.sample(7).shape == (7, 2, 3)
    check_gradient(lambda m, l: d.MultivariateNormal(m, scale_tril=l).log_prob(x[0]), MEAN,
                   np.linalg.cholesky(COVARIANCE))


def test_divergence_of_multivariate_normals():
    p, q = d.MultivariateNormal(MEAN, COVARIANCE), d.MultivariateNormal(np.zeros(3), np.eye(3) * 1.5)
    precision = np.eye(3) / 1.5
    wanted = 0.5 * (np.trace(precision @ COVARIANCE) + MEAN @ precision @ MEAN - 3 + 3 * np.log(1.5)
                    - np.linalg.slogdet(COVARIANCE)[1])
    assert abs(p.kl(q).item() - wanted) < 1e-12
    assert abs(d.Normal(np.float64(1), 2.0).kl(d.Normal(np.float64(0), 1.0)).item()
               - (0.5 * (4 + 1 - 1) - np.log(2))) < 1e-12


# ---- expectation, dtypes, mistakes

def test_expectation():
    p = np.array([0.2, 0.3, 0.5])
    assert abs(d.expectation(lambda x: x * x + 1.0, d.Categorical(p)).item() - (p @ (np.arange(3) ** 2 + 1.0))) < 1e-12
    assert abs(d.expectation(lambda x: 3.0 * x, d.Binomial(9, np.float64(0.3))).item() - 8.1) < 1e-10
    found = d.expectation(lambda x: x**2, d.Normal(np.zeros(2), np.array([1.0, 2.0])), samples=100_000,
                          generator=random.Generator(0)).numpy()
    np.testing.assert_allclose(found, [1, 4], rtol=0.03)
    with pytest.raises(ArgumentError, match="how many samples"):
        d.expectation(lambda x: x, d.Normal())


@each
def test_nan_stays_nan(name):
    found, _ = _made(name)
    assert np.isnan(found.log_prob(np.full(3, np.nan)).numpy()).all()
    assert np.isnan(found.cdf(np.full(3, np.nan)).numpy()).all()


def test_seeds_and_generators():
    made = d.Gamma(2.0)
    np.testing.assert_array_equal(made.sample(5, 3).numpy(), made.sample(5, random.Generator(3)).numpy())
    source = random.Generator(3)
    assert not np.array_equal(made.sample(5, source).numpy(), made.sample(5, source).numpy())
    random.seed(0)
    first = made.sample((2, 2)).numpy()
    random.seed(0)
    np.testing.assert_array_equal(made.sample((2, 2)).numpy(), first)


@pytest.mark.parametrize(("made", "oracle"),
                         [(d.Gamma(0.7, 2.0), stats.gamma(0.7, scale=0.5)), (d.Beta(2.0, 0.5), stats.beta(2, 0.5)),
                          (d.StudentT(4.0), stats.t(4)), (d.Laplace(), stats.laplace())])
def test_single_precision_samples(made, oracle):
    x = made.sample(100_000, 5)
    assert x.dtype == cr.float32
    assert stats.kstest(x.numpy().astype(np.float64), oracle.cdf).pvalue > 1e-3


def test_differentiable_samples_compiled():
    a = np.array([0.4, 2.0, 30.0])
    slope = lambda a, seed: cr.grad(lambda a: cr.sum(d.Gamma(a).rsample((4,), seed) ** 2))(a)
    np.testing.assert_allclose(cr.compile(lambda a: slope(a, 7))(a).numpy(), slope(a, 7).numpy(), rtol=1e-8)


def test_training_a_distribution():
    """Minimising KL(q || p) by gradient steps in a compiled function moves the Variables of q to p."""
    mean, log_std = cr.Variable(np.float64(3.0)), cr.Variable(np.float64(1.0))
    target = d.Normal(np.float64(-1.0), np.float64(0.5))

    @cr.compile
    def step():
        divergence = d.Normal(mean, cr.exp(log_std.value)).kl(target)
        for variable, g in zip((mean, log_std), cr.gradients(divergence, [mean, log_std]), strict=True):
            variable.assign(variable.value - 0.05 * g)
        return divergence
    for _ in range(400):
        last = step()
    assert last.item() < 1e-6
    np.testing.assert_allclose([mean.value.item(), log_std.value.item()], [-1.0, np.log(0.5)], atol=1e-3)


def test_cdf_without_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)
    with pytest.raises(MissingExtra, match="the cdf of Poisson needs scipy"):
        d.Poisson(3.0).cdf(2)


def test_numbers_are_float32_and_dtype_wins():
    assert d.Normal(0, 1).sample(3).dtype == cr.float32
    assert d.Normal(0, 1).log_prob(0.5).dtype == cr.float32
    assert d.Gamma(2.0, dtype="float64").sample(3).dtype == cr.float64
    assert d.Normal(0.1, 2.0, dtype="float64").log_prob(0.3).item() == pytest.approx(
        stats.norm(0.1, 2).logpdf(0.3), abs=1e-6
    )
    assert repr(d.Dirichlet(np.ones((2, 3)))) == "Dirichlet(batch (2,), event (3,), float64)"


def test_mistakes():
    with pytest.raises(ArgumentError, match="std"):
        d.Normal(0.0, -1.0)
    with pytest.raises(ArgumentError, match="needs probabilities or logits"):
        d.Bernoulli()
    with pytest.raises(ArgumentError, match="within one family"):
        d.Normal().kl(d.Laplace())
    with pytest.raises(ShapeError, match="another shape"):
        d.Dirichlet(np.ones(3)).log_prob(np.ones(2))
    with pytest.raises(ArgumentError, match="has no gradient"):
        cr.grad(lambda x: d.Gamma(2.0).cdf(x))(1.0)
    with pytest.raises(TraceError, match="computed by SciPy"):
        cr.compile(lambda x: d.Gamma(2.0).cdf(x))(1.0)
    with pytest.raises(ArgumentError, match="no closed form for cdf"):
        d.Dirichlet(np.ones(3)).cdf(np.ones(3) / 3)
