# SPDX-License-Identifier: Apache-2.0
"""Elementwise words: the primitives (operands of one type, no broadcasting) and their public functions.

The public functions promote and broadcast, then bind the primitive. `y` in a derivative is the result, `g` its
gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import DTypeError, explain
from ..foundations.arguments import guard
from ..ir.bind import as_tensor, bind, leaf
from ..ir.dtype import DEFAULT_FLOAT, canonical, is_float, of_scalar, promote
from ..ir.node import Op, Shape, Type, op
from ..ir.tensor import Number, Tensor
from ..ir.trace import current_trace
from ..typing import ArrayLike, Device, DTypeLike
from . import types
from .broadcast import broadcast_to
from .examples import with_example
from .require import Demand, require

Unary = Callable[[Any], Tensor]

# ---- the primitives: name, type rule, meaning, derivative
# fmt: off


def _erf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype) if x.size else x.copy()


NEG   = op("neg",   infer=types.numeric,  meaning=np.negative, vjp=(lambda g, y, x: -g,))
ABS   = op("abs",   infer=types.numeric,  meaning=np.absolute, vjp=(lambda g, y, x: g * sign(x),))
SIGN  = op("sign",  infer=types.numeric,  meaning=np.sign,     vjp=None)
EXP   = op("exp",   infer=types.floating, meaning=np.exp,      vjp=(lambda g, y, x: g * y,))
EXPM1 = op("expm1", infer=types.floating, meaning=np.expm1,    vjp=(lambda g, y, x: g * (y + 1),))
LOG   = op("log",   infer=types.floating, meaning=np.log,      vjp=(lambda g, y, x: g / x,))
LOG1P = op("log1p", infer=types.floating, meaning=np.log1p,    vjp=(lambda g, y, x: g / (1 + x),))
LOG2  = op("log2",  infer=types.floating, meaning=np.log2,     vjp=(lambda g, y, x: g / (x * math.log(2)),))
LOG10 = op("log10", infer=types.floating, meaning=np.log10,    vjp=(lambda g, y, x: g / (x * math.log(10)),))
SQRT  = op("sqrt",  infer=types.floating, meaning=np.sqrt,     vjp=(lambda g, y, x: g / (2 * y),))
SIN   = op("sin",   infer=types.floating, meaning=np.sin,      vjp=(lambda g, y, x: g * cos(x),))
COS   = op("cos",   infer=types.floating, meaning=np.cos,      vjp=(lambda g, y, x: -g * sin(x),))
TAN   = op("tan",   infer=types.floating, meaning=np.tan,      vjp=(lambda g, y, x: g * (1 + y * y),))
ASIN  = op("asin",  infer=types.floating, meaning=np.arcsin,   vjp=(lambda g, y, x: g / sqrt((1 - x) * (1 + x)),))
ACOS  = op("acos",  infer=types.floating, meaning=np.arccos,   vjp=(lambda g, y, x: -g / sqrt((1 - x) * (1 + x)),))
SINH  = op("sinh",  infer=types.floating, meaning=np.sinh,     vjp=(lambda g, y, x: g * cosh(x),))
COSH  = op("cosh",  infer=types.floating, meaning=np.cosh,     vjp=(lambda g, y, x: g * sinh(x),))
ASINH = op("asinh", infer=types.floating, meaning=np.arcsinh,  vjp=(lambda g, y, x: g / sqrt(x * x + 1),))
ACOSH = op("acosh", infer=types.floating, meaning=np.arccosh,  vjp=(lambda g, y, x: g / (sqrt(x - 1) * sqrt(x + 1)),))
ATANH = op("atanh", infer=types.floating, meaning=np.arctanh,  vjp=(lambda g, y, x: g / ((1 - x) * (1 + x)),))
TANH  = op("tanh",  infer=types.floating, meaning=np.tanh,     vjp=(lambda g, y, x: g * (1 - y * y),))
ERF   = op("erf",   infer=types.floating, meaning=_erf,
           vjp=(lambda g, y, x: g * (2 / math.sqrt(math.pi)) * exp(-x * x),))
FLOOR = op("floor", infer=types.numeric,  meaning=np.floor,    vjp=None)
CEIL  = op("ceil",  infer=types.numeric,  meaning=np.ceil,     vjp=None)
ROUND = op("round", infer=types.numeric,  meaning=np.round,    vjp=None)
NOT   = op("not",   infer=types.integral, meaning=np.invert,   vjp=None)

ADD     = op("add",     infer=types.numeric,  meaning=np.add,      vjp=(lambda g, y, a, b: g, lambda g, y, a, b: g))
SUB     = op("sub",     infer=types.numeric,  meaning=np.subtract, vjp=(lambda g, y, a, b: g, lambda g, y, a, b: -g))
MUL     = op("mul",     infer=types.numeric,  meaning=np.multiply,
             vjp=(lambda g, y, a, b: g * b, lambda g, y, a, b: g * a))
DIV     = op("div",     infer=types.floating, meaning=np.divide,
             vjp=(lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b))
POW     = op("pow",     infer=types.numeric,  meaning=np.power,
             vjp=(lambda g, y, a, b: _pow_base(g, a, b), lambda g, y, a, b: _pow_exponent(g, y, a, b)))
MAXIMUM = op("maximum", infer=types.numeric,  meaning=np.maximum,
             vjp=(lambda g, y, a, b: g * _share(b, a), lambda g, y, a, b: g * _share(a, b)))
MINIMUM = op("minimum", infer=types.numeric,  meaning=np.minimum,
             vjp=(lambda g, y, a, b: g * _share(a, b), lambda g, y, a, b: g * _share(b, a)))
ATAN2   = op("atan2",   infer=types.floating, meaning=np.arctan2,
             vjp=(lambda g, y, a, b: g * b / (a * a + b * b), lambda g, y, a, b: -g * a / (a * a + b * b)))
FLOOR_DIVIDE = op("floor_divide", infer=types.numeric, meaning=np.floor_divide, vjp=None)
REMAINDER    = op("remainder",    infer=types.numeric, meaning=np.remainder,
                  vjp=(lambda g, y, a, b: g, lambda g, y, a, b: -g * floor_divide(a, b)))
AND   = op("and", infer=types.integral, meaning=np.bitwise_and, vjp=None)
OR    = op("or",  infer=types.integral, meaning=np.bitwise_or,  vjp=None)
XOR   = op("xor", infer=types.integral, meaning=np.bitwise_xor, vjp=None)
SHIFT_LEFT  = op("shift_left",  infer=types.integer,  meaning=np.left_shift,  vjp=None)
SHIFT_RIGHT = op("shift_right", infer=types.integer,  meaning=np.right_shift, vjp=None)
EQUAL = op("equal", infer=types.comparison, meaning=np.equal, vjp=None)
LESS  = op("less",  infer=types.comparison, meaning=np.less,  vjp=None)
LESS_EQUAL = op("less_equal", infer=types.comparison, meaning=np.less_equal, vjp=None)


def _infer_where(condition: Type, a: Type, b: Type) -> Type:
    if condition.dtype != np.dtype(bool):
        raise DTypeError(explain("where needs a boolean condition", got=str(condition), fix="compare first: x > 0"))
    types.same(a, b)
    types.same(Type(condition.shape, a.dtype), a)
    return a


def _infer_bitcast(x: Type, *, dtype: np.dtype) -> Type:
    if x.dtype.itemsize != dtype.itemsize:
        raise DTypeError(explain("bitcast needs a dtype of the same width", got=f"{x.dtype} as {dtype}"))
    return Type(x.shape, dtype)


WHERE = op("where", infer=_infer_where, meaning=np.where,
           vjp=(None, lambda g, y, c, a, b: where(c, g, zeros_like(g)),
                lambda g, y, c, a, b: where(c, zeros_like(g), g)))
CAST  = op("cast", infer=lambda x, *, dtype: Type(x.shape, dtype), meaning=lambda x, *, dtype: x.astype(dtype),
           vjp=(lambda g, y, x, dtype: astype(g, x.dtype) if is_float(x.dtype) and is_float(dtype) else None,))
BITCAST = op("bitcast", infer=_infer_bitcast, meaning=lambda x, *, dtype: x.view(dtype), vjp=None)
# fmt: on


def _pow_base(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    safe = where(equal(b, 0), ones_like(b), b)  # d(a^0)/da = 0, also at a = 0
    return where(equal(b, 0), zeros_like(g), g * b * power(a, safe - 1))


def _pow_exponent(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    positive = less(0, a)  # at a = 0 the limit is 0 for b > 0; below 0 the derivative does not exist
    value = g * y * log(where(positive, a, ones_like(a)))
    return where(positive, value, where(equal(a, 0), zeros_like(value), full_like(value, math.nan)))


def _share(low: Tensor, high: Tensor) -> Tensor:
    """1 where low < high, 1/2 at ties, so that the shares of both operands add up to 1.

    The operands are compared with each other, not with the result: a backend may compute it anew, and not to the same
    last bit.
    """
    return where(equal(low, high), full_like(low, 0.5), astype(less(low, high), low.dtype))


# ---- promotion and broadcasting

def operands(*values: Any) -> list[Tensor]:
    """The values as tensors of one dtype and one shape."""
    if _agree(values):
        return list(values)
    mixed = [x if _is_scalar(x) else as_tensor(x) for x in values]
    tensors = [x for x in mixed if isinstance(x, Tensor)]
    dtype: Any = promote(*(x.dtype for x in tensors)) if tensors else None
    for x in mixed:
        if not isinstance(x, Tensor):
            dtype = of_scalar(x, dtype)
    shape = types.meeting_shape(*(x.shape for x in tensors))
    return [broadcast_to(astype(x, dtype), shape) if isinstance(x, Tensor) else _repeated(x, dtype, shape)
            for x in mixed]


def _agree(values: tuple[Any, ...]) -> bool:
    """Whether all are Tensors of one type, for which nothing is to be done."""
    first = values[0]
    return (isinstance(first, Tensor) and all(isinstance(x, Tensor) and x.node.type == first.node.type
                                              for x in values[1:]))


def _is_scalar(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, np.generic)


def _repeated(value: Any, dtype: Any, shape: Shape) -> Tensor:
    """A Python number as an array; eagerly one element that is seen everywhere, without an operation."""
    scalar = as_tensor(value, dtype)
    if not shape or current_trace() is not None:
        return broadcast_to(scalar, shape)
    return leaf(np.ndarray(shape, dtype, scalar.node.data, 0, (0,) * len(shape)))


def as_float(x: Any) -> Tensor:
    """`x` as functions of floats take it: integers and booleans become float32 before anything is computed."""
    x = as_tensor(x)
    return x if is_float(x.dtype) else astype(x, DEFAULT_FLOAT)


def float_operands(*values: Any) -> list[Tensor]:
    """The values as floating-point tensors of one dtype and one shape; integers and booleans as float32."""
    return [as_float(x) for x in operands(*values)]


def _unary(record: Op, name: str, text: str,
           prepare: Callable[..., list[Tensor]] = operands) -> Callable[[Any], Tensor]:
    def function(x: ArrayLike, /) -> Tensor:
        return bind(record, *prepare(x))
    return _named(function, name, text)


def _binary(record: Op, name: str, text: str,
            prepare: Callable[..., list[Tensor]] = operands) -> Callable[[Any, Any], Tensor]:
    def function(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
        return bind(record, *prepare(x1, x2))
    return _named(function, name, text)


def _named(function: Any, name: str, text: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = with_example(text, name)
    return function


# fmt: off
negative = _unary(NEG,   "negative", "-x.")
sign: Unary = _unary(SIGN,  "sign",     "-1, 0 or 1 by the sign of x; NaN stays NaN.")
exp: Unary = _unary(EXP,   "exp",      "e^x.", float_operands)
expm1    = _unary(EXPM1, "expm1",    "e^x - 1, accurate near 0.", float_operands)
log      = _unary(LOG,   "log",      "Natural logarithm; -inf at 0, NaN below.", float_operands)
log1p    = _unary(LOG1P, "log1p",    "log(1 + x), accurate near 0.", float_operands)
log2     = _unary(LOG2,  "log2",     "Logarithm to base 2; exact for powers of 2.", float_operands)
log10    = _unary(LOG10, "log10",    "Logarithm to base 10.", float_operands)
sqrt: Unary = _unary(SQRT,   "sqrt",     "Square root; NaN below 0.", float_operands)
sin: Unary = _unary(SIN,   "sin",      "Sine of x in radians.", float_operands)
cos: Unary = _unary(COS,   "cos",      "Cosine of x in radians.", float_operands)
tan      = _unary(TAN,   "tan",      "Tangent of x in radians.", float_operands)
asin     = _unary(ASIN,  "asin",     "Inverse sine, in [-pi/2, pi/2]; NaN outside [-1, 1].", float_operands)
acos     = _unary(ACOS,  "acos",     "Inverse cosine, in [0, pi]; NaN outside [-1, 1].", float_operands)
sinh: Unary = _unary(SINH,  "sinh",     "Hyperbolic sine, (e^x - e^-x) / 2.", float_operands)
cosh: Unary = _unary(COSH,  "cosh",     "Hyperbolic cosine, (e^x + e^-x) / 2.", float_operands)
asinh    = _unary(ASINH, "asinh",    "Inverse hyperbolic sine.", float_operands)
acosh    = _unary(ACOSH, "acosh",    "Inverse hyperbolic cosine; NaN below 1.", float_operands)
atanh    = _unary(ATANH, "atanh",    "Inverse hyperbolic tangent; infinite at -1 and 1, NaN beyond.", float_operands)
tanh     = _unary(TANH,  "tanh",     "Hyperbolic tangent.", float_operands)
erf      = _unary(ERF,   "erf",      "Error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x.",
                  float_operands)
bitwise_invert = _unary(NOT, "bitwise_invert", "Each bit flipped; of booleans, the negation.")

add      = _binary(ADD, "add", "x1 + x2.")
subtract = _binary(SUB, "subtract", "x1 - x2.")
multiply = _binary(MUL, "multiply", "x1 * x2.")
divide   = _binary(DIV, "divide", "x1 / x2; integers are divided as float32.", float_operands)
maximum  = _binary(MAXIMUM, "maximum",
                   "The larger of x1 and x2, NaN if either is; at ties each gets half of the gradient.")
minimum  = _binary(MINIMUM, "minimum",
                   "The smaller of x1 and x2, NaN if either is; at ties each gets half of the gradient.")
atan2    = _binary(ATAN2, "atan2", "Angle of the point (x2, x1), in (-pi, pi].", float_operands)
remainder    = _binary(REMAINDER, "remainder", "x1 - x2 * floor(x1 / x2), with the sign of x2.")
bitwise_and  = _binary(AND, "bitwise_and", "Bits set in both operands.")
bitwise_or   = _binary(OR, "bitwise_or", "Bits set in either operand.")
bitwise_xor  = _binary(XOR, "bitwise_xor", "Bits set in exactly one operand.")
bitwise_left_shift  = _binary(SHIFT_LEFT, "bitwise_left_shift", "x1 shifted left by x2 bits.")
bitwise_right_shift = _binary(SHIFT_RIGHT, "bitwise_right_shift", "x1 shifted right by x2 bits, keeping the sign.")
equal      = _binary(EQUAL, "equal", "x1 == x2.")
less       = _binary(LESS, "less", "x1 < x2.")
less_equal = _binary(LESS_EQUAL, "less_equal", "x1 <= x2.")
# fmt: on


def abs(x: ArrayLike, /) -> Tensor:
    """|x|; its gradient at 0 is 0.

    >>> cr.abs([-1.5, 2.0])
    Tensor([1.5, 2. ], dtype=float32)
    """
    x = as_tensor(x)
    return x if x.dtype.kind in "ub" else bind(ABS, x)


def _rounding(record: Op, name: str, text: str) -> Callable[[Any], Tensor]:
    def function(x: ArrayLike, /) -> Tensor:
        x = as_tensor(x)
        return bind(record, x) if is_float(x.dtype) else x
    return _named(function, name, text)


floor = _rounding(FLOOR, "floor", "The next integer below; gradient 0.")
ceil = _rounding(CEIL, "ceil", "The next integer above; gradient 0.")
round = _rounding(ROUND, "round", "The nearest integer, half to even; gradient 0.")


def astype(x: ArrayLike, dtype: DTypeLike, /, *, copy: bool = True, device: Device = None) -> Tensor:
    """`x` converted to `dtype`; a float gradient is converted back.

    >>> cr.astype([1.7, -1.7], "int32")
    Tensor([ 1, -1], dtype=int32)
    """
    x, dtype = as_tensor(x), canonical(dtype)
    if x.dtype == dtype:
        return x
    return x.exact if isinstance(x, Number) and dtype == x.exact.dtype else bind(CAST, x, dtype=dtype)


def bitcast(x: Any, dtype: Any, /) -> Tensor:
    """The bits of `x` read as another dtype of the same width."""
    return bind(BITCAST, as_tensor(x), dtype=canonical(dtype))


def floor_divide(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 / x2 rounded down; with an infinite operand floor(x1 / x2), as the array API standard asks.

    >>> cr.floor_divide([7, -7], 2)
    Tensor([ 3, -4], dtype=int64)
    """
    a, b = operands(x1, x2)
    quotient = bind(FLOOR_DIVIDE, a, b)
    if not is_float(a.dtype):
        return quotient
    endless = bitwise_or(equal(abs(a), math.inf), equal(abs(b), math.inf))
    return where(endless, floor(divide(a, b)), quotient)


def where(condition: ArrayLike, x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 where the condition holds, else x2.

    >>> cr.where([True, False], [1, 2], [10, 20])
    Tensor([ 1, 20], dtype=int64)
    """
    condition = as_tensor(condition)
    a, b = operands(x1, x2)
    shape = types.meeting_shape(condition.shape, a.shape)
    return bind(WHERE, *(broadcast_to(x, shape) for x in (condition, a, b)))


WHOLE_POWER = Demand("the exponent of an integer", 0, math.inf, "make the base a float: cr.astype(x, cr.float32) ** y")


def power(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 to the power x2; gradient 0 with respect to x1 where x2 is 0; BoundsError for integers to negative powers.

    >>> cr.pow([1.0, 2.0, 3.0], 2)
    Tensor([1., 4., 9.], dtype=float32)
    """
    if isinstance(x2, int) and x2 >= 0:
        return bind(POW, *operands(x1, x2))
    a, b = operands(x1, x2)
    return bind(POW, a, require(b, less_equal(0, b), WHOLE_POWER) if b.dtype.kind == "i" else b)


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An array of the shape of `x`, each element `fill_value`."""
    x = as_tensor(x)
    return broadcast_to(as_tensor(fill_value, canonical(dtype) if dtype is not None else x.dtype), x.shape)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An array of zeros of the shape and dtype of `x`."""
    return full_like(x, 0, dtype=dtype)


def ones_like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """An array of ones of the shape and dtype of `x`."""
    return full_like(x, 1, dtype=dtype)


__all__ = [
    "abs", "acos", "acosh", "add", "as_float", "asin", "asinh", "astype", "atan2", "atanh", "bitcast", "bitwise_and",
    "bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "cos", "cosh",
    "divide", "equal", "erf", "exp", "expm1", "float_operands", "floor", "floor_divide", "full_like", "less",
    "less_equal", "log",
    "log1p", "log2", "log10", "maximum", "minimum", "multiply", "negative", "ones_like", "operands", "power",
    "remainder", "round", "sign", "sin", "sinh", "sqrt", "subtract", "tan", "tanh", "where", "zeros_like",
]

guard(globals(), set(__all__) - {"as_float", "bitcast", "float_operands", "operands"})
