# SPDX-License-Identifier: Apache-2.0
"""Fit the polynomials and rational functions of chainrule/native/llvm/math/coefficients.py and print them as Python
tuples.

In: for every function the remainder to approximate, a weight that turns its error into a relative error of the result,
and an interval. Out: the coefficients of lowest degree whose weighted error is below the target, lowest power first.
Method: Remez' exchange (E. Remez, 1934) on a fine grid in 50-digit arithmetic; rational functions by the linearised
exchange (W. J. Cody, "A survey of practical rational and polynomial approximation of functions", SIAM Review 12, 1970).

    python tools/fit_polynomials.py            # all of them; add names to fit only those
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp

mp.mp.dps = 50
GRID = 1500


@dataclass(frozen=True)
class Fit:
    """Approximate `remainder` on [low, high] so that weight * error stays below 2**-bits."""

    remainder: Callable
    weight: Callable
    low: object
    high: object
    bits: int
    denominator: int = 0            # degree of the denominator; 0 fits a polynomial
    numerator: int = 0              # lowest degree to try


def points(fit: Fit, count: int) -> list:
    """`count` Chebyshev extrema of the interval, from low to high."""
    middle, half = (mp.mpf(fit.high) + fit.low) / 2, (mp.mpf(fit.high) - fit.low) / 2
    return [middle - half * mp.cos(mp.pi * i / (count - 1)) for i in range(count)]


def solve(nodes, values, weights, old_denominators, n: int, d: int):
    """Coefficients (numerator, denominator with leading 1) whose weighted error alternates on the nodes."""
    rows = []
    for i, (x, f, w, q) in enumerate(zip(nodes, values, weights, old_denominators, strict=True)):
        rows.append([x**j for j in range(n + 1)] + [-f * x**j for j in range(1, d + 1)] + [(-1) ** i * q / w])
    solution = mp.lu_solve(mp.matrix(rows), mp.matrix(values))
    return list(solution[: n + 1]), [mp.mpf(1), *solution[n + 1 : n + 1 + d]]


def evaluate(coefficients, x):
    return mp.polyval(coefficients[::-1], x)


def extrema(errors: list) -> list[int]:
    """Indices of the largest error within each run of equal sign."""
    best: list[int] = []
    for i, error in enumerate(errors):
        if best and (error > 0) == (errors[best[-1]] > 0):
            best[-1] = max(best[-1], i, key=lambda k: abs(errors[k]))
        else:
            best.append(i)
    return best


def remez(fit: Fit, n: int, d: int):
    """The best (numerator, denominator) of degrees n and d, and the largest weighted error on the grid."""
    grid = points(fit, GRID)[1:-1]
    values, weights = [fit.remainder(x) for x in grid], [mp.mpf(fit.weight(x)) for x in grid]
    count = n + d + 2
    chosen = [min(GRID - 3, int((GRID - 3) * i / (count - 1))) for i in range(count)]
    denominators = [mp.mpf(1)] * len(grid)
    for _ in range(25):
        p, q = solve(*([s[i] for i in chosen] for s in (grid, values, weights, denominators)), n, d)
        denominators = [evaluate(q, x) for x in grid]
        errors = [w * (evaluate(p, x) / b - f) for x, f, w, b in zip(grid, values, weights, denominators, strict=True)]
        peaks = extrema(errors)
        while len(peaks) > count:                                   # drop the smaller end, keeping the alternation
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        if len(peaks) < count or peaks == chosen:
            break
        chosen = peaks
    return p, q, max(map(abs, errors))


def relative(function, start, order):
    """(function(t) - start(t)) / t**order, from enough digits that the cancellation near zero does no harm."""
    return lambda t: (function(t) - start(t)) / t**order


def of_square(function):
    """The same function of z = t * t."""
    return lambda z: function(mp.sqrt(z))


def erf_exponent(x):
    return -mp.log(mp.erfc(x))


LN2 = mp.log(2)
ROOT = mp.sqrt(2)
exp_rest = relative(mp.exp, lambda t: 1 + t, 2)
log_rest = relative(mp.log1p, lambda t: t - t * t / 2, 3)
log2_rest = relative(lambda t: mp.log1p(t) / LN2, lambda t: (t - t * t / 2) / LN2, 3)
log_ratio = of_square(lambda s: (mp.log((1 + s) / (1 - s)) / s - 2) / s**2)
sin_rest = of_square(relative(mp.sin, lambda t: t, 3))
cos_rest = of_square(relative(mp.cos, lambda t: 1 - t * t / 2, 4))
tan_rest = of_square(relative(mp.tan, lambda t: t, 3))
sinh_rest = of_square(relative(mp.sinh, lambda t: t, 3))
asinh_rest = of_square(relative(mp.asinh, lambda t: t, 3))
atanh_rest = of_square(relative(mp.atanh, lambda t: t, 3))
atan_rest = of_square(relative(mp.atan, lambda t: t, 3))
asin_rest = of_square(relative(mp.asin, lambda t: t, 3))
tan8 = mp.tan(mp.pi / 8) ** 2

# fmt: off
FITS = {
    "EXP_32":       Fit(exp_rest, lambda t: abs(t), -LN2 / 2, LN2 / 2, 25),
    "EXP_64":       Fit(exp_rest, lambda t: abs(t), -LN2 / 2, LN2 / 2, 57),
    "LOG_32":       Fit(log_rest, lambda t: t * t, -0.25, 0.5, 27),
    "LOG_64":       Fit(log_ratio, lambda z: z / 2, 0, 0.04, 58),
    "LOG2_POW_32":  Fit(log2_rest, lambda t: t * t * LN2, -0.043, 0.043, 33),
    "LOG2_POW_64":  Fit(log2_rest, lambda t: t * t * LN2, -0.043, 0.043, 67),
    "SIN_32":       Fit(sin_rest, lambda z: z, 0, (mp.pi / 4) ** 2, 27),
    "SIN_64":       Fit(sin_rest, lambda z: z, 0, (mp.pi / 4) ** 2, 58),
    "COS_32":       Fit(cos_rest, lambda z: z * z, 0, (mp.pi / 4) ** 2, 27),
    "COS_64":       Fit(cos_rest, lambda z: z * z, 0, (mp.pi / 4) ** 2, 58),
    "TAN_32":       Fit(tan_rest, lambda z: z, 0, (mp.pi / 4) ** 2, 27),
    "SINH_32":      Fit(sinh_rest, lambda z: z, 0, 1, 27),
    "SINH_64":      Fit(sinh_rest, lambda z: z, 0, 1, 57),
    "ASINH_32":     Fit(asinh_rest, lambda z: z, 0, 0.36, 27),
    "ATANH_32":     Fit(atanh_rest, lambda z: z, 0, 0.25, 27),
    "ACOSH_32":     Fit(lambda t: (mp.acosh(1 + t) / mp.sqrt(2 * t) - 1) / t, lambda t: t, mp.mpf(2) ** -40, 0.5, 27),
    "ATAN_32":      Fit(atan_rest, lambda z: z, 0, 0.25, 27),
    "ATAN_64":      Fit(atan_rest, lambda z: z, 0, tan8, 57),
    "ASIN_32":      Fit(asin_rest, lambda z: z, 0, 0.5625**2, 27),
    "ASIN_64":      Fit(asin_rest, lambda z: z, 0, 0.5625**2, 57),
    "TANH_32":      Fit(of_square(relative(mp.tanh, lambda t: t, 3)), lambda z: z, 0, 0.56**2, 27),
    "ERF_SMALL_32": Fit(of_square(lambda t: mp.erf(t) / t - 1), lambda z: 1, 0, 0.93 ** 2, 27),
    "ERF_LARGE_32": Fit(erf_exponent, lambda t: mp.erfc(t) / mp.erf(t), 0.92, 4, 26),
}
# fmt: on


# name: (value, parts, rounding of each part, bits that the first part leaves free)
CONSTANTS = {"LN2": (mp.log(2), 2, mp.nint, 0), "LN2_BELOW": (mp.log(2), 2, mp.floor, 0),
             "LOG10_2": (mp.log10(2), 2, mp.nint, 11),
             "LOG2_E": (1 / mp.log(2), 2, mp.nint, 0), "LOG10_E": (1 / mp.log(10), 2, mp.nint, 0),
             "HALF_PI": (mp.pi / 2, 3, mp.nint, 0)}


def parts(value, bits: int, count: int, rounding, free: int) -> list[float]:
    """`value` as a sum of `count` numbers of `bits` bits each, the largest first and shorter by `free`."""
    result = []
    for number in range(count):
        mantissa, exponent = mp.frexp(value)
        width = bits - (free if not number else 0)
        result.append(float(mp.ldexp(rounding(mantissa * 2**width), exponent - width)))
        value -= result[-1]
    return result


# Of the sixteen parts into which native/llvm/math/significand.py cuts [3/4, 3/2): 32 / m is about the number, so that m
# / 32 times it less 1 is exact and small
PARTS = (42, 41, 39, 38, 37, 35, 34, 33, 32, 30, 28, 27, 26, 24, 23, 22)


def logarithms_of_parts(bits: int, first_bits: int) -> tuple[list[float], list[float]]:
    """log2(32 / p) for each part, in multiples of 2**-first_bits, and what is left, rounded to `bits` bits."""
    exact = [5 - mp.log(p) / LN2 for p in PARTS]
    first = [mp.nint(x * 2**first_bits) / 2**first_bits for x in exact]
    return list(map(float, first)), [parts(x - y, bits, 1, mp.nint, 0)[0] for x, y in zip(exact, first, strict=True)]


def words_of_two_over_pi(count: int = 19, point: int = 6) -> list[int]:
    """2/π in words of 64 bits, the first bit worth 2**point: as many as the largest double's reduction reads."""
    with mp.workprec(64 * count + 64):
        whole = int(mp.floor(2 / mp.pi * mp.mpf(2) ** (64 * count - 1 - point)))
    return [whole >> 64 * i & 2**64 - 1 for i in reversed(range(count))]


def show(name: str, coefficients) -> None:
    print(f"{name} = (")
    for c in coefficients:
        print(f"    {mp.nstr(c, 18)},")
    print(")")


def main(names: list[str]) -> None:
    for name, (value, count, rounding, free) in CONSTANTS.items() if not names else ():
        for width, bits in ((32, 24), (64, 53)):
            print(f"{name}_{width} = ({', '.join(map(repr, parts(value, bits, count, rounding, free)))})")
    if not names:
        print(f"TWO_OVER_PI = ({', '.join(f'0x{word:016X}' for word in words_of_two_over_pi())})")
        print(f"INVERSES = {tuple(p / 32 for p in PARTS)}")
        for width, bits, first_bits in ((32, 24, 15), (64, 53, 41)):
            for name, table in zip(("PARTS", "PARTS_BELOW"), logarithms_of_parts(bits, first_bits), strict=True):
                print(f"{name}_{width} = {tuple(table)}")
    for name in names or FITS:
        fit = FITS[name]
        for n in range(fit.numerator, 20):
            p, q, error = remez(fit, n, fit.denominator)
            if error < mp.mpf(2) ** -fit.bits:
                break
        print(f"# {name}: degree {n}/{fit.denominator}, largest weighted error 2**{mp.nstr(mp.log(error, 2), 4)}")
        show(name, p)
        if fit.denominator:
            show(name + "_DENOMINATOR", q)


if __name__ == "__main__":
    main(sys.argv[1:])
