# SPDX-License-Identifier: Apache-2.0
"""x**y as C's pow defines it, as a function of `Lanes`: 2**(y log2 |x|), then the special cases.

In and out: two values of float or double lanes of any width. The power multiplies the relative error of the logarithm
by up to 1075, so this has about ten bits more than the result, as a sum of two lanes (T. J. Dekker, "A floating-point
technique for extending the available precision", 1971). |x| = 2**k m, and m times the short inverse of its sixteenth of
the range is 1 + r with |r| < 0.043 and r exact (P. T. P. Tang, "Table-driven implementation of the logarithm function
in IEEE floating-point arithmetic", 1990).
"""

from __future__ import annotations

import math

from . import coefficients as tables
from .exponential import EXP, LOG2_E_PARTS
from .lanes import Lanes
from .significand import LOWEST_BITS, lookup, scale, split

PARTS = {32: (tables.PARTS_32, tables.PARTS_BELOW_32), 64: (tables.PARTS_64, tables.PARTS_BELOW_64)}
SIGN = {32: -1 << 31, 64: -1 << 63}
LOG2_REST = {32: tables.LOG2_POW_32, 64: tables.LOG2_POW_64}
Pair = tuple[Lanes, Lanes]  # a number as the sum of two, the second much smaller


def power(x: Lanes, y: Lanes) -> Lanes:
    """x**y; at most 1.3 ulp in float, 1.5 in double."""
    whole = y.call("trunc").equals(y)
    half = y * 0.5
    odd = half.call("trunc").differs(half) & whole
    below_zero = x.bits() - 1 < -(1 << x.format.fraction) - 1     # and finite, in one comparison
    one = (below_zero & ~whole).choose(x.constant(math.nan), 1.0)
    k, r = exponent(y, *log2_pair(x.call("fabs")))
    size = scale(r.even_and_odd(EXP2[r.format.bits][1:]).fma(r, one), k)
    return (size.bits() | odd.choose(x.bits() & SIGN[x.format.bits], 0)).as_float()


def log2_pair(a: Lanes) -> Pair:
    """log2(a) for a >= 0; where it is infinite or NaN, the second part is not to be read."""
    k, m = split(a)
    bits, fraction = a.format.bits, a.format.fraction
    sixteenth = 1 << (fraction - 4)                                 # of the numbers between two powers of 2
    place = (m.bits() - (LOWEST_BITS[bits] - sixteenth
                         // 2)).logical_right(fraction - 4).call("umin", len(tables.INVERSES) - 1)
    look = lambda table: lookup(table, place, a.element)
    r = m.fma(look(tables.INVERSES), -1.0)
    first, below = map(look, PARTS[bits])
    whole = k + first
    high, low = ratio(r)
    product = r * high
    product_low = r.fma(low, r.fma(high, -product))
    total = whole + product
    return total, (product - (total - whole)) + below + product_low


def ratio(r: Lanes) -> Pair:
    """log2(1 + r) / r, which is (1 - r / 2 + r² …) log2 e."""
    e, e_low = LOG2_E_PARTS[r.format.bits]
    high = r.fma(-e / 2, e)
    low = r.fma(-e / 2, e - high) + r.fma(-e_low / 2, e_low)
    return high, (r * r).fma(r.even_and_odd(LOG2_REST[r.format.bits]), low)


def exponent(y: Lanes, high: Lanes, low: Lanes) -> Pair:
    """y (high + low) as the nearest whole number and the rest; 0 where y or the logarithm is, whatever the other is.

    Where the power is surely 0 or infinite, the rest is 0, because the second part may be NaN.
    """
    counts = y.differs(0.0) & high.differs(0.0)
    t = counts.choose(y * high, 0.0)
    inside = counts & (t.call("fabs") < y.format.bias + y.format.fraction + 3.0)
    t_low = inside.choose(y.fma(low, y.fma(high, -t)), 0.0)
    k = (t + t_low).call("rint")
    return k, inside.choose((t - k) + t_low, 0.0)


EXP2 = {bits: tuple(c * math.log(2) ** i for i, c in enumerate((1.0, 1.0, *table))) for bits, table in EXP.items()}
