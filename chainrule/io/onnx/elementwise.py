# SPDX-License-Identifier: Apache-2.0
"""Operators that work on elements."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from ... import arrays as xp
from ...ops import compose
from .words import WORDS, Call, tensor, word


def _one(function: Any) -> Any:
    return lambda call, x: function(x)


def _two(function: Any) -> Any:
    return lambda call, a, b: function(*alike(a, b))


def alike(*values: Any) -> list[Any]:
    """Tensors; a number that stands in the file takes the dtype of what it meets, as ONNX demands."""
    return [tensor(value) for value in values]


WORDS |= {name: _one(function) for name, function in {
    "Abs": xp.abs, "Acos": xp.acos, "Acosh": xp.acosh, "Asin": xp.asin, "Asinh": xp.asinh, "Atan": xp.atan,
    "Atanh": xp.atanh, "Ceil": xp.ceil, "Cos": xp.cos,
    "Cosh": xp.cosh, "Erf": xp.erf, "Exp": xp.exp, "Floor": xp.floor, "Identity": lambda x: x, "IsNaN": xp.isnan,
    "Log": xp.log, "Mish": xp.mish, "Neg": xp.negative,
    "Not": xp.logical_not, "Reciprocal": lambda x: 1 / tensor(x), "Relu": xp.relu, "Round": xp.round,
    "Sigmoid": xp.sigmoid, "Sign": xp.sign, "Sin": xp.sin, "Sinh": xp.sinh,
    "Softplus": xp.softplus, "Softsign": xp.softsign, "Sqrt": xp.sqrt, "Tan": xp.tan, "Tanh": xp.tanh,
    "BitwiseNot": xp.bitwise_invert,
    "HardSwish": lambda x: tensor(x) * xp.clip(tensor(x) / 6 + 0.5, 0, 1),
}.items()}

WORDS |= {name: _two(function) for name, function in {
    "Add": xp.add, "Sub": xp.subtract, "Mul": xp.multiply, "And": xp.logical_and, "Or": xp.logical_or,
    "Xor": xp.logical_xor, "Equal": xp.equal, "Less": xp.less,
    "Greater": xp.greater, "LessOrEqual": xp.less_equal, "GreaterOrEqual": xp.greater_equal,
    "BitwiseAnd": xp.bitwise_and, "BitwiseOr": xp.bitwise_or,
    "BitwiseXor": xp.bitwise_xor,
}.items()}


@word("Div")
def _divide(call: Call, a: Any, b: Any) -> Any:
    """Of integers, cut towards zero."""
    a, b = alike(a, b)
    if a.dtype.kind == "f":
        return a / b
    if a.dtype.kind == "u":
        return a // b
    quotient = xp.abs(a) // xp.abs(b)
    return xp.where((a < 0) == (b < 0), quotient, -quotient)


@word("Mod")
def _modulo(call: Call, a: Any, b: Any) -> Any:
    a, b = alike(a, b)
    if not call.get("fmod", 0):
        return a % b
    rest = xp.abs(a) % xp.abs(b)
    return xp.where(a < 0, -rest, rest)


@word("Pow")
def _power(call: Call, a: Any, b: Any) -> Any:
    a, b = alike(a, b)
    if a.dtype.kind == "f":
        return a ** xp.astype(b, a.dtype)
    return (xp.astype(xp.astype(a, "float64") ** xp.astype(b, "float64"), a.dtype) if b.dtype.kind == "f" else a
            ** xp.astype(b, a.dtype))


@word("BitShift")
def _shift(call: Call, a: Any, b: Any) -> Any:
    return (xp.bitwise_left_shift if call.get("direction") == "LEFT" else xp.bitwise_right_shift)(*alike(a, b))


@word("Max")
def _maximum(call: Call, *values: Any) -> Any:
    return functools.reduce(xp.maximum, alike(*values))


@word("Min")
def _minimum(call: Call, *values: Any) -> Any:
    return functools.reduce(xp.minimum, alike(*values))


@word("Sum")
def _sum(call: Call, *values: Any) -> Any:
    return functools.reduce(xp.add, alike(*values))


@word("Mean")
def _mean(call: Call, *values: Any) -> Any:
    return functools.reduce(xp.add, alike(*values)) / len(values)


@word("Where")
def _where(call: Call, condition: Any, a: Any, b: Any) -> Any:
    return xp.where(*alike(condition, a, b))


@word("Clip")
def _clip(call: Call, x: Any, low: Any = None, high: Any = None) -> Any:
    x = tensor(x)
    low, high = (call.get(name) if call.opset < 11 else value for name, value in (("min", low), ("max", high)))
    x = x if low is None else xp.maximum(x, xp.astype(xp.asarray(low), x.dtype))
    return x if high is None else xp.minimum(x, xp.astype(xp.asarray(high), x.dtype))


@word("Cast")
def _cast(call: Call, x: Any) -> Any:
    return xp.astype(tensor(x), call.dtype(call.get("to")))


@word("CastLike")
def _cast_like(call: Call, x: Any, like: Any) -> Any:
    return xp.astype(tensor(x), tensor(like).dtype)


@word("IsInf")
def _is_infinite(call: Call, x: Any) -> Any:
    x = tensor(x)
    above, below = call.get("detect_positive", 1), call.get("detect_negative", 1)
    return xp.isinf(x) & (((x > 0) & bool(above)) | ((x < 0) & bool(below)))


# ---- activations

@word("LeakyRelu")
def _leaky(call: Call, x: Any) -> Any:
    return _sloped(tensor(x), call.get("alpha", 0.01))


@word("PRelu")
def _prelu(call: Call, x: Any, slope: Any) -> Any:
    return _sloped(tensor(x), tensor(slope))


def _sloped(x: Any, slope: Any) -> Any:
    return xp.where(x < 0, x * slope, x)


@word("Elu")
def _elu(call: Call, x: Any) -> Any:
    x = tensor(x)
    return xp.where(x < 0, call.get("alpha", 1.0) * xp.expm1(xp.minimum(x, 0)), x)


@word("Celu")
def _celu(call: Call, x: Any) -> Any:
    x, alpha = tensor(x), call.get("alpha", 1.0)
    return xp.maximum(x, 0) + xp.minimum(alpha * xp.expm1(xp.minimum(x, 0) / alpha), 0)


@word("Selu")
def _selu(call: Call, x: Any) -> Any:
    x, alpha, gamma = (tensor(x), call.get("alpha", 1.67326319217681884765625),
                       call.get("gamma", 1.05070102214813232421875))
    return gamma * xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


@word("HardSigmoid")
def _hard_sigmoid(call: Call, x: Any) -> Any:
    return xp.clip(tensor(x) * call.get("alpha", 0.2) + call.get("beta", 0.5), 0, 1)


@word("Gelu")
def _gelu(call: Call, x: Any) -> Any:
    x = tensor(x)
    if call.get("approximate", "none") == "tanh":
        return 0.5 * x * (1 + xp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + xp.erf(x / math.sqrt(2)))


@word("Swish")
def _swish(call: Call, x: Any) -> Any:
    x = tensor(x)
    return x * xp.sigmoid(call.get("alpha", 1.0) * x)


@word("ThresholdedRelu")
def _thresholded(call: Call, x: Any) -> Any:
    x = tensor(x)
    return xp.where(x > call.get("alpha", 1.0), x, xp.zeros_like(x))


@word("Shrink")
def _shrink(call: Call, x: Any) -> Any:
    x, bias, lambd = tensor(x), call.get("bias", 0.0), call.get("lambd", 0.5)
    wide = xp.astype(x, "float32") if x.dtype.kind != "f" else x
    return xp.astype(xp.where(wide < -lambd, wide + bias, xp.where(wide > lambd, wide - bias, xp.zeros_like(wide))),
                     x.dtype)


def _flat_softmax(call: Call, x: Any, function: Any) -> Any:
    x = tensor(x)
    axis = call.get("axis", -1 if call.opset >= 13 else 1)
    if call.opset >= 13:
        return function(x, axis=axis)
    axis = axis % max(x.ndim, 1)
    flat = xp.reshape(x, (math.prod(x.shape[:axis]), -1))  # before opset 13, over all axes from this one on
    return xp.reshape(function(flat, axis=-1), x.shape)


@word("Softmax")
def _softmax(call: Call, x: Any) -> Any:
    return _flat_softmax(call, x, compose.softmax)


@word("LogSoftmax")
def _log_softmax(call: Call, x: Any) -> Any:
    return _flat_softmax(call, x, compose.log_softmax)


@word("Hardmax")
def _hardmax(call: Call, x: Any) -> Any:
    x = tensor(x)
    axis = call.get("axis", -1 if call.opset >= 13 else 1) % x.ndim
    chosen = xp.argmax(x, axis=axis, keepdims=True)
    return xp.astype(xp.equal(elementwise_positions(x.shape, axis), chosen), x.dtype)


def elementwise_positions(shape: tuple[int, ...], axis: int) -> Any:
    """The position along an axis of each element, to broadcast."""
    return np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])


@word("Dropout")
def _dropout(call: Call, x: Any, ratio: Any = None, training: Any = None) -> Any:
    """In inference mode, nothing is dropped."""
    x = tensor(x)
    if (
        training is not None
        and call.static(training, "the mode").any()
        and (ratio is None or call.static(ratio, "the ratio").any())
    ):
        raise call.unknown("dropout in training")
    return (x, xp.ones(x.shape, dtype="bool"))[:max(call.results, 1)] if call.results > 1 else x


