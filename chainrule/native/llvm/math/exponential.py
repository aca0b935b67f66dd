# SPDX-License-Identifier: Apache-2.0
"""Exponentials, logarithms and what is made of them, as functions of `Lanes`.

In and out: float or double lanes of any width. exp writes x = k ln 2 + r with |r| <= ln 2 / 2 and scales a polynomial
in r by 2**k; log writes x = 2**k (1 + f) with 1 + f between 3/4 and 3/2. Method: W. J. Cody and W. Waite, "Software
manual for the elementary functions" (1980). The errors in the docstrings are the largest that four million arguments
show (tests/native/test_math.py), in units in the last place (ulp).
"""

from __future__ import annotations

import math

from . import coefficients as tables
from .lanes import DOUBLE, Lanes, per_lane
from .significand import split

NAN = math.nan
LOG2_E = 1 / math.log(2)
EXP = {32: tables.EXP_32, 64: tables.EXP_64}
SINH = {32: tables.SINH_32, 64: tables.SINH_64}
LN2 = {32: tables.LN2_32, 64: tables.LN2_64}
LN2_BELOW = {32: tables.LN2_BELOW_32, 64: tables.LN2_BELOW_64}
LOG10_2 = {32: tables.LOG10_2_32, 64: tables.LOG10_2_64}
LOG2_E_PARTS = {32: tables.LOG2_E_32, 64: tables.LOG2_E_64}
LOG10_E_PARTS = {32: tables.LOG10_E_32, 64: tables.LOG10_E_64}
# Beyond these exp is surely 0 or infinite, and k still fits the two factors of `scale_safely`.
EXP_RANGE = {32: (-104.0, 89.0), 64: (-746.0, 710.0)}


# ---- powers of two and the reduction of exp

def reduce_exp(x: Lanes, bias: int) -> tuple[Lanes, Lanes]:
    """(n, r) with x = k ln 2 + r; the low bits of the integer n hold k + bias."""
    high, low = LN2[x.format.bits]
    shift = x.format.round_shift + bias
    shifted = x.fma(LOG2_E, shift)
    k = shifted - shift
    return shifted.bits(), k.fma(-low, k.fma(-high, x))


def power_of_two(biased: Lanes, fraction: int) -> Lanes:
    """2**k, from an integer whose low bits hold k + bias; k must be the exponent of a normal number."""
    return (biased << fraction).as_float()


def scale_safely(value: Lanes, n: Lanes) -> Lanes:
    """value * 2**k, where n holds k + 2 bias; two factors, so that overflow and gradual underflow come out right."""
    half = n.logical_right(1)
    fraction = value.format.fraction
    return value * power_of_two(half, fraction) * power_of_two(n - half, fraction)


def exp_polynomial(r: Lanes) -> Lanes:
    """exp(r) for |r| <= ln 2 / 2."""
    return r.polynomial((1.0, 1.0, *EXP[r.format.bits]))


def exp_normal(x: Lanes) -> Lanes:
    """exp(x) where the result is known to be a normal number: one factor less than `exp`."""
    n, r = reduce_exp(x, x.format.bias)
    return exp_polynomial(r) * power_of_two(n, x.format.fraction)


# ---- exponentials

def exp(x: Lanes) -> Lanes:
    """exp(x); at most 0.91 ulp in float, 0.85 in double."""
    n, r = reduce_exp(x.clamp(*EXP_RANGE[x.format.bits]), 2 * x.format.bias)
    return scale_safely(exp_polynomial(r), n)


def exp2(x: Lanes) -> Lanes:
    """2**x; at most 0.90 ulp in float, 0.95 in double."""
    format_ = x.format
    x = x.clamp(-format_.bias - format_.fraction - 2.0, format_.bias + 1.0)
    shift = format_.round_shift + 2 * format_.bias
    shifted = x + shift
    r = (x - (shifted - shift)) * math.log(2)
    return scale_safely(exp_polynomial(r), shifted.bits())


def expm1(x: Lanes) -> Lanes:
    """exp(x) - 1, precise near 0; at most 1.6 ulp in float, 1.8 in double."""
    format_ = x.format
    low, high = (-20.0, 89.0) if format_.bits == 32 else (-40.0, 710.0)
    n, r = reduce_exp(x.clamp(low, high), format_.bias - 1)
    rest = (r * r).fma(r.polynomial(EXP[format_.bits]), r)
    half_power = power_of_two(n, format_.fraction)              # half, for 2**k overflows at the largest x
    half = rest.fma(half_power, half_power - 0.5)
    tiny = x.call("fabs") < 2.0 ** -(format_.fraction + 2)          # keeps -0 and the last bit of subnormals
    return tiny.choose(x, half + half)


def sigmoid(x: Lanes) -> Lanes:
    """1 / (1 + exp(-x)), without overflow; at most 1.9 ulp in float, 1.7 in double."""
    decay = exp(-x.call("fabs"))
    total = decay + 1.0
    lost = decay - (total - 1.0)                                    # what rounding `total` has dropped
    ratio = (x < 0.0).choose(decay, 1.0) / total
    return ratio.fma(-lost, ratio)


def tanh(x: Lanes) -> Lanes:
    """tanh(x); at most 1.5 ulp in float, 2.4 in double."""
    return tanh_double(x) if x.element == DOUBLE else tanh_float(x)


def tanh_float(x: Lanes) -> Lanes:
    """x + x³ P(x²) up to 0.55, beyond it 1 - 2 / (exp(2|x|) + 1), which rounds to 1 before |x| = 10."""
    a = x.call("fabs")
    a = (x.constant(10.0) < a).choose(10.0, a)                      # NaN stays
    z = a * a
    small = (a * z).fma(z.polynomial(tables.TANH_32), a)
    shift = x.format.round_shift + x.format.bias
    shifted = a.fma(2 * LOG2_E, shift)
    r = (shifted - shift).fma(-math.log(2), a + a)                  # k < 30, so that one part of ln 2 is enough
    power = power_of_two(shifted.bits(), x.format.fraction)
    large = 1.0 - 2.0 / exp_polynomial(r).fma(power, 1.0)
    return (a < 0.55).choose(small, large).with_sign_of(x)


def tanh_double(x: Lanes) -> Lanes:
    """With e = exp(2|x|) - 1: e / (e + 2), and the sign of x."""
    e = expm1((x + x).call("fabs").clamp(0.0, 44.0))
    return (e / (e + 2.0)).with_sign_of(x)


def exp_quarter(a: Lanes) -> Lanes:
    """exp(a) / 4 for a >= 0, which is finite as long as sinh(a) is."""
    a = (a.constant(EXP_RANGE[a.format.bits][1] + 1.0) < a).choose(EXP_RANGE[a.format.bits][1] + 1.0, a)     # NaN stays
    n, r = reduce_exp(a, a.format.bias - 2)
    return exp_polynomial(r) * power_of_two(n, a.format.fraction)


def sinh(x: Lanes) -> Lanes:
    """x + x³ P(x²) up to 1, beyond it (exp(x) - exp(-x)) / 2; at most 1.6 ulp in float and double."""
    a = x.call("fabs")
    z, quarter = a * a, exp_quarter(a)
    small = (a * z).fma(z.even_and_odd(SINH[x.format.bits]), a)
    return (a < 1.0).choose(small, (quarter + quarter) - 0.125 / quarter).with_sign_of(x)


def cosh(x: Lanes) -> Lanes:
    """(exp(x) + exp(-x)) / 2; at most 1.4 ulp in float and double."""
    quarter = exp_quarter(x.call("fabs"))
    return (quarter + quarter) + 0.125 / quarter


def erf(x: Lanes) -> Lanes:
    """2/√π ∫ exp(-t²) dt from 0 to x; at most 1.2 ulp in float; double calls the C library for each lane."""
    return per_lane("erf", x) if x.element == DOUBLE else erf_float(x)


def erf_float(x: Lanes) -> Lanes:
    """x + x P(x²) up to 0.92, beyond it 1 - exp(-Q(|x|)), which rounds to 1 before |x| = 4."""
    a = x.call("fabs").clamp(0.0, 4.0)
    small = x.fma((a * a).polynomial(tables.ERF_SMALL_32), x)
    large = 1.0 - exp_normal(a.polynomial([-c for c in tables.ERF_LARGE_32]))
    return (a < 0.92).choose(small, large.with_sign_of(x))


# ---- logarithms

def log_rest(f: Lanes) -> Lanes:
    """log(1 + f) - f for 1 + f between 3/4 and 3/2."""
    if f.format.bits == 32:
        return f * f * f.fma(f.even_and_odd(tables.LOG_32), -0.5)
    s = f / (f + 2.0)                                               # log(1 + f) = 2 artanh(s)
    z, half_square = s * s, f * f * 0.5
    return s * z.fma(z.even_and_odd(tables.LOG_64), half_square) - half_square


def log_sum(k: Lanes, f: Lanes, share: Lanes | float = 0.0) -> Lanes:
    """k ln 2 + log(1 + f) + share, the small terms first; both parts of ln 2 are positive, so that an infinite k stays.
    """
    high, low = LN2_BELOW[f.format.bits]
    rest = log_rest(f)
    return k.fma(high, k.fma(low, rest + share if isinstance(share, Lanes) else rest) + f)


def log(x: Lanes) -> Lanes:
    """The natural logarithm; at most 0.97 ulp in float, 0.85 in double."""
    k, m = split(x)
    return log_sum(k, m - 1.0)


def log2(x: Lanes) -> Lanes:
    """The logarithm to base 2, exact for powers of 2; at most 2.0 ulp in float, 1.7 in double."""
    k, m = split(x)
    f, (high, low) = m - 1.0, LOG2_E_PARTS[x.format.bits]
    return f.fma(low / high, log_rest(f)).fma(high, f.fma(high, k))


def log10(x: Lanes) -> Lanes:
    """The logarithm to base 10; at most 1.9 ulp in float, 1.8 in double."""
    k, m = split(x)
    f, (high, low), (two, two_low) = m - 1.0, LOG10_E_PARTS[x.format.bits], LOG10_2[x.format.bits]
    return f.fma(high, k * two) + log_rest(f).fma(high, f.fma(low, k * two_low))     # k * two is exact


def log1p(x: Lanes) -> Lanes:
    """log(1 + x), precise near 0; at most 1.1 ulp in float and double."""
    u = x + 1.0
    k, m = split(u)
    # of u is what rounding it has lost; NaN of 0 and infinity
    share = (x - (u - 1.0)) / u
    result = log_sum(k, m - 1.0, share.equals(share).choose(share, 0.0))
    return x.equals(0.0).choose(x, result)                          # keeps -0


# ---- inverse hyperbolic functions

HUGE = 2.0**40  # from where 1 beside the square makes no difference


def log_of_sum(large: Lanes, small: Lanes) -> Lanes:
    """log(large + small) for 0 <= small <= large, to the last place of the sum and without overflow."""
    large, small = large * 0.5, small * 0.5
    s = large + small
    share = (s < HUGE).choose((small - (s - large)) / s, 0.0)       # of s is what rounding it has lost
    k, m = split(s)
    return log_sum(k + 1.0, m - 1.0, share)


def asinh(x: Lanes) -> Lanes:
    """The inverse of sinh; at most 1.4 ulp in float, 1.7 in double."""
    return asinh_double(x) if x.element == DOUBLE else asinh_float(x)


def asinh_float(x: Lanes) -> Lanes:
    """x + x³ P(x²) up to 0.6, beyond it log(|x| + √(x² + 1))."""
    a = x.call("fabs")
    z = a * a
    small = (a * z).fma(z.even_and_odd(tables.ASINH_32), a)
    root = (a < HUGE).choose(a.fma(a, 1.0).call("sqrt"), a)
    return (a < 0.6).choose(small, log_of_sum(root, a)).with_sign_of(x)


def asinh_double(x: Lanes) -> Lanes:
    """log1p(|x| + x² / (1 + √(x² + 1)))."""
    a = x.call("fabs")
    square = a * a
    return log1p_or_double(a, a + square / ((square + 1.0).call("sqrt") + 1.0)).with_sign_of(x)


def acosh(x: Lanes) -> Lanes:
    """The inverse of cosh, NaN below 1; at most 1.5 ulp in float, 2.4 in double."""
    return acosh_double(x) if x.element == DOUBLE else acosh_float(x)


def acosh_float(x: Lanes) -> Lanes:
    """√(2 t) (1 + t P(t)) with t = x - 1 up to 1/2, beyond it log(x + √(x² - 1))."""
    t = x - 1.0
    near = t < 0.5
    root = near.choose(t + t, x.fma(x, -1.0)).call("sqrt")
    small = (root * t).fma(t.even_and_odd(tables.ACOSH_32), root)
    return near.choose(small, log_of_sum(x, (x < HUGE).choose(root, x)))


def acosh_double(x: Lanes) -> Lanes:
    """log1p(t + √(t (t + 2))) with t = x - 1."""
    t = x - 1.0
    return (x < 1.0).choose(NAN, log1p_or_double(x, t + (t * (t + 2.0)).call("sqrt")))


def log1p_or_double(x: Lanes, argument: Lanes) -> Lanes:
    """log(1 + argument), or log(2 x) where x is so large that its square may overflow."""
    large = x > 2.0**28
    return log1p(large.choose(x - 1.0, argument)) + large.choose(x.constant(math.log(2)), 0.0)


def atanh(x: Lanes) -> Lanes:
    """The inverse of tanh; at most 1.4 ulp in float, 1.8 in double."""
    return atanh_double(x) if x.element == DOUBLE else atanh_float(x)


def atanh_float(x: Lanes) -> Lanes:
    """x + x³ P(x²) up to 1/2, beyond it log((1 + |x|) / (1 - |x|)) / 2."""
    a = x.call("fabs")
    z = a * a
    small = (a * z).fma(z.even_and_odd(tables.ATANH_32), a)
    return (a < 0.5).choose(small, log((1.0 + a) / (1.0 - a)) * 0.5).with_sign_of(x)


def atanh_double(x: Lanes) -> Lanes:
    """log1p(2 |x| / (1 - |x|)) / 2."""
    a = x.call("fabs")
    return (log1p((a + a) / (1.0 - a)) * 0.5).with_sign_of(x)
