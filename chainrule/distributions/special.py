# SPDX-License-Identifier: Apache-2.0
"""Gamma functions as sentences of operations: `lgamma`, `digamma`, `polygamma`, `lbeta`; and products that are 0 times
log 0.

Arguments are shifted upwards by the recurrence until Stirling's asymptotic series reaches the precision of float64, and
reflected below 0. Each derivative is the next polygamma function (a rule of its own), so every order exists.
Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 6.1.40, 6.1.17, 6.3.7, 6.3.18, 6.4.7, 6.4.11.
"""

from __future__ import annotations

import math
from typing import Any

from ..ir.tensor import Tensor
from ..ops.compose import square
from ..ops.control import custom_gradient
from ..ops.elementwise import (
    abs,
    as_float,
    astype,
    cos,
    equal,
    erf,
    exp,
    expm1,
    float_operands,
    floor,
    less,
    less_equal,
    log,
    log1p,
    negative,
    round,
    sin,
    where,
    zeros_like,
)
from ..typing import ArrayLike

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)  # B_2, B_4, ..., B_14
SHIFT = 8
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def lgamma(x: ArrayLike, /) -> Tensor:
    """log |Gamma(x)|; infinite at 0, -1, -2, ...; derivative digamma.

    Absolute error about 1e-15 near 1 and 2, relative error about 1e-15 elsewhere (float64).

    >>> cr.distributions.lgamma([1.0, 5.0]), np.log(24)
    (Tensor([0.      , 3.178053], dtype=float32), np.float64(3.1780538303479458))
    """
    x = as_float(x)
    mirrored = less(x, 0.5)
    value = _lgamma_positive(where(mirrored, 1 - x, x))
    sine = abs(sin(math.pi * _fraction(x)))
    value = where(mirrored, math.log(math.pi) - log(sine) - value, value)
    value = where(less_equal(x, 0) & equal(x, round(x)), math.inf, value)
    return custom_gradient(value, (x,), lambda g, y, x: (g * digamma(x),))


def _fraction(x: Tensor) -> Tensor:
    """x less the nearest integer: the sine of pi x keeps its precision."""
    return x - round(x)


def _lgamma_positive(x: Tensor) -> Tensor:
    """log Gamma(x) = log Gamma(x + 8) - log(x (x + 1) ... (x + 7)) for 1/2 <= x < 8."""
    small = less(x, SHIFT)
    low = where(small, x, 1.0)
    product = low
    for i in range(1, SHIFT):
        product = product * (low + i)
    high = where(small, x + SHIFT, x)
    correction = _series(high, [b / (2 * k * (2 * k - 1)) for k, b in enumerate(BERNOULLI, 1)]) * high
    value = (high - 0.5) * (log(high) - 1) - 0.5 + HALF_LOG_TWO_PI + correction
    value = where(equal(x, math.inf), x, value)
    return value - where(small, log(product), 0.0)


def _series(x: Tensor, coefficients: list[float]) -> Tensor:
    """c_1 / x^2 + c_2 / x^4 + ..."""
    t = 1 / square(x)
    total = zeros_like(x)
    for c in reversed(coefficients):
        total = (total + c) * t
    return total


def digamma(x: ArrayLike, /) -> Tensor:
    """The derivative of log |Gamma(x)|; NaN at 0, -1, -2, ...

    >>> cr.distributions.digamma([1.0, 2.0])
    Tensor([-0.5772159,  0.4227842], dtype=float32)
    """
    x = as_float(x)
    mirrored = less(x, 0.5)
    z = where(mirrored, 1 - x, x)
    value = _recurrence(z, log, lambda x: negative(0.5 / x)
                        - _series(x, [b / (2 * k) for k, b in enumerate(BERNOULLI, 1)]))
    angle = math.pi * _fraction(x)
    value = where(mirrored, value - math.pi * cos(angle) / sin(angle), value)
    value = where(less_equal(x, 0) & equal(x, round(x)), math.nan, value)
    return custom_gradient(value, (x,), lambda g, y, x: (g * polygamma(1, x),))


def polygamma(n: int, x: ArrayLike, /) -> Tensor:
    """The n-th derivative of digamma, for n >= 0; NaN below 0 if n > 1.

    >>> cr.distributions.polygamma(1, 1.0), np.pi**2 / 6
    (Tensor(1.644934, dtype=float32), 1.6449340668482264)
    """
    if n == 0:
        return digamma(x)
    x = as_float(x)
    mirrored = less(x, 0.5) if n == 1 else less_equal(x, 0)
    z = where(mirrored, 1 - x, x)
    factor = -math.factorial(n) if n % 2 == 0 else math.factorial(n)
    value = factor * _zeta(n + 1, z)
    reflected = square(math.pi / sin(math.pi * _fraction(x))) - value if n == 1 else math.nan
    value = where(mirrored, reflected, value)
    return custom_gradient(value, (x,), lambda g, y, x: (g * polygamma(n + 1, x),))


def _zeta(s: int, x: Tensor) -> Tensor:
    """sum 1 / (x + k)^s over k = 0, 1, ... for x > 0: terms until x + k >= 8 + s, then the Euler-Maclaurin series."""
    shift = SHIFT + 2 * s
    total = zeros_like(x)
    for k in range(shift):
        total = total + (x + k) ** (-s)
    high = x + shift
    rising, terms = 1.0, []
    for k, b in enumerate(BERNOULLI, 1):  # B_2k s (s + 1) ... (s + 2k - 2) / (2k)!
        rising = rising * (s + 2 * k - 2) * (s + 2 * k - 3) if k > 1 else float(s)
        terms.append(b * rising / math.factorial(2 * k))
    return total + high ** (1 - s) / (s - 1) + 0.5 * high ** (-s) + high ** (1 - s) * _series(high, terms)


def _recurrence(x: Tensor, lead: Any, rest: Any) -> Tensor:
    """lead + rest at x + 8, less 1 / x + ... + 1 / (x + 7), for x < 8."""
    small = less(x, SHIFT)
    low, high = where(small, x, 1.0), where(small, x + SHIFT, x)
    total = zeros_like(x)
    for k in range(SHIFT):
        total = total + 1 / (low + k)
    return lead(high) + rest(high) - where(small, total, 0.0)


def lbeta(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """log B(a, b) = log Gamma(a) + log Gamma(b) - log Gamma(a + b); large terms cancel, so they are taken in float64.

    >>> cr.distributions.lbeta(2.0, 3.0), np.log(1 / 12)
    (Tensor(-2.4849067, dtype=float32), np.float64(-2.4849066497880004))
    """
    a, b = float_operands(a, b)
    p, q = astype(a, "float64"), astype(b, "float64")
    return astype(lgamma(p) + lgamma(q) - lgamma(p + q), a.dtype)


def log_choose(n: Any, k: Any, /) -> Tensor:
    """log of the binomial coefficient n! / (k! (n - k)!); large terms cancel, so they are taken in float64."""
    n, k = float_operands(n, k)
    m, j = astype(n, "float64"), astype(k, "float64")
    return astype(lgamma(m + 1) - lgamma(j + 1) - lgamma(m - j + 1), n.dtype)


def xlogy(x: Any, y: Any, /) -> Tensor:
    """x log y, and 0 where both are 0 (with gradient 0)."""
    x, y = float_operands(x, y)
    return x * log(where(equal(x, 0) & less_equal(y, 0), 1.0, y))


def xlog1py(x: Any, y: Any, /) -> Tensor:
    """x log(1 + y), and 0 where x is 0 and y is -1 (with gradient 0)."""
    x, y = float_operands(x, y)
    return x * log1p(where(equal(x, 0) & less_equal(y, -1), 0.0, y))


STEP, TERMS = 0.5, 12


def erfc(x: Any, /) -> Tensor:
    """1 - erf(x), with all digits where it is small; computed in float64.

    Above 1/2 by the trapezoidal rule for 2 x / pi e^-x^2 times the integral of e^-t^2 / (x^2 + t^2) over t > 0, with
    the residue of the pole at i x where that lies below pi / step (Matta and Reichl, Mathematics of Computation 25,
    1971).
    """
    x = as_float(x)
    wide = astype(x, "float64")
    far, far_x = less(0.5, wide), where(less(0.5, wide), wide, 1.0)
    squared = square(far_x)
    total = 0.5 / squared
    for k in range(1, TERMS + 1):
        total = total + math.exp(-(STEP * k) ** 2) / (squared + (STEP * k) ** 2)
    tail = 2 * STEP / math.pi * far_x * exp(-squared) * total
    near_pole = less(far_x, math.pi / STEP)
    tail = tail - where(near_pole, 2 / expm1(where(near_pole, far_x, 1.0) * (2 * math.pi / STEP)), 0.0)
    tail = where(equal(far_x, math.inf), 0.0, tail)
    value = where(far, tail, 1 - erf(where(far, 0.0, wide)))
    value = custom_gradient(value, (wide,), lambda g, y, x: (g * (-2 / math.sqrt(math.pi)) * exp(-square(x)),))
    return astype(value, x.dtype)


def no_count(x: Tensor) -> Tensor:
    """Whether each element is negative or a fraction; false for NaN, which so stays NaN."""
    return less(x, 0) | less(floor(x), x)


__all__ = ["digamma", "erfc", "lbeta", "lgamma", "log_choose", "no_count", "polygamma", "xlog1py", "xlogy"]
