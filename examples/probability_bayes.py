# SPDX-License-Identifier: Apache-2.0
"""Bayes' theorem: a medical test, a coin that is learnt, a classifier, and why a penalty on weights is a prior."""

import numpy as np

import chainrule as cr
from chainrule import data, statistics

# 1 in 1000 is ill; the test finds 99 % of the ill and is wrong for 5 % of the healthy. It says: ill.
posterior = statistics.posterior([0.001, 0.999], [0.99, 0.05])
print(f"P(ill | test says ill) = {float(posterior[0]):.2%}")
assert np.isclose(float(posterior[0]), 0.001 * 0.99 / (0.001 * 0.99 + 0.999 * 0.05))

coin = statistics.BetaBinomial(1, 1).update(successes=7, failures=3)  # from "anything is possible" to "seven of ten"
mean = float(np.asarray(coin.distribution.mean))
print(f"after 7 heads in 10 throws: P(heads) = {mean:.3f}")
assert np.isclose(mean, 8 / 12)

digits = data.digits()
x, y = digits.inputs("train").reshape(len(digits.y_train), -1), digits.y_train
x_test, y_test = digits.inputs("test").reshape(len(digits.y_test), -1), digits.y_test
model = statistics.GaussianNB(smoothing=1e-2).fit(x, y)
right = float((model.predict(x_test) == y_test).mean())
print(f"naive Bayes on digits: {right:.1%} right")
assert right > 0.75

# Maximum a posteriori with a normal prior of variance 1 / l is least squares with the penalty l / 2 |w|^2
rng = np.random.default_rng(0)
a, b, penalty = rng.normal(size=(40, 3)), rng.normal(size=40), 2.0
ridge = np.linalg.solve(a.T @ a + penalty * np.eye(3), a.T @ b)
prior = cr.distributions.Normal(np.zeros(3), np.full(3, penalty**-0.5))
unlikely = lambda w: 0.5 * cr.sum((cr.asarray(a) @ w - b) ** 2) - cr.sum(prior.log_prob(w))
assert np.allclose(cr.grad(unlikely)(cr.asarray(ridge)).numpy(), 0, atol=1e-10)
print("the ridge solution is where the posterior is largest")
