# SPDX-License-Identifier: Apache-2.0
"""Everything that is a sentence of the words and needs no primitive of its own.

A rule of its own (`custom_gradient`) is written only where stability or memory needs one: sigmoid, log-sum-exp,
softmax, relu, the pooled maximum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, BoundsError, DTypeError, ShapeError, explain
from ..foundations.arguments import guard
from ..foundations.names import closest
from ..ir.bind import as_tensor, bind
from ..ir.dtype import bool_, float64, int64, is_float, promote
from ..ir.tensor import Tensor
from ..typing import ArrayLike, AxisLike, DTypeLike
from . import types
from .broadcast import broadcast_to
from .contract import contract
from .control import custom_gradient, stop_gradient
from .elementwise import (
    abs,
    add,
    as_float,
    astype,
    atan2,
    bitwise_and,
    bitwise_invert,
    bitwise_or,
    bitwise_xor,
    divide,
    equal,
    erf,
    exp,
    expm1,
    float_operands,
    floor,
    less,
    less_equal,
    log,
    log1p,
    log2,
    maximum,
    minimum,
    multiply,
    negative,
    power,
    sqrt,
    tanh,
    where,
    zeros_like,
)
from .index import iota, take
from .movement import CONCAT, permute_dims, reshape
from .reduce import max, sum

# ---- comparisons and logic


def not_equal(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 != x2.

    >>> cr.not_equal([1, 2, 3], 2)
    Tensor([ True, False,  True], dtype=bool)
    """
    return bitwise_invert(equal(x1, x2))


def greater(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 > x2.

    >>> cr.greater([1, 2, 3], 2)
    Tensor([False, False,  True], dtype=bool)
    """
    return less(x2, x1)


def greater_equal(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """x1 >= x2.

    >>> cr.greater_equal([1, 2, 3], 2)
    Tensor([False,  True,  True], dtype=bool)
    """
    return less_equal(x2, x1)


def logical_and(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Both true (non-zero).

    >>> cr.logical_and([True, True], [True, False])
    Tensor([ True, False], dtype=bool)
    """
    return bitwise_and(astype(as_tensor(x1), bool_), astype(as_tensor(x2), bool_))


def logical_or(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Either true (non-zero).

    >>> cr.logical_or([False, True], [False, False])
    Tensor([False,  True], dtype=bool)
    """
    return bitwise_or(astype(as_tensor(x1), bool_), astype(as_tensor(x2), bool_))


def logical_xor(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Exactly one true (non-zero).

    >>> cr.logical_xor([True, True], [True, False])
    Tensor([False,  True], dtype=bool)
    """
    return bitwise_xor(astype(as_tensor(x1), bool_), astype(as_tensor(x2), bool_))


def logical_not(x: ArrayLike, /) -> Tensor:
    """Not true: zero.

    >>> cr.logical_not([True, False])
    Tensor([False,  True], dtype=bool)
    """
    return bitwise_invert(astype(as_tensor(x), bool_))


def isnan(x: ArrayLike, /) -> Tensor:
    """Whether each element is NaN.

    >>> cr.isnan([1.0, np.inf, np.nan])
    Tensor([False, False,  True], dtype=bool)
    """
    x = as_tensor(x)
    return not_equal(x, x)


def isinf(x: ArrayLike, /) -> Tensor:
    """Whether each element is an infinity.

    >>> cr.isinf([1.0, -np.inf, np.nan])
    Tensor([False,  True, False], dtype=bool)
    """
    x = as_tensor(x)
    return equal(abs(x), math.inf) if is_float(x.dtype) else zeros_like(x, dtype=bool_)


def isfinite(x: ArrayLike, /) -> Tensor:
    """Whether each element is neither NaN nor an infinity.

    >>> cr.isfinite([1.0, np.inf, np.nan])
    Tensor([ True, False, False], dtype=bool)
    """
    x = as_tensor(x)
    return less(abs(x), math.inf) if is_float(x.dtype) else bitwise_invert(zeros_like(x, dtype=bool_))


# ---- products

def matmul(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Matrix product over the last axis of x1 and the last but one of x2; leading axes broadcast; vectors lose their
    axis.

    >>> cr.matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.], dtype=float32)
    """
    a, b = _one_dtype(as_tensor(x1), as_tensor(x2))
    if not a.ndim or not b.ndim:
        raise ShapeError(explain("a matrix product needs at least one axis on each side",
                                 got=f"{a.shape} and {b.shape}", fix="multiply by a scalar with *"))
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ShapeError(explain("the inner extents of a matrix product differ", got=f"{a.shape} @ {b.shape}",
                                 expected=f"the last extent of the left, {a.shape[-1]}, to equal "
                                          f"{b.shape[-2 if b.ndim > 1 else 0]}",
                                 fix="transpose one operand: x.mT, or reshape it"))
    if b.ndim <= 2:
        return contract(a, b, contracting=((a.ndim - 1,), (max_int(b.ndim - 2, 0),)))
    if a.ndim == 1:
        return reshape(matmul(reshape(a, (1, -1)), b), (*b.shape[:-2], b.shape[-1]))
    lead = types.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = broadcast_to(a, (*lead, *a.shape[-2:])), broadcast_to(b, (*lead, *b.shape[-2:]))
    batch = tuple(range(len(lead)))
    return contract(a, b, contracting=((a.ndim - 1,), (b.ndim - 2,)), batch=(batch, batch))


def max_int(a: int, b: int) -> int:
    """The larger of two Python integers (`max` is the reduction here)."""
    return a if a > b else b


def _one_dtype(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    dtype = promote(a.dtype, b.dtype)
    return astype(a, dtype), astype(b, dtype)


def matrix_transpose(x: ArrayLike, /) -> Tensor:
    """The last two axes exchanged.

    >>> cr.matrix_transpose([[1, 2], [3, 4]])
    Tensor([[1, 3],
            [2, 4]], dtype=int64)
    """
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(explain("a transpose needs at least two axes", got=f"shape {x.shape}"))
    return permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


# ---- joining

def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> Tensor:
    """The arrays one after another along an existing axis (None: flattened).

    >>> cr.concat([[[1, 2]], [[3, 4]]], axis=0)
    Tensor([[1, 2],
            [3, 4]], dtype=int64)
    """
    parts = _parts(arrays)
    if axis is None:
        parts, axis = [reshape(x, (x.size,)) for x in parts], 0
    dtype = promote(*(x.dtype for x in parts))
    place = types.normalize_axis(axis, parts[0].ndim)
    return astype(parts[0], dtype) if len(parts) == 1 else bind(CONCAT, *(astype(x, dtype) for x in parts), axis=place)


def _parts(arrays: Sequence[Any]) -> list[Tensor]:
    parts = [as_tensor(x) for x in arrays]
    if not parts:
        raise ArgumentError(explain("there is nothing to join", got=repr(arrays), expected="one array or more"))
    return parts


def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> Tensor:
    """The arrays side by side along a new axis.

    >>> cr.stack([[1, 2], [3, 4]], axis=1)
    Tensor([[1, 3],
            [2, 4]], dtype=int64)
    """
    parts = _parts(arrays)
    place = types.normalize_axis(axis, parts[0].ndim + 1)
    return concat([reshape(x, (*x.shape[:place], 1, *x.shape[place:])) for x in parts], axis=place)


# ---- lengths

def length(x: Any, axes: tuple[int, ...]) -> Tensor:
    """sqrt(sum x^2) over `axes`, which stay with extent 1, over the whole range of the dtype; gradient x / length, 0 at
    0."""
    x = as_float(x)
    return astype(wide_length(x, axes), x.dtype)


def wide_length(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """`length` in float64, where squares of float32 neither overflow nor vanish; numbers of float64 whose squares do
    are
    first divided by a power of 2."""
    wide = astype(x, float64)
    scale = _near(max(abs(stop_gradient(x)), axis=axes, keepdims=True)) if x.dtype == float64 and x.size else 1.0
    wide = wide / scale
    squares = sum(wide * wide, axis=axes, keepdims=True)
    zero = equal(squares, 0)
    return where(zero, zeros_like(squares), sqrt(where(zero, 1.0, squares))) * scale


def _near(high: Tensor) -> Tensor:
    """A power of 2 near the largest magnitude where squares overflow or vanish, else 1."""
    extreme = logical_and(logical_or(less(high, 1e-140), less(1e140, high)),
                          logical_and(less(0, high), less(high, math.inf)))
    return power(2.0, floor(log2(where(extreme, high, 1.0))))


def unit(x: Any, least: float) -> Tensor:
    """x / max(|x|, least), the Euclidean length over the last axis."""
    x = as_float(x)
    return astype(astype(x, float64) / maximum(wide_length(x, (x.ndim - 1,)), least), x.dtype)


# ---- elementary functions without a primitive

def square(x: ArrayLike, /) -> Tensor:
    """x * x.

    >>> cr.square([1, -3])
    Tensor([1, 9], dtype=int64)
    """
    x = as_tensor(x)
    return multiply(x, x)


def reciprocal(x: ArrayLike, /) -> Tensor:
    """1 / x.

    >>> cr.reciprocal([1.0, 4.0])
    Tensor([1.  , 0.25], dtype=float32)
    """
    return divide(1, x)


def logaddexp(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """log(exp(x1) + exp(x2)) without overflow.

    >>> cr.logaddexp(1000.0, 1000.0)
    Tensor(1000.6932, dtype=float32)
    """
    a, b = float_operands(x1, x2)
    high, low = maximum(a, b), minimum(a, b)
    gap = where(equal(a, b), zeros_like(a), low - high)  # also for two infinities
    return add(high, log1p(exp(gap)))


def atan(x: ArrayLike, /) -> Tensor:
    """Inverse tangent, in [-pi/2, pi/2].

    >>> cr.atan([0.0, 1.0])
    Tensor([0.       , 0.7853981], dtype=float32)
    """
    return atan2(x, 1)


def clip(x: ArrayLike, /, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Tensor:
    """x limited to [min, max]; a bound of None does not limit.

    >>> cr.clip([-2.0, 0.5, 3.0], 0.0, 1.0)
    Tensor([0. , 0.5, 1. ], dtype=float32)
    """
    x = as_tensor(x)
    if min is not None:
        x = maximum(x, min)
    return minimum(x, max) if max is not None else x


# ---- activations

def ramp(x: Any, /, low: float, high: float) -> Tensor:
    """x limited to [low, high]; gradient 0 at both corners, as that of `relu` at 0."""
    x = as_tensor(x)

    def rule(g: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor]:
        return (where(less(low, y), where(less(y, high), g, zeros_like(g)), zeros_like(g)),)
    return custom_gradient(clip(x, low, high), (x,), rule)


def relu(x: ArrayLike, /) -> Tensor:
    """max(x, 0); gradient 0 at 0; NaN stays NaN.

    The rule asks the result where it is 0, so that x need not be kept.

    >>> cr.relu([-1.0, 0.0, 2.0])
    Tensor([0., 0., 2.], dtype=float32)
    """
    x = as_tensor(x)
    value = where(less_equal(x, 0), zeros_like(x), x)
    return custom_gradient(value, (x,), lambda g, y, x: (where(less_equal(y, 0), zeros_like(g), g),))


def leaky_relu(x: ArrayLike, /, negative_slope: float = 0.01) -> Tensor:
    """x for x > 0, else negative_slope * x.

    >>> cr.leaky_relu([-1.0, 2.0], negative_slope=0.1)
    Tensor([-0.1,  2. ], dtype=float32)
    """
    x = as_float(x)
    return where(less(0, x), x, x * negative_slope)


def elu(x: ArrayLike, /, alpha: float = 1.0) -> Tensor:
    """x for x > 0, else alpha (e^x - 1); gradient alpha at 0.

    >>> cr.elu([-1.0, 2.0])
    Tensor([-0.63212055,  2.        ], dtype=float32)
    """
    x = as_float(x)
    above = less(0, x)
    return where(above, x, alpha * expm1(where(above, zeros_like(x), x)))


def selu(x: ArrayLike, /) -> Tensor:
    """Scaled ELU that keeps mean 0 and variance 1 (Klambauer et al., 2017).

    >>> cr.selu([-1.0, 0.0, 1.0])
    Tensor([-1.1113307,  0.       ,  1.050701 ], dtype=float32)
    """
    return 1.0507009873554805 * elu(x, 1.6732632423543772)


def _gives(name: str, rule: Any) -> Any:
    """A rule that says of which function it is, for losses that warn of probabilities."""
    rule.gives = name
    return rule


def sigmoid(x: ArrayLike, /) -> Tensor:
    """1 / (1 + e^-x), computed as (1 or e) / (1 + e) with e = e^-|x|: no overflow, and far below 0 all digits of e^x.

    >>> cr.sigmoid([-1000.0, 0.0, 1000.0])
    Tensor([0. , 0.5, 1. ], dtype=float32)
    """
    x = as_float(x)
    e = exp(-abs(x))
    return custom_gradient(where(less(x, 0), e, 1.0) / (1 + e), (x,),
                           _gives("sigmoid", lambda g, y, x: (g * y * (1 - y),)))


def gate(x: Any, /) -> Tensor:
    """The sigmoid as (1 + tanh(x / 2)) / 2, for gates of loops: right to the last digit of 1, and its derivative asks
    for
    the tanh alone, which a loop keeps."""
    return 0.5 * (1 + tanh(0.5 * as_float(x)))


def log_sigmoid(x: ArrayLike, /) -> Tensor:
    """log(sigmoid(x)) = min(x, 0) - log1p(e^-|x|).

    >>> cr.log_sigmoid([0.0, 100.0, -100.0])
    Tensor([-6.931472e-01, -3.783506e-44, -1.000000e+02], dtype=float32)
    """
    return negative(softplus(negative(as_float(x))))


def softplus(x: ArrayLike, /) -> Tensor:
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|), with gradient sigmoid(x).

    >>> cr.softplus([-1000.0, 0.0, 1000.0])
    Tensor([0.000000e+00, 6.931472e-01, 1.000000e+03], dtype=float32)
    """
    x = as_float(x)
    value = maximum(x, 0) + log1p(exp(-abs(x)))
    return custom_gradient(value, (x,), lambda g, y, x: (g * sigmoid(x),))


def softsign(x: ArrayLike, /) -> Tensor:
    """x / (1 + |x|).

    >>> cr.softsign([-1.0, 0.0, 3.0])
    Tensor([-0.5 ,  0.  ,  0.75], dtype=float32)
    """
    x = as_float(x)
    return x / (1 + abs(x))


def silu(x: ArrayLike, /) -> Tensor:
    """x sigmoid(x), also called swish.

    >>> cr.silu([-1.0, 0.0, 1.0])
    Tensor([-0.2689414,  0.       ,  0.7310586], dtype=float32)
    """
    x = as_float(x)
    return x * sigmoid(x)


def mish(x: ArrayLike, /) -> Tensor:
    """x tanh(softplus(x)).

    >>> cr.mish([-1.0, 0.0, 1.0])
    Tensor([-0.3034014,  0.       ,  0.8650984], dtype=float32)
    """
    x = as_float(x)
    return x * tanh(softplus(x))


def gelu(x: ArrayLike, /, approximate: str = "none") -> Tensor:
    """x Phi(x), by erf, or with approximate="tanh" by 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).

    >>> cr.gelu([-1.0, 0.0, 1.0])
    Tensor([-0.15865526,  0.        ,  0.8413447 ], dtype=float32)
    """
    x = as_float(x)
    if approximate not in ("none", "tanh"):
        raise ArgumentError(explain("there is no such form of GELU", got=f"approximate={approximate!r}",
                                    expected='"none" | "tanh"', fix=closest(approximate, ("none", "tanh"))))
    if approximate == "tanh":
        return custom_gradient(x * _gate(x), (x,), _gelu_rule)
    return 0.5 * x * (1 + erf(x * math.sqrt(0.5)))


SLOPE = 2 * math.sqrt(2 / math.pi)


def _gate(x: Tensor) -> Tensor:
    """(1 + tanh(t / 2)) / 2 = sigmoid(t) with t = 2 sqrt(2/pi) (x + 0.044715 x^3), which keeps its digits where it is
    small."""
    return _logistic(x * (SLOPE + 0.044715 * SLOPE * (x * x)))


def _gelu_rule(g: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor]:
    """s + x s (1 - s) t' with s = sigmoid(t)."""
    s = _gate(x)
    return (g * (s + x * (s * (1 - s)) * (SLOPE + 3 * 0.044715 * SLOPE * (x * x))),)


def _logistic(x: Tensor) -> Tensor:
    """sigmoid by one exponential; the derivative asks its value only, so that an overflow of the exponential has no
    effect."""
    return custom_gradient(1 / (1 + exp(-x)), (x,), lambda g, y, x: (g * (y * (1 - y)),))


def hard_sigmoid(x: ArrayLike, /) -> Tensor:
    """min(max(x / 6 + 1/2, 0), 1).

    >>> cr.hard_sigmoid([-4.0, 0.0, 4.0])
    Tensor([0. , 0.5, 1. ], dtype=float32)
    """
    return ramp(as_float(x) / 6 + 0.5, 0.0, 1.0)


def hard_tanh(x: ArrayLike, /) -> Tensor:
    """min(max(x, -1), 1).

    >>> cr.hard_tanh([-2.0, 0.5, 2.0])
    Tensor([-1. ,  0.5,  1. ], dtype=float32)
    """
    return ramp(x, -1.0, 1.0)


def softmax(x: ArrayLike, /, axis: int = -1) -> Tensor:
    """e^x / sum(e^x) along `axis`, shifted by the maximum: no overflow.

    >>> cr.softmax([[0.0, 0.0], [1000.0, 0.0]])
    Tensor([[0.5, 0.5],
            [1. , 0. ]], dtype=float32)
    """
    x = as_float(x)
    if not x.shape[types.normalize_axis(axis, x.ndim)]:
        return exp(x)
    z = exp(x - stop_gradient(max(x, axis=axis, keepdims=True)))
    value = z / sum(z, axis=axis, keepdims=True)
    return custom_gradient(value, (x,),
                           _gives("softmax", lambda g, y, x: (y * (g - sum(g * y, axis=axis, keepdims=True)),)))


def log_softmax(x: ArrayLike, /, axis: int = -1) -> Tensor:
    """x - log(sum(e^x)) along `axis`, with gradient g - softmax(x) sum(g).

    >>> cr.log_softmax([0.0, 0.0])
    Tensor([-0.6931472, -0.6931472], dtype=float32)
    """
    x = as_float(x)
    if not x.shape[types.normalize_axis(axis, x.ndim)]:
        return exp(x)
    shifted = x - max(x, axis=axis, keepdims=True)
    value = shifted - log(sum(exp(shifted), axis=axis, keepdims=True))
    return custom_gradient(value, (x,), lambda g, y, x: (g - exp(y) * sum(g, axis=axis, keepdims=True),))


def logsumexp(x: ArrayLike, /, *, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """log(sum(e^x)) over `axis` (default: all), shifted by the maximum; -inf for all -inf.

    >>> cr.logsumexp([1000.0, 1000.0])
    Tensor(1000.6932, dtype=float32)
    """
    x = as_float(x)
    axes = types.normalize_axes(axis, x.ndim)
    high = stop_gradient(max(x, axis=axes, keepdims=True))
    high = where(isfinite(high), high, zeros_like(high))
    value = log(sum(exp(x - high), axis=axes, keepdims=True)) + high
    return value if keepdims else reshape(value, types.without(x.shape, axes))


def one_hot(labels: ArrayLike, classes: int, dtype: DTypeLike = "float32") -> Tensor:
    """1 at the label's position along a new last axis, 0 elsewhere; labels are integers from 0 to classes - 1.

    Others raise BoundsError, fractions DTypeError.

    >>> cr.one_hot([0, 2], 3)
    Tensor([[1., 0., 0.],
            [0., 0., 1.]], dtype=float32)
    """
    labels = as_tensor(labels)
    if is_float(labels.dtype):
        raise DTypeError(explain("a class is numbered by an integer", got=f"labels of {labels.dtype}",
                                 expected="integers",
                                 fix="cast them if they are whole numbers: cr.astype(labels, cr.int64)"))
    _check_classes(labels, classes)
    # taken from a table so that a label out of bounds is found wherever it runs; a negative one is no index from the
    # end there
    known = take(iota((classes,), 0, int64), where(less(labels, 0), -(2**62), astype(labels, int64)), axis=0)
    place = iota((*labels.shape, classes), labels.ndim, int64)
    return astype(equal(reshape(known, (*labels.shape, 1)), place), dtype)


def _check_classes(labels: Tensor, classes: int) -> None:
    data = labels.node.data
    if data is not None and data.size and not (data.min() >= 0 and data.max() < classes):
        wrong = np.argwhere((data < 0) | (data >= classes))[0]
        raise BoundsError(explain("a label is no class",
                                  got=f"{data[tuple(wrong)]} at position {tuple(int(i) for i in wrong)}",
                                  expected=f"0 to {classes - 1}" if classes else "nothing: there are no classes",
                                  fix="do the labels start at 1, or mark missing ones? cr.equal(labels[..., None], "
                                      "cr.arange(classes)) gives zeros for them"))


guard(globals(), (
    "atan", "clip", "concat", "elu", "gelu", "greater", "greater_equal", "hard_sigmoid", "hard_tanh", "isfinite",
    "isinf", "isnan", "leaky_relu", "log_sigmoid", "log_softmax", "logaddexp", "logical_and", "logical_not",
    "logical_or", "logical_xor", "logsumexp", "matmul", "matrix_transpose",
    "mish", "not_equal", "one_hot", "reciprocal", "relu", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign",
    "square", "stack"))
