# SPDX-License-Identifier: Apache-2.0
"""Floor division and remainder with the meaning that Python and NumPy give them, for integers and floats.

In: two values of one type, scalar or vector; integers need to be told signed from unsigned. Out: the same type. The
remainder has the sign of the divisor; an integer divided by zero gives 0, as in NumPy, and never traps.
"""

from __future__ import annotations

from llvmlite import ir

from chainrule.native.math_core import Lanes


def _divide(a: Lanes, b: Lanes, signed: bool) -> tuple[Lanes, Lanes]:
    """(quotient rounded to zero, remainder) of the machine, with the divisors that would trap replaced by 1."""
    builder, trap = a.builder, b.equals(0)
    if signed:
        trap = trap | b.equals(-1)                                  # the smallest integer by -1 traps on x86
    safe = trap.choose(1, b).value
    divide, remain = (builder.sdiv, builder.srem) if signed else (builder.udiv, builder.urem)
    quotient, rest = Lanes(builder, divide(a.value, safe)), Lanes(builder, remain(a.value, safe))
    if signed:
        quotient = b.equals(-1).choose(-a, quotient)
    return b.equals(0).choose(0, quotient), rest


def _integer(a: Lanes, b: Lanes, signed: bool) -> tuple[Lanes, Lanes]:
    """(floor(a / b), a - b floor(a / b)), both 0 for b = 0."""
    quotient, rest = _divide(a, b, signed)
    if not signed:
        return quotient, rest
    adjust = rest.differs(0) & ((rest ^ b) < 0)
    return adjust.choose(quotient - 1, quotient), adjust.choose(rest + b, rest)


def _float(a: Lanes, b: Lanes) -> tuple[Lanes, Lanes]:
    """The same for floats, by the exact remainder of C's fmod, which is called once for each lane."""
    rest = Lanes(a.builder, a.builder.frem(a.value, b.value))
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
    return _float(left, right) if left.is_float else _integer(left, right, signed)


def emit_floor_divide(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, signed: bool = True) -> ir.Value:
    """floor(a / b); for integers 0 where b is 0."""
    return _both(builder, a, b, signed)[0].value


def emit_remainder(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, signed: bool = True) -> ir.Value:
    """a - b floor(a / b), with the sign of b; for integers 0 where b is 0, for floats NaN."""
    return _both(builder, a, b, signed)[1].value
