# SPDX-License-Identifier: Apache-2.0
"""Maximum likelihood, Bayes' rule, naive Bayes, running moments. Oracles: scipy.stats, scikit-learn, closed forms,
math.fsum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats as stats
from sklearn import naive_bayes as sklearn_bayes
from sklearn.linear_model import LogisticRegression

import chainrule as cr
from chainrule import distributions as d
from chainrule import statistics
from chainrule.errors import ArgumentError, DataError, ShapeError
from chainrule.testing import check_gradient

RNG = np.random.default_rng(3)

# ---- maximum likelihood

# fmt: off
CONTINUOUS = {
    "Normal":      (d.Normal,      RNG.normal(2, 3, 400),        lambda x: stats.norm.fit(x),
                    lambda m: (m.location, m.scale)),
    "Laplace":     (d.Laplace,     RNG.laplace(2, 3, 401),       lambda x: stats.laplace.fit(x),
                    lambda m: (m.location, m.scale)),
    "Uniform":     (d.Uniform,     RNG.uniform(2, 3, 400),       lambda x: np.add.accumulate(stats.uniform.fit(x)),
                    lambda m: (m.low, m.high)),
    "Exponential": (d.Exponential, RNG.exponential(3, 400),      lambda x: stats.expon.fit(x, floc=0)[1:],
                    lambda m: (1 / m.rate,)),
    "Gamma":       (d.Gamma,       RNG.gamma(2.5, 3, 400),       lambda x: np.array(stats.gamma.fit(x, floc=0))[[0, 2]],
                    lambda m: (m.concentration, 1 / m.rate)),
    "Gamma small": (d.Gamma,       RNG.gamma(0.1, 3, 400) + 1e-9,
                    lambda x: np.array(stats.gamma.fit(x, floc=0))[[0, 2]], lambda m: (m.concentration, 1 / m.rate)),
    "Beta":        (d.Beta,        RNG.beta(2, 0.7, 400),        lambda x: stats.beta.fit(x, floc=0, fscale=1)[:2],
                    lambda m: (m.alpha, m.beta)),
    "StudentT":    (d.StudentT,    stats.t(4, 1, 2).rvs(400, random_state=RNG), lambda x: stats.t.fit(x),
                    lambda m: (m.df, m.location, m.scale)),
}
# fmt: on


@pytest.mark.parametrize("name", CONTINUOUS)
def test_mle_equals_scipy_fit(name):
    family, x, fit, parameters = CONTINUOUS[name]
    found = statistics.mle(family, x)
    np.testing.assert_allclose([p.item() for p in parameters(found)], fit(x), rtol=1e-4)


def test_mle_of_counts_and_vectors():
    assert statistics.mle(d.Bernoulli, [0, 1, 1, 1]).probabilities.item() == 0.75
    assert statistics.mle(d.Binomial, [2, 4, 6], trials=8).probabilities.item() == 0.5
    assert statistics.mle(d.Poisson, [2, 4, 6]).rate.item() == 4
    np.testing.assert_allclose(statistics.mle(d.Categorical, [0, 2, 2, 3]).probabilities.numpy(), [0.25, 0, 0.5, 0.25])
    np.testing.assert_allclose(statistics.mle(d.Multinomial, [[1, 3], [3, 1]]).probabilities.numpy(), [0.5, 0.5])
    x = RNG.normal(size=(200, 3)) @ np.array([[1, 0.5, 0], [0, 2, 0.3], [0, 0, 1]]) + [1, 2, 3]
    mean, covariance = stats.multivariate_normal.fit(x)
    found = statistics.mle(d.MultivariateNormal, x)
    np.testing.assert_allclose(found.mean.numpy(), mean, rtol=1e-10)
    np.testing.assert_allclose(found.covariance.numpy(), covariance, rtol=1e-10)


def test_mle_of_shares_is_stationary():
    x = RNG.dirichlet([0.5, 2.0, 4.0], 500)
    found = statistics.mle(d.Dirichlet, x)
    slope = cr.grad(lambda a: cr.mean(d.Dirichlet(a).log_prob(x)))(found.concentration.numpy())
    assert abs(slope.numpy()).max() < 1e-9
    np.testing.assert_allclose(found.concentration.numpy(), [0.5, 2, 4], rtol=0.15)


def test_mle_mistakes():
    with pytest.raises(DataError, match="outside the support"):
        statistics.mle(d.Gamma, [1.0, -2.0])
    with pytest.raises(DataError, match="finite data"):
        statistics.mle(d.Normal, [1.0, np.nan])
    with pytest.raises(DataError, match="all the same"):
        statistics.mle(d.Normal, [1.0, 1.0])
    with pytest.raises(ArgumentError, match="trials=10"):
        statistics.mle(d.Binomial, [2, 4, 6])
    with pytest.raises(ArgumentError, match="no estimate"):
        statistics.mle(dict, [1.0])


X = RNG.normal(size=(300, 4)) + 0.3
Y = (X @ [1.0, -2.0, 0.5, 0.0] + RNG.logistic(size=300) > 0).astype(np.int64)


def test_logistic_regression_by_maximum_likelihood_equals_scikit_learn():
    found = statistics.maximize(lambda w: cr.sum(d.Bernoulli(logits=cr.matmul(X, w)).log_prob(Y)), np.zeros(4))
    wanted = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000).fit(X, Y).coef_[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_l2_penalty_is_a_normal_prior():
    strength = 3.0
    posterior = lambda w: (cr.sum(d.Bernoulli(logits=cr.matmul(X, w)).log_prob(Y))
                           + cr.sum(d.Normal(np.float64(0), np.float64(1 / math.sqrt(strength))).log_prob(w)))
    found = statistics.maximize(posterior, np.zeros(4))
    wanted = LogisticRegression(C=1 / strength, fit_intercept=False, tol=1e-12, max_iter=1000).fit(X, Y).coef_[0]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_l1_penalty_is_a_laplace_prior():
    """At scikit-learn's sparse weights the posterior is stationary where w != 0, and bends down on both sides where w =
    0."""
    strength = 25.0
    w = LogisticRegression(C=1 / strength, l1_ratio=1, solver="saga", fit_intercept=False, tol=1e-12,
                           max_iter=100_000).fit(X, Y).coef_[0]
    likelihood = lambda w: cr.sum(d.Bernoulli(logits=cr.matmul(X, w)).log_prob(Y))
    prior = lambda w: cr.sum(d.Laplace(np.float64(0), np.float64(1 / strength)).log_prob(w))
    g, g_prior = cr.grad(likelihood)(w).numpy(), cr.grad(prior)(w).numpy()
    assert (w == 0).any() and (w != 0).any()
    np.testing.assert_allclose((g + g_prior)[w != 0], 0, atol=1e-5)
    assert (abs(g[w == 0]) <= strength).all()


def test_losses_are_negative_log_likelihoods():
    rng = np.random.default_rng(0)
    outputs, targets = rng.normal(size=(7, 3)), rng.normal(size=(7, 3))
    nll = -cr.mean(d.Normal(outputs, np.float64(math.sqrt(0.5))).log_prob(targets)).item()
    assert abs(nll - 0.5 * math.log(math.pi)
               - cr.losses.mean_squared_error(cr.asarray(outputs), cr.asarray(targets)).item()) < 1e-12
    nll = -cr.mean(d.Laplace(outputs, np.float64(1)).log_prob(targets)).item()
    assert abs(nll - math.log(2)
               - cr.losses.mean_absolute_error(cr.asarray(outputs), cr.asarray(targets)).item()) < 1e-12


# ---- Bayes

def test_medical_test():
    """1 % are ill, the test finds 90 % of them and alarms 5 % of the healthy: 0.009 / 0.0585 of the alarms are right.
    """
    found = statistics.posterior([0.01, 0.99], [0.90, 0.05])
    np.testing.assert_allclose(found, [0.009 / 0.0585, 0.0495 / 0.0585], rtol=1e-14)


def test_chain_rule_of_tables():
    joint = np.random.default_rng(1).random((3, 4, 2))
    joint /= joint.sum()
    given = statistics.conditional(joint, given=1)
    np.testing.assert_allclose(given * statistics.marginal(joint, 1)[None, :, None], joint, atol=1e-15)
    np.testing.assert_allclose(given[:, 2, :], statistics.condition(joint, 1, 2), atol=1e-15)
    with pytest.raises(ArgumentError, match="probability 0"):
        statistics.condition(np.array([[0.0, 0.5], [0.0, 0.5]]), 1, 0)


def test_conjugate_updates():
    coin = statistics.BetaBinomial().update(7, 3)
    assert (coin.alpha, coin.beta) == (8, 4)
    np.testing.assert_allclose(coin.log_predictive([0, 2, 5], 5).numpy(), stats.betabinom(5, 8, 4).logpmf([0, 2, 5]),
                               rtol=1e-12)
    grid = np.linspace(0, 1, 100_001)
    unnormalized = grid**7 * (1 - grid) ** 3
    assert abs(coin.distribution.mean.item() - (grid * unnormalized).sum() / unnormalized.sum()) < 1e-9
    die = statistics.DirichletMultinomial(np.ones(3)).update([1, 2, 4])
    np.testing.assert_allclose(die.log_predictive([2, 0, 3]).item(),
                               stats.dirichlet_multinomial([2, 3, 5], 5).logpmf([2, 0, 3]), rtol=1e-12)
    np.testing.assert_allclose(die.distribution.mean.numpy(), np.array([2, 3, 5]) / 10)
    data = np.array([1.0, 2.5, 3.0])
    mean = statistics.NormalNormal(0.5, 2.0, noise=1.5).update(data)
    joint = d.MultivariateNormal(np.full(4, 0.5), 4.0 + np.diag([0.0, 2.25, 2.25, 2.25]))
    closed = statistics.condition_normal(joint, [1, 2, 3], data)
    np.testing.assert_allclose([mean.mean, mean.std**2], [closed.mean.numpy()[0], closed.covariance.numpy()[0, 0]],
                               rtol=1e-12)
    stepwise = statistics.NormalNormal(0.5, 2.0, noise=1.5).update(1.0).update(2.5).update(3.0)
    np.testing.assert_allclose([stepwise.mean, stepwise.std], [mean.mean, mean.std], rtol=1e-14)
    np.testing.assert_allclose(mean.predictive.variance.item(), mean.std**2 + 2.25, rtol=1e-14)


def test_conditional_normal():
    a = np.random.default_rng(2).normal(size=(4, 4))
    mean, covariance = np.arange(4.0), a @ a.T + np.eye(4)
    joint, x = d.MultivariateNormal(mean, covariance), np.array([0.3, -1.0])
    found = statistics.condition_normal(joint, [3, 1], x)
    o, u = [3, 1], [0, 2]
    gain = covariance[np.ix_(u, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    np.testing.assert_allclose(found.mean.numpy(), mean[u] + gain @ (x - mean[o]), rtol=1e-10)
    np.testing.assert_allclose(found.covariance.numpy(), covariance[np.ix_(u, u)] - gain @ covariance[np.ix_(o, u)],
                               rtol=1e-10)
    whole = np.array([0.7, -1.0, 1.1, 0.3])  # the chain rule: log p(u, o) = log p(u | o) + log p(o)
    observed = d.MultivariateNormal(mean[o], covariance[np.ix_(o, o)])
    total = found.log_prob(whole[u]).item() + observed.log_prob(x).item()
    assert abs(total - joint.log_prob(whole).item()) < 1e-10
    check_gradient(lambda x: statistics.condition_normal(joint, [3, 1], x).mean, x)
    batch = statistics.condition_normal(joint, [3, 1], np.stack([x, 2 * x]))
    np.testing.assert_allclose(batch.mean.numpy()[0], found.mean.numpy(), rtol=1e-12)


# ---- naive Bayes

def test_gaussian_naive_bayes_equals_scikit_learn():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(400, 5)), rng.integers(0, 3, 400)
    x += y[:, None] * [1.0, 0, 0.5, 0, 2]
    x[:, 3] = 1.0
    names = np.array(["ant", "bee", "cat"])[y]
    mine, theirs = statistics.GaussianNB().fit(x, names), sklearn_bayes.GaussianNB().fit(x, names)
    np.testing.assert_array_equal(mine.predict(x), theirs.predict(x))
    np.testing.assert_allclose(mine.predict_proba(x), theirs.predict_proba(x), rtol=1e-6, atol=1e-12)


def test_multinomial_naive_bayes_equals_scikit_learn():
    rng = np.random.default_rng(6)
    y = rng.integers(0, 4, 500)
    x = rng.poisson(rng.gamma(1.0, 1.0, (4, 30))[y])
    mine, theirs = statistics.MultinomialNB(0.5).fit(x, y), sklearn_bayes.MultinomialNB(alpha=0.5).fit(x, y)
    np.testing.assert_array_equal(mine.predict(x), theirs.predict(x))
    np.testing.assert_allclose(mine.predict_log_proba(x), theirs.predict_log_proba(x), rtol=1e-9, atol=1e-9)
    with pytest.raises(ArgumentError, match="needs counts"):
        statistics.MultinomialNB().fit(-x, y)
    with pytest.raises(ShapeError):
        statistics.GaussianNB().fit(x, y[:-1])


# ---- running moments

def test_running_mean_of_ten_million_values():
    x = np.random.default_rng(0).normal(3.0, 2.0, 10_000_000)
    moments = statistics.Moments()
    for part in np.array_split(x, 777):
        moments.update(part)
    assert abs(float(moments.mean) - math.fsum(x) / len(x)) < 1e-12
    assert abs(float(moments.variance(1)) - x.var(ddof=1)) < 1e-11


def test_running_variance_without_cancellation():
    x = np.random.default_rng(0).normal(1e8, 1.0, (5000, 3))
    one, first, second = statistics.Moments(), statistics.Moments(), statistics.Moments()
    for row in x[:100]:
        one.update(row[None])
    np.testing.assert_allclose(one.std(), x[:100].std(axis=0), rtol=1e-7)
    merged = first.update(x[:1234]).merge(second.update(x[1234:])).merge(statistics.Moments())
    np.testing.assert_allclose(merged.variance(), x.var(axis=0), rtol=1e-7)
    np.testing.assert_allclose(merged.mean, [math.fsum(column) / 5000 for column in x.T], rtol=3e-16)
    assert np.isnan(statistics.Moments().update(1.0).variance(1))
    with pytest.raises(ShapeError):
        one.update(np.zeros((4, 2)))
