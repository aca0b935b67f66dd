# SPDX-License-Identifier: Apache-2.0
"""x**y as C's pow defines it, as a function of `Lanes`: exp(y log |x|), then the special cases.

In and out: two values of float or double lanes of any width. The power multiplies the relative error of the logarithm by
up to 745, so this has about ten bits more than the result: float lanes carry it in double, double lanes in two doubles
(T. J. Dekker, "A floating-point technique for extending the available precision", 1971).
"""

from __future__ import annotations

import math

from llvmlite import ir

from chainrule.native import math_tables as tables
from chainrule.native.math_core import DOUBLE, FLOAT, Lanes
from chainrule.native.math_exp import LN2, LOG2_E, exp_polynomial, scale_safely, split_any

INFINITY, NAN = math.inf, math.nan
IN_DOUBLE = 5  # leading coefficients of the logarithm of a float that need double precision
LN2_EXACT = (0.693147180369123816490, 1.90821492927058770002e-10)  # the first times any exponent is exact
EXP2 = tuple(c * math.log(2) ** i for i, c in enumerate((1.0, 1.0, *tables.EXP_32)))
Pair = tuple[Lanes, Lanes]  # a number as the sum of two, the second below the last place of the first


def power(x: Lanes, y: Lanes) -> Lanes:
    """x**y; at most 1.3 ulp in float, 1.3 in double."""
    a = x.call("fabs")
    size = (size_double if x.element == DOUBLE else size_float)(a, y)
    whole = y.call("trunc").equals(y)
    half = y * 0.5
    odd = whole & half.call("trunc").differs(half)
    undefined = (x < 0.0) & ~whole & (x > -INFINITY)
    result = undefined.choose(NAN, odd.choose(size.with_sign_of(x), size))
    to_infinity = a.equals(1.0) & y.call("fabs").equals(INFINITY)
    return (y.equals(0.0) | x.equals(1.0) | to_infinity).choose(1.0, result)


def exponent_and_rest(a: Lanes) -> Pair:
    """(k, f) with a = 2**k (1 + f); k is minus infinity of 0, infinity of infinity, NaN of NaN."""
    k, f = split_any(a)
    return (a < INFINITY).choose(a.equals(0.0).choose(-INFINITY, k), a), f


# ---- float

def size_float(a: Lanes, y: Lanes) -> Lanes:
    """a**y for a >= 0 as 2**(y log2 a), the exponent in double."""
    k, f = exponent_and_rest(a)
    wide = lambda value: value.convert("fpext", DOUBLE)
    high, low = tables.LOG2_POW[:IN_DOUBLE], tables.LOG2_POW[IN_DOUBLE:]
    rest = wide(f)
    square = rest * rest
    upper = wide(f.even_and_odd(low)).fma(rest, high[4])
    ratio = upper.fma(square, rest.fma(high[3], high[2])).fma(square, rest.fma(high[1], high[0]))
    t = (ratio.fma(rest, wide(k)) * wide(y)).clamp(-a.format.bias - a.format.fraction - 2.0, a.format.bias + 1.0)
    shift = t.format.round_shift + 2 * a.format.bias
    shifted = t + shift
    r = (t - (shifted - shift)).convert("fptrunc", FLOAT)
    return scale_safely(r.even_and_odd(EXP2[1:]).fma(r, 1.0), shifted.bits().convert("trunc", ir.IntType(32)))


# ---- double

def quick_sum(large: Lanes, small: Lanes) -> Pair:
    """large + small without loss, where large is the larger one or 0."""
    total = large + small
    return total, (large - total) + small


def log_pair(a: Lanes) -> Pair:
    """log(a) to about 65 bits: k ln 2 + 2 artanh(s) with s = f / (2 + f), the terms in s and s**3 in two parts."""
    k, f = exponent_and_rest(a)
    below = f + 2.0
    lost = f - (below - 2.0)                                        # below + lost is 2 + f exactly
    s = f / below
    s_low = ((-s).fma(below, f) - s * lost) / below
    z = s * s
    z_low = s.fma(s, -z) + s * s_low * 2.0
    cube = s * z
    cube_low = s.fma(z, -cube) + s * z_low + s_low * z
    third = cube * (2 / 3)
    third_low = cube.fma(2 / 3, -third) + cube.fma(3.7007434154171886e-17, cube_low * (2 / 3))
    tail = z.polynomial(tables.LOG_POW) * z * cube
    finite = (k.call("fabs") < INFINITY).choose(k, 0.0)
    total, first = quick_sum(finite * LN2_EXACT[0], s + s)
    total, second = quick_sum(total, third)
    low = first + second + (s_low + s_low) + third_low + tail + finite * LN2_EXACT[1]
    total, low = quick_sum(total, low)
    return k.call("fabs").equals(INFINITY).choose(k, total + (k - k)), low


def size_double(a: Lanes, y: Lanes) -> Lanes:
    """a**y for a >= 0 as exp of a pair."""
    high, low = log_pair(a)
    t = y * high
    t_low = y.fma(high, -t) + y * low
    inside = t.call("fabs") < 800.0
    t, t_low = t.clamp(-746.0, 710.0), inside.choose(t_low, 0.0)
    shift = t.format.round_shift + 2 * t.format.bias
    shifted = t.fma(LOG2_E, shift)
    k = shifted - shift
    r = k.fma(-LN2[64][1], k.fma(-LN2[64][0], t)) + t_low
    return scale_safely(exp_polynomial(r), shifted.bits())
