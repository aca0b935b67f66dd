# SPDX-License-Identifier: Apache-2.0
"""`MATH`: the emitters of elementary functions, by name.

In: an `ir.IRBuilder` and one or two values of type float, double, or a vector of them, of any width (`abs` and `sign`
take signed integers too). Out: a value of the same type. Float lanes never call the C library, so loops stay vectors;
double lanes do for `erf`. NaN, infinities, signed zeros and subnormals behave as in NumPy; no emitter adds a
basic block but those of `sin`, `cos` and `tan`, which branch where an angle is very large. The speed rests on the
processor's fused multiply-add; without one LLVM calls the C library's `fma`, which is slow but right. Errors in units
in the last place (ulp) are the largest found by tests/native/test_math.py.
"""

from __future__ import annotations

from . import exponential, power, trigonometric
from .integer import emit_floor_divide, emit_remainder
from .lanes import Emitter, Lanes, emitter

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
    "exp": exponential.exp,        "exp2": exponential.exp2,      "expm1": exponential.expm1,
    "log": exponential.log,        "log2": exponential.log2,      "log10": exponential.log10,
    "log1p": exponential.log1p,
    "sinh": exponential.sinh,      "cosh": exponential.cosh,      "tanh": exponential.tanh,
    "asinh": exponential.asinh,    "acosh": exponential.acosh,    "atanh": exponential.atanh,
    "sigmoid": exponential.sigmoid, "erf": exponential.erf,       "pow": power.power,
    "sin": trigonometric.sin,       "cos": trigonometric.cos,       "tan": trigonometric.tan,
    "asin": trigonometric.asin,     "acos": trigonometric.acos,     "atan": trigonometric.atan,
    "atan2": trigonometric.atan2,
    "sqrt": sqrt,               "rsqrt": rsqrt,             "reciprocal": reciprocal,
    "floor": _rounded("floor"), "ceil": _rounded("ceil"),   "trunc": _rounded("trunc"), "round": _rounded("rint"),
    "abs": absolute,            "sign": sign,
}
# fmt: on

MATH: dict[str, Emitter] = {name: emitter(function) for name, function in _FUNCTIONS.items()}
