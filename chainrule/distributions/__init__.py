# SPDX-License-Identifier: Apache-2.0
"""Probability distributions with one interface, built from operations: differentiable, compiled, batched by
broadcasting.

    p = distributions.Normal(mean, std)
    x = p.rsample(100)                   # a differentiable draw of shape (100, *batch)
    loss = -cr.mean(p.log_prob(data)) + cr.mean(p.kl(distributions.Normal(0, 1)))
"""

from .base import Distribution
from .counts import Bernoulli, Binomial, Categorical, Multinomial, Poisson
from .expectation import expectation
from .location import Laplace, MultivariateNormal, Normal, StudentT, Uniform
from .positive import Beta, Dirichlet, Exponential, Gamma
from .special import digamma, lbeta, lgamma, polygamma

__all__ = [
    "Bernoulli", "Beta", "Binomial", "Categorical", "Dirichlet", "Distribution", "Exponential", "Gamma", "Laplace",
    "Multinomial", "MultivariateNormal", "Normal", "Poisson", "StudentT", "Uniform", "digamma", "expectation", "lbeta",
    "lgamma", "polygamma",
]
