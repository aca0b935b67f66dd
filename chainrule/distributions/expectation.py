# SPDX-License-Identifier: Apache-2.0
"""`expectation`: E[f(X)], exactly where the support is finite, else as the mean over samples.

Exact: sum of p(x) f(x) over the support of Bernoulli, Binomial and Categorical. Monte-Carlo: over differentiable
samples where there are any, so that gradients reach the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import random
from ..errors import ArgumentError, explain
from ..ir.bind import as_tensor
from ..ir.tensor import Tensor
from ..ops.movement import reshape
from ..ops.reduce import mean, sum
from .base import Distribution
from .counts import Bernoulli, Binomial, Categorical


def expectation(function: Callable[[Tensor], Any], distribution: Distribution, samples: int | None = None,
                generator: random.Generator | None = None) -> Tensor:
    """E[f(X)] of shape (*batch, ...).

    Args:
        function: maps values (n, *batch, *event) to numbers (n, *batch, ...).
        samples: how many draws; default: the exact sum, for which the support must be finite.

    >>> cr.distributions.expectation(lambda x: x * x, cr.distributions.Binomial(10, 0.5))
    Tensor(27.5, dtype=float32)
    """
    if not isinstance(distribution, Distribution):
        raise ArgumentError(explain("an expectation is taken over a distribution", got=type(distribution).__name__,
                                    expected="expectation(function, distribution)"))
    if samples is not None:
        draw = distribution.rsample if distribution.reparameterized else distribution.sample
        return mean(as_tensor(function(draw(samples, generator))), axis=0)
    x = reshape(as_tensor(_support(distribution)), (-1, *(1,) * len(distribution.batch_shape)))
    values, p = as_tensor(function(x)), distribution.prob(x)
    return sum(reshape(p, (*p.shape, *(1,) * (values.ndim - p.ndim))) * values, axis=0)


def _support(distribution: Distribution) -> np.ndarray:
    if isinstance(distribution, Bernoulli):
        return np.arange(2)
    if isinstance(distribution, Categorical):
        return np.arange(distribution.classes)
    if isinstance(distribution, Binomial):
        return np.arange(int(distribution.count.max(initial=0)) + 1)
    raise ArgumentError(explain(f"the support of {type(distribution).__name__} is not a short list of values",
                                fix="say how many samples to take: expectation(f, d, samples=10_000)"))
