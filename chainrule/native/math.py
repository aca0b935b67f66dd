# SPDX-License-Identifier: Apache-2.0
"""`MATH`: the emitters of elementary functions, by name.

In: an `ir.IRBuilder` and one or two values of type float, double, or a vector of them, of any width (`abs` and `sign`
take signed integers too). Out: a value of the same type. Float lanes never call the C library, so loops stay vectors;
double lanes do for `erf`. NaN, infinities, signed zeros and subnormals behave as in NumPy; no emitter adds a
basic block. The speed rests on the processor's fused multiply-add; without one LLVM calls the C library's `fma`, which
is slow but right. Errors in units in the last place (ulp) are the largest found by tests/native/test_math.py.
"""

from __future__ import annotations

from chainrule.native import math_exp, math_pow, math_trig
from chainrule.native.math_core import Emitter, Lanes, emitter
from chainrule.native.math_integer import emit_floor_divide, emit_remainder

__all__ = ["MATH", "emit_floor_divide", "emit_remainder"]


def _rounded(name: str):
    """A rounding intrinsic, which leaves integers as they are."""
    def function(x: Lanes) -> Lanes:
        return x.call(name) if x.is_float else x

    function.__name__ = name
    return function


def absolute(x: Lanes) -> Lanes:
    """|x|; the smallest integer stays as it is."""
    return x.call("fabs") if x.is_float else (x < 0).choose(-x, x)


def sign(x: Lanes) -> Lanes:
    """-1, 0 or 1; NaN of NaN."""
    if not x.is_float:
        return (x > 0).choose(1, (x < 0).choose(x.constant(-1), 0))
    return (x > 0.0).choose(1.0, (x < 0.0).choose(-1.0, x + 0.0))   # + 0.0 makes +0 of -0


def sqrt(x: Lanes) -> Lanes:
    """√x, correctly rounded; NaN below zero."""
    return x.call("sqrt")


def rsqrt(x: Lanes) -> Lanes:
    """1 / √x."""
    return 1.0 / x.call("sqrt")


def reciprocal(x: Lanes) -> Lanes:
    """1 / x, correctly rounded."""
    return 1.0 / x


# fmt: off
_FUNCTIONS = {
    "exp": math_exp.exp,        "exp2": math_exp.exp2,      "expm1": math_exp.expm1,
    "log": math_exp.log,        "log2": math_exp.log2,      "log10": math_exp.log10,    "log1p": math_exp.log1p,
    "sinh": math_exp.sinh,      "cosh": math_exp.cosh,      "tanh": math_exp.tanh,
    "asinh": math_exp.asinh,    "acosh": math_exp.acosh,    "atanh": math_exp.atanh,
    "sigmoid": math_exp.sigmoid, "erf": math_exp.erf,       "pow": math_pow.power,
    "sin": math_trig.sin,       "cos": math_trig.cos,       "tan": math_trig.tan,
    "asin": math_trig.asin,     "acos": math_trig.acos,     "atan": math_trig.atan,     "atan2": math_trig.atan2,
    "sqrt": sqrt,               "rsqrt": rsqrt,             "reciprocal": reciprocal,
    "floor": _rounded("floor"), "ceil": _rounded("ceil"),   "trunc": _rounded("trunc"), "round": _rounded("rint"),
    "abs": absolute,            "sign": sign,
}
# fmt: on

MATH: dict[str, Emitter] = {name: emitter(function) for name, function in _FUNCTIONS.items()}
