# SPDX-License-Identifier: Apache-2.0
"""Sine, cosine, tangent and their inverses, as functions of `Lanes`.

In and out: float or double lanes of any width, angles in radians. The argument is reduced to x = k π/2 + r with
|r| <= π/4 in double precision with π/2 in three parts (Cody and Waite 1980), which holds up to |x| = 2**47. Larger
angles are seldom, so `large_angles` mends them in a branch; infinities give NaN.
"""

from __future__ import annotations

import math

from llvmlite import ir

from . import coefficients as tables
from .lanes import DOUBLE, FLOAT, Lanes
from .large_angles import Finish, mend_large

SIN = {32: tables.SIN_32, 64: tables.SIN_64}
COS = {32: tables.COS_32, 64: tables.COS_64}
ATAN = {32: tables.ATAN_32, 64: tables.ATAN_64}
ASIN = {32: tables.ASIN_32, 64: tables.ASIN_64}
HALF_PI = {32: tables.HALF_PI_32, 64: tables.HALF_PI_64}
STEEP = {32: 0.5, 64: math.sqrt(2) - 1}  # in float from where small - big is exact
NARROW = ir.IntType(32)


# ---- sine and cosine of the reduced argument

def reduce_angle(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """(n, r, rest) with x = k π/2 + r + rest, n an integer with the low bits of k; all in double precision."""
    first, second, third = tables.HALF_PI_64
    shift = x.format.round_shift
    shifted = x.fma(2 / math.pi, shift)
    k = shifted - shift
    exact = k.fma(-first, x)
    r = k.fma(-second, exact)
    rest = k.fma(-third, k.fma(-second, exact - r))
    return shifted.bits(), r, rest


def reduce_float(x: Lanes) -> tuple[Lanes, Lanes]:
    """(n, r) for float lanes: r is rounded from double precision."""
    first, second, _ = tables.HALF_PI_64
    wide = x.convert("fpext", DOUBLE)
    shift = wide.format.round_shift
    shifted = wide.fma(2 / math.pi, shift)
    k = shifted - shift
    r = k.fma(-second, k.fma(-first, wide)).convert("fptrunc", FLOAT)
    return low_words(shifted.bits()), r


def low_words(x: Lanes) -> Lanes:
    """The low halves of 64-bit lanes, as one permutation of words."""
    b, type_ = x.builder, x.type
    if not isinstance(type_, ir.VectorType):
        return x.convert("trunc", NARROW)
    words = b.bitcast(x.value, ir.VectorType(NARROW, 2 * type_.count))
    return Lanes(b, b.shuffle_vector(words, words,
                                     ir.Constant(ir.VectorType(NARROW, type_.count),
                                                 list(range(0, 2 * type_.count, 2)))))


def reduce(x: Lanes) -> tuple[Lanes, ...]:
    """(n, r) for float lanes, (n, r, rest) for double ones."""
    return reduce_angle(x) if x.element == DOUBLE else reduce_float(x)


def sine_and_cosine(r: Lanes, rest: Lanes | None = None) -> tuple[Lanes, Lanes]:
    """sin and cos of the reduced argument."""
    if rest is not None:
        return sine_double(r, rest), cosine_double(r, rest)
    z = r * r
    return (r * z).fma(z.polynomial(SIN[32]), r), z.polynomial((1.0, -0.5, *COS[32]))


def sine_double(r: Lanes, rest: Lanes) -> Lanes:
    z = r * r
    return r + (r * z).fma(z.polynomial(SIN[64]), rest)


def cosine_double(r: Lanes, rest: Lanes) -> Lanes:
    z = r * r
    half = z * 0.5
    head = 1.0 - half
    return head + ((1.0 - head - half) + (z * z).fma(z.polynomial(COS[64]), -(r * rest)))


def quarter_turns(n: Lanes, even: Lanes, odd: Lanes) -> Lanes:
    """`even` or `odd` by the last bit of n, negated where the bit before it is set."""
    value = (n & 1).equals(0).choose(even, odd)
    return (value.bits() ^ ((n & 2) << (value.format.bits - 2))).as_float()


# ---- trigonometric functions

def of_angle(x: Lanes, finish: Finish) -> Lanes:
    """`finish(x, n, r …)` of the reduced argument, however large x is."""
    return mend_large(x, finish(x, *reduce(x)), finish)


def sin(x: Lanes) -> Lanes:
    """sin(x); at most 1.6 ulp in float, 1.0 in double."""
    return of_angle(x, sin_reduced)


def sin_reduced(x: Lanes, n: Lanes, *r: Lanes) -> Lanes:
    """±sin r or ±cos r."""
    return x.equals(0.0).choose(x, quarter_turns(n, *sine_and_cosine(*r)))      # keeps -0


def cos(x: Lanes) -> Lanes:
    """cos(x); at most 1.6 ulp in float, 1.0 in double."""
    return of_angle(x, cos_reduced)


def cos_reduced(x: Lanes, n: Lanes, *r: Lanes) -> Lanes:
    """±cos r or ±sin r."""
    return quarter_turns(n + 1, *sine_and_cosine(*r))


def tan(x: Lanes) -> Lanes:
    """tan(x); at most 2.6 ulp in float, 2.5 in double."""
    return of_angle(x, tan_double if x.element == DOUBLE else tan_float)


def tan_double(x: Lanes, n: Lanes, r: Lanes, rest: Lanes) -> Lanes:
    """sin(x) / cos(x)."""
    sine, cosine = sine_and_cosine(r, rest)
    even = (n & 1).equals(0)
    return x.equals(0.0).choose(x, even.choose(sine, -cosine) / even.choose(cosine, sine))     # keeps -0


def tan_float(x: Lanes, n: Lanes, r: Lanes) -> Lanes:
    """t = r + r³ P(r²), or -1 / t after an odd number of quarter turns."""
    z = r * r
    t = (r * z).fma(z.even_and_odd(tables.TAN_32), r)
    return (n & 1).equals(0).choose(t, -1.0 / t)


# ---- their inverses

def arc_of_ratio(small: Lanes, big: Lanes) -> Lanes:
    """atan(small / big) for 0 <= small <= big, by atan(q) = π/4 + atan((q - 1) / (q + 1)) above tan(π/8) or 1/2."""
    steep = small > big * STEEP[small.format.bits]
    t = steep.choose(small - big, small) / steep.choose(small + big, big)
    z = t * t
    high, low = (part / 2 for part in HALF_PI[t.format.bits][:2])
    arc = (t * z).fma(z.polynomial(ATAN[t.format.bits]), t)
    return steep.choose(arc + low + high, arc)


def complement(angle: Lanes, turns: int) -> Lanes:
    """turns * π/2 - angle."""
    high, low = (part * turns for part in HALF_PI[angle.format.bits][:2])
    return high - (angle - low)


def atan(x: Lanes) -> Lanes:
    """The inverse of tan, in [-π/2, π/2]; at most 2.0 ulp in float, 2.2 in double."""
    a = x.call("fabs")
    flipped = a > 1.0
    arc = arc_of_ratio(flipped.choose(1.0, a), flipped.choose(a, 1.0))
    # Beyond 2**60 the ratio would be infinity over infinity at last; the limit is reached long before.
    arc = flipped.choose(complement((a < 2.0**60).choose(arc, 0.0), 1), arc)
    return arc.with_sign_of(x)


def atan2(y: Lanes, x: Lanes) -> Lanes:
    """The angle of the point (x, y), in [-π, π]; at most 2.0 ulp in float, 2.5 in double."""
    a, b = y.call("fabs"), x.call("fabs")
    steep = a > b
    small, big = steep.choose(b, a), steep.choose(a, b)
    limit = 2.0 ** (x.format.bias - 1)                              # beyond it small + big may overflow
    scale = (big > limit).choose(x.constant(0.25),
                                 (big < 1 / limit * 2.0**x.format.fraction).choose(x.constant(2.0**60), 1.0))
    small, big = small * scale, big * scale
    both_infinite = small.equals(math.inf)
    small, big = both_infinite.choose(1.0, small), (both_infinite | big.equals(0.0)).choose(1.0, big)
    arc = arc_of_ratio(small, big)
    arc = steep.choose(complement(arc, 1), arc)
    arc = (x.bits() < 0).choose(complement(arc, 2), arc)
    return x.unordered(y).choose(math.nan, arc.with_sign_of(y))


def half_arcsine(a: Lanes) -> tuple[Lanes, Lanes]:
    """(large, p) for 0 <= a <= 1: asin(a) is p up to 9/16; where `large`, it is π/2 - 2 p and acos(a) is 2 p."""
    large = a > 0.5625
    z = large.choose((1.0 - a) * 0.5, a * a)
    t = large.choose(z.call("sqrt"), a)
    return large, (t * z).fma(z.polynomial(ASIN[a.format.bits]), t)


def asin(x: Lanes) -> Lanes:
    """The inverse of sin, in [-π/2, π/2], NaN beyond ±1; at most 1.3 ulp in float, 1.5 in double."""
    large, p = half_arcsine(x.call("fabs"))
    return large.choose(complement(p + p, 1), p).with_sign_of(x)


def acos(x: Lanes) -> Lanes:
    """The inverse of cos, in [0, π], NaN beyond ±1; at most 1.0 ulp in float and double."""
    large, p = half_arcsine(x.call("fabs"))
    twice, negative = p + p, x < 0.0
    beyond_half = negative.choose(complement(twice, 2), twice)
    return large.choose(beyond_half, complement(p.with_sign_of(x), 1))
