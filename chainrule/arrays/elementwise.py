# SPDX-License-Identifier: Apache-2.0
"""Elementwise functions of the array API standard that are compositions: signs, neighbours, lengths, rounding.

Those with a primitive are in `ops.elementwise`, the other elementary functions in `ops.compose`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import DTypeError, explain
from ..foundations.arguments import guard
from ..ir.bind import as_tensor
from ..ir.dtype import is_float
from ..ir.tensor import Tensor
from ..ops.compose import isinf, isnan, logical_or
from ..ops.control import custom_gradient
from ..ops.elementwise import (
    abs,
    bitcast,
    ceil,
    divide,
    equal,
    floor,
    less,
    maximum,
    minimum,
    multiply,
    negative,
    operands,
    power,
    sqrt,
    where,
    zeros_like,
)
from ..typing import ArrayLike

_BITS = {4: np.dtype("int32"), 8: np.dtype("int64")}


def _floats(name: str, *values: Any) -> list[Tensor]:
    tensors = operands(*values)
    if not is_float(tensors[0].dtype):
        raise DTypeError(explain(f"{name} needs floating-point operands", got=str(tensors[0].dtype),
                                 fix="cast them with cr.astype(x, cr.float32)"))
    return tensors


def _bits(x: Tensor) -> Tensor:
    return bitcast(x, _BITS[x.dtype.itemsize])


def signbit(x: ArrayLike, /) -> Tensor:
    """Whether the sign bit is set: for negative numbers, -0.0 and negative NaNs.

    >>> cr.signbit([-0.0, 0.0])
    Tensor([ True, False], dtype=bool)
    """
    return less(_bits(*_floats("signbit", x)), 0)


def copysign(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """|x1| with the sign of x2.

    >>> cr.copysign([1.0, 2.0], [-1.0, 1.0])
    Tensor([-1.,  2.], dtype=float32)
    """
    a, b = _floats("copysign", x1, x2)
    return where(equal(signbit(a), signbit(b)), a, negative(a))


def nextafter(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The next representable number from x1 towards x2.

    The bits of a float, read as an integer, count the floats by magnitude: the neighbour is one count away.

    >>> float(cr.nextafter(cr.asarray(1.0, dtype="float64"), 2.0)) - 1
    2.220446049250313e-16
    """
    a, b = _floats("nextafter", x1, x2)
    bits = _bits(a)
    away = equal(less(0, a), less(a, b))
    step = where(equal(a, 0), _smallest(b), bitcast(where(away, bits + 1, bits - 1), a.dtype))
    result = where(equal(a, b), b, step)
    return where(logical_or(isnan(a), isnan(b)), a + b, result)


def _smallest(sign: Tensor) -> Tensor:
    return copysign(bitcast(_bits(zeros_like(sign)) + 1, sign.dtype), sign)


def hypot(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """sqrt(x1^2 + x2^2) without overflow; infinite if either is; gradient (x1, x2) / result, 0 at the origin.

    >>> cr.hypot(3.0, 4.0)
    Tensor(5., dtype=float32)
    """
    a, b = _floats("hypot", x1, x2)
    high, low = maximum(abs(a), abs(b)), minimum(abs(a), abs(b))
    flat = equal(high, 0)
    ratio = divide(low, where(flat, high + 1, high))
    endless = logical_or(isinf(a), isinf(b))
    value = where(endless, zeros_like(a) + math.inf, multiply(high, sqrt(1 + ratio * ratio)))
    return custom_gradient(value, (a, b), _hypot_gradient)


def _hypot_gradient(g: Tensor, y: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    scale = g / where(equal(y, 0), y + 1, y)
    return scale * a, scale * b


def trunc(x: ArrayLike, /) -> Tensor:
    """The integer part: rounded towards zero; gradient 0.

    >>> cr.trunc([1.7, -1.7])
    Tensor([ 1., -1.], dtype=float32)
    """
    x = as_tensor(x)
    return where(less(x, 0), ceil(x), floor(x)) if is_float(x.dtype) else x


def positive(x: ArrayLike, /) -> Tensor:
    """+x.

    >>> cr.positive([1, -2])
    Tensor([ 1, -2], dtype=int64)
    """
    return Tensor(as_tensor(x).node)


def real(x: ArrayLike, /) -> Tensor:
    """The real part: x itself, as all numbers here are real.

    >>> cr.real([1.0, 2.0])
    Tensor([1., 2.], dtype=float32)
    """
    return positive(x)


def conj(x: ArrayLike, /) -> Tensor:
    """The complex conjugate: x itself, as all numbers here are real.

    >>> cr.conj([1.0, -2.0])
    Tensor([ 1., -2.], dtype=float32)
    """
    return positive(x)


def imag(x: ArrayLike, /) -> Tensor:
    """The imaginary part: zeros, as all numbers here are real.

    >>> cr.imag([1.0, 2.0])
    Tensor([0., 0.], dtype=float32)
    """
    return zeros_like(x)


pow = power

__all__ = ["conj", "copysign", "hypot", "imag", "nextafter", "positive", "pow", "real", "signbit", "trunc"]

guard(globals(), __all__)
