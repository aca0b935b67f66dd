# SPDX-License-Identifier: Apache-2.0
"""Floor division and remainder with the meaning that Python and NumPy give them, for integers and floats.

Processors have no vector division of integers, so quotients are estimated in double precision and corrected by the
remainder, which is exact: of 64-bit integers twice, of floats six times, because their exponents reach that far.

In: two values of one type, scalar or vector; integers need to be told signed from unsigned. Out: the same type. The
remainder has the sign of the divisor; an integer divided by zero gives 0, as in NumPy, and never traps.
"""

from __future__ import annotations

import math

from llvmlite import ir

from .lanes import DOUBLE, FLOAT, Lanes, known

WIDE = ir.IntType(64)
LARGEST = 9223372036854774784.0  # the last double that is a 64-bit integer


def _unsigned(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """(a // b, a % b), both 0 for b = 0."""
    builder, safe = a.builder, b.equals(0).choose(1, b).value
    quotient, rest = Lanes(builder, builder.udiv(a.value, safe)), Lanes(builder, builder.urem(a.value, safe))
    return b.equals(0).choose(0, quotient), b.equals(0).choose(0, rest)


def _signed(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """(floor(a / b), a - b floor(a / b)), both 0 for b = 0; the smallest integer by -1 wraps around."""
    if known(b.value) not in (None, 0, -1):                              # LLVM multiplies by the inverse
        quotient = Lanes(a.builder, a.builder.sdiv(a.value, b.value))
        return _towards_minus_infinity(quotient, a - quotient * b, b)
    safe = b.equals(0).choose(1, b)
    inverse = 1.0 / safe.convert("sitofp", DOUBLE)
    quotient, rest = a.constant(0), a
    for _ in range(1 + (a.element.width == 64)):                   # the nearest quotient, off by one at most in the end
        estimate = (rest.convert("sitofp", DOUBLE)
                    * inverse).call("rint").clamp(-(2.0**63), LARGEST).convert("fptosi", WIDE)
        step = estimate if a.element.width == 64 else estimate.convert("trunc", a.element)
        quotient, rest = quotient + step, rest - step * safe
    quotient, rest = _towards_minus_infinity(quotient, rest, safe)
    return b.equals(0).choose(0, quotient), rest


def _towards_minus_infinity(quotient: Lanes, rest: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """Quotient and rest, where the rest may be off by b to have its sign."""
    adjust = rest.differs(0) & ((rest ^ b) < 0)
    return adjust.choose(quotient - 1, quotient), adjust.choose(rest + b, rest)


def _rest(a: Lanes, b: Lanes) -> Lanes:
    """C's fmod, exactly: a - b trunc(a / b)."""
    if a.element == DOUBLE:
        return Lanes(a.builder, a.builder.frem(a.value, b.value))
    x, y = a.convert("fpext", DOUBLE), b.convert("fpext", DOUBLE)
    inverse, rest = 1.0 / y, x
    for _ in range(6):                                              # each step takes 50 bits of at most 276 away
        rest = (-(rest * inverse).call("rint")).fma(y, rest)
    wrong = rest.differs(0.0) & (rest < 0.0).differs(x < 0.0)
    rest = wrong.choose(rest + y.with_sign_of(x), rest)
    rest = (y.call("fabs").equals(math.inf) & (x.call("fabs") < math.inf)).choose(x, rest)
    return rest.convert("fptrunc", FLOAT)


def _float(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """(floor(a / b), a - b floor(a / b)) of floats."""
    rest = _rest(a, b)
    adjust = rest.differs(0.0) & (rest < 0.0).differs(b < 0.0)
    quotient = (a - rest) / b
    quotient = adjust.choose(quotient - 1.0, quotient)
    rest = rest.equals(0.0).choose(rest.with_sign_of(b), adjust.choose(rest + b, rest))
    whole = quotient.call("floor")
    whole = (quotient - whole > 0.5).choose(whole + 1.0, whole)
    whole = quotient.equals(0.0).choose((a / b * 0.0).with_sign_of(a / b), whole)
    return b.equals(0.0).choose(a / b, whole), rest


def _both(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, signed: bool) -> tuple[Lanes, Lanes]:
    left, right = Lanes(builder, a), Lanes(builder, b)
    return _float(left, right) if left.is_float else (_signed if signed else _unsigned)(left, right)


def emit_floor_divide(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, signed: bool = True) -> ir.Value:
    """floor(a / b); for integers 0 where b is 0."""
    return _both(builder, a, b, signed)[0].value


def emit_remainder(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, signed: bool = True) -> ir.Value:
    """a - b floor(a / b), with the sign of b; for integers 0 where b is 0, for floats NaN."""
    return _both(builder, a, b, signed)[1].value
