# SPDX-License-Identifier: Apache-2.0
"""Whether one forecaster is better than another, from losses that follow each other in time and so are not independent.

Sources: Newey and West, Econometrica 1987; Diebold and Mariano, JBES 1995; Harvey, Leybourne and Newbold, IJF 1997.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import ArgumentError, explain
from ..foundations.arguments import count, counting, guard
from ..metrics.intervals import Estimate, check_level
from ..typing import ArrayLike
from .checks import by_name, finite_numbers
from .paired import differences
from .runs import Comparison
from .tails import t_quantile, t_two_sided

LEAST = 8  # losses, below which their spread over time is not known


def long_run_variance(x: ArrayLike, lags: int) -> float:
    """n times the variance of the mean of a stationary series x (n,): g_0 + 2 sum over k <= lags of (1 - k / (lags +
    1)) g_k.

    g_k is the autocovariance at lag k; the weights (Bartlett's) keep it from being negative.

    >>> cr.statistics.long_run_variance([1.0, -1.0, 1.0, -1.0], lags=0)
    1.0
    """
    x = np.asarray(x, np.float64)
    centred, n = x - x.mean(), len(x)
    found = float(centred @ centred) / n
    for k in range(1, min(int(lags), n - 1) + 1):
        found += 2 * (1 - k / (lags + 1)) * float(centred[k:] @ centred[:-k]) / n
    return max(found, 0.0)


def diebold_mariano(a: ArrayLike, b: ArrayLike, horizon: int = 1, *, names: tuple[str, str] = ("A", "B"),
                    level: float = 0.95) -> Comparison:
    """Does forecaster B lose less than A? d = a - b, DM = mean(d) / sqrt(long-run variance / n), against Student's t
    with n - 1 degrees of freedom.

    Args:
        a, b: losses (n,) at the same times, in their order.
        horizon: steps that were forecast: losses overlap for so long, and lags up to 2 (horizon - 1) count, because
            Bartlett's weights take about half of each. The statistic is shrunk for small n (Harvey et al.).

    Raises ArgumentError for fewer than 8 losses.

    >>> rng = np.random.default_rng(0)
    >>> good, bad = rng.random(200), rng.random(200) + 0.2
    >>> cr.statistics.diebold_mariano(bad, good, names=("bad", "good")).significant
    True
    """
    d = -differences(a, b)
    n = len(d)
    if n < LEAST:
        raise ArgumentError(explain("there are too few forecasts to compare", got=f"{n}", expected=f"at least {LEAST}"))
    h = min(int(horizon), n - 1)
    shrink = max((n + 1 - 2 * h + h * (h - 1) / n) / n, 1 / n)
    error = math.sqrt(long_run_variance(d, 2 * (h - 1)) / n / shrink)
    mean = float(d.mean())
    p = (1.0 if mean == 0 else 0.0) if error == 0 else t_two_sided(mean / error, n - 1)
    half = t_quantile(check_level(level), n - 1) * error
    return Comparison(names, mean, mean - half, mean + half, p, "diebold_mariano", n, level, False)


def mean_over_time(x: ArrayLike, horizon: int = 1, level: float = 0.95) -> Estimate:
    """The mean of losses (n,) in order of time, which overlap for `horizon` steps, with the interval of
    `long_run_variance`.

    >>> float(cr.statistics.mean_over_time(np.arange(10.0)))
    4.5
    """
    x = np.asarray(x, np.float64)
    if len(x) < LEAST:
        return Estimate(float(x.mean()), level=level)
    half = t_quantile(check_level(level), len(x) - 1) * math.sqrt(long_run_variance(x, 2 * (int(horizon) - 1)) / len(x))
    return Estimate(float(x.mean()), float(x.mean()) - half, float(x.mean()) + half, level)


FUNCTIONS = ("diebold_mariano", "long_run_variance", "mean_over_time")

guard(globals(), FUNCTIONS, by_name(FUNCTIONS, horizon=counting, lags=count, a=finite_numbers, b=finite_numbers))

__all__ = list(FUNCTIONS)
