# SPDX-License-Identifier: Apache-2.0
"""Tail probabilities of the t and binomial distributions for single numbers, in plain Python.

Both are the regularised incomplete beta function, computed by its continued fraction (Lentz' method; Numerical Recipes,
section 6.4; relative error about 1e-14). Tests of hypotheses so need no optional dependency.
"""

from __future__ import annotations

import functools
import math


def incomplete_beta(a: float, b: float, x: float) -> float:
    """I_x(a, b), the cdf of the beta distribution at x."""
    if not 0 < x < 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / _not_zero(1 + term * d, tiny), _not_zero(1 + term / c, tiny)
            value *= c * d
        if abs(c * d - 1) < 1e-16:
            break
    return value


def _not_zero(x: float, tiny: float) -> float:
    return x if abs(x) > tiny else tiny


def t_two_sided(t: float, df: float) -> float:
    """P(|T| >= |t|) for Student's t with `df` degrees of freedom."""
    if math.isinf(t):
        return 0.0
    square = t * t
    if square < df:  # the complement, without cancellation in df / (df + t^2)
        return 1 - incomplete_beta(0.5, 0.5 * df, square / (df + square))
    return incomplete_beta(0.5 * df, 0.5, df / (df + square))


@functools.lru_cache(maxsize=256)
def t_quantile(level: float, df: float) -> float:
    """The half-width q of P(|T| <= q) = level, by bisection."""
    low, high = 0.0, 1.0
    while t_two_sided(high, df) > 1 - level:
        high *= 2
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if t_two_sided(middle, df) > 1 - level else (low, middle)
    return 0.5 * (low + high)


def fair_coin(k: int, n: int) -> tuple[float, float]:
    """(P(X <= k), P(X = k)) for the number X of heads in n throws of a fair coin."""
    mass = math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))
    return (1.0 if k >= n else incomplete_beta(n - k, k + 1, 0.5)), mass
