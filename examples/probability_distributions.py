# SPDX-License-Identifier: Apache-2.0
"""Distributions with one interface: densities, samples, moments, divergences, and learning their parameters."""

import numpy as np

import chainrule as cr
from chainrule import distributions as d

cr.random.seed(0)
for family in (d.Normal(1.0, 2.0), d.Bernoulli(0.3), d.Binomial(10, 0.4), d.Poisson(3.0), d.Gamma(2.0, 1.5)):
    x = family.sample((50_000,)).numpy().astype(float)
    mean, variance = float(np.asarray(family.mean)), float(np.asarray(family.variance))
    print(f"{type(family).__name__:10} mean {mean:6.3f} (samples {x.mean():6.3f})   variance {variance:6.3f} (samples "
          f"{x.var():6.3f})")
    assert abs(x.mean() - mean) < 5 * np.sqrt(variance / len(x)) + 1e-3

# What a loss is: the negative log-likelihood of a distribution
p, label = 0.8, 1.0
assert np.isclose(-d.Bernoulli(p).log_prob(label).item(), -np.log(p))  # binary cross-entropy
# squared error / 2 + constant
assert np.isclose(-d.Normal(2.0, 1.0).log_prob(3.0).item(), 0.5 * (3 - 2) ** 2 + 0.5 * np.log(2 * np.pi))

# How far is one distribution from another: closed form, and by samples
a, b = d.Normal(0.0, 1.0), d.Normal(1.0, 2.0)
x = a.sample((200_000,))
by_samples = float(np.mean((a.log_prob(x) - b.log_prob(x)).numpy()))
print(f"KL divergence: {a.kl(b).item():.4f}, by samples {by_samples:.4f}")
assert abs(a.kl(b).item() - by_samples) < 0.01

# A sample with a gradient: E[x^2] of a normal with standard deviation s is s^2, so its derivative is 2 s
slope = cr.grad(lambda s: cr.mean(d.Normal(cr.asarray(0.0), s).rsample((200_000,)) ** 2))(cr.asarray(1.5)).item()
print(f"d E[x^2] / ds at s = 1.5: {slope:.3f} (3)")
assert abs(slope - 3) < 0.05
