# SPDX-License-Identifier: Apache-2.0
"""Words that take axes away: max, min, argmax, argmin; the running sum; and the public reductions composed from them.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError, explain
from ..foundations.arguments import guard
from ..ir.bind import as_tensor, bind
from ..ir.dtype import bool_, int64, is_float, uint64
from ..ir.node import Op, Shape, Type, op
from ..ir.tensor import Tensor
from ..typing import ArrayLike, AxisLike, DTypeLike
from . import types
from .broadcast import broadcast_to, restore, sum_over
from .control import stop_gradient
from .elementwise import astype, divide, equal, minimum, multiply, sqrt, where, zeros_like
from .examples import with_example
from .movement import flip, pad, permute_dims, reshape, slice_axis

SHORT = 32  # elements of a window that are taken one after the other


def _infer_extreme(x: Type, *, axes: Shape) -> Type:
    if _empty_over(x.shape, axes):
        raise ArgumentError(explain("max and min of no elements do not exist", got=f"shape {x.shape}, axes {axes}"))
    return Type(types.without(x.shape, axes), x.dtype)


def _extreme_vjp(g: Tensor, y: Tensor, x: Tensor, axes: Shape) -> Tensor:
    chosen = astype(equal(x, restore(y, axes, x.shape)), g.dtype)  # ties share the gradient equally
    return chosen * restore(g / sum_over(chosen, axes), axes, x.shape)


def _infer_index_of(x: Type, *, axis: int) -> Type:
    return Type(_infer_extreme(x, axes=(axis,)).shape, int64)


def _extreme_of(choose: np.ufunc, x: np.ndarray, axes: Shape) -> np.ndarray:
    """The extremes over `axes`; of windows, whose axes are short and far apart in memory, element by element of the
    window."""
    moved = np.moveaxis(x, axes, range(len(axes)))
    window, rest = moved.shape[:len(axes)], moved.shape[len(axes):]
    apart = [s for s, n in zip(moved.strides[len(axes):], rest, strict=True) if n > 1]
    if (
        not 1 < math.prod(window) <= SHORT
        or not apart
        or builtins.min(moved.strides[: len(axes)]) <= builtins.min(apart)
    ):
        return choose.reduce(x, axis=axes)
    first, *others = np.ndindex(*window)
    result = moved[first].copy()
    for place in others:
        choose(result, moved[place], out=result)
    return result


# fmt: off
MAX = op("max", infer=_infer_extreme, meaning=lambda x, *, axes: _extreme_of(np.maximum, x, axes), vjp=(_extreme_vjp,))
MIN = op("min", infer=_infer_extreme, meaning=lambda x, *, axes: _extreme_of(np.minimum, x, axes), vjp=(_extreme_vjp,))
ARGMAX = op("argmax", infer=_infer_index_of, meaning=lambda x, *, axis: np.argmax(x, axis=axis), vjp=None)
ARGMIN = op("argmin", infer=_infer_index_of, meaning=lambda x, *, axis: np.argmin(x, axis=axis), vjp=None)
CUMSUM: Op = op("cumsum", infer=lambda x, *, axis: types.numeric(x),
                meaning=lambda x, *, axis: np.cumsum(x, axis=axis, dtype=x.dtype),
            vjp=(lambda g, y, x, axis: flip(bind(CUMSUM, flip(g, axis=axis), axis=axis), axis=axis),))
# fmt: on


def _kept(x: Tensor, axes: Shape, shape: Shape, keepdims: bool) -> Tensor:
    return reshape(x, tuple(1 if i in axes else n for i, n in enumerate(shape))) if keepdims else x


def _accumulator(x: Tensor, dtype: Any) -> Tensor:
    """`x` in the dtype in which it is added up: `dtype`, or int64/uint64 for small integers and booleans."""
    if dtype is not None:
        return astype(x, dtype)
    return astype(x, {"b": int64, "i": int64, "u": uint64}.get(x.dtype.kind, x.dtype))


def sum(x: ArrayLike, /, *, axis: AxisLike = None, dtype: DTypeLike | None = None, keepdims: bool = False) -> Tensor:
    """Sum over `axis` (default: all); integers and booleans are added up in 64 bits.

    >>> cr.sum([[1, 2], [3, 4]], axis=0)
    Tensor([4, 6], dtype=int64)
    """
    x = as_tensor(x)
    axes = types.normalize_axes(axis, x.ndim)
    return _kept(sum_over(_accumulator(x, dtype), axes), axes, x.shape, keepdims)


def prod(x: ArrayLike, /, *, axis: AxisLike = None, dtype: DTypeLike | None = None, keepdims: bool = False) -> Tensor:
    """Product over `axis` (default: all), multiplied pairwise so that its gradient is right at zeros too.

    >>> cr.prod([[1, 2], [3, 4]], axis=1)
    Tensor([ 2, 12], dtype=int64)
    """
    x = as_tensor(x)
    axes = types.normalize_axes(axis, x.ndim)
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    y = reshape(permute_dims(_accumulator(x, dtype), (*rest, *axes)), (*(x.shape[i] for i in rest), -1) if x.size
                else (*(x.shape[i] for i in rest), 0))
    while y.shape[-1] > 1:
        half = y.shape[-1] // 2
        left, right = slice_axis(y, -1 % y.ndim, 0, half), slice_axis(y, -1 % y.ndim, half, 2 * half)
        odd = slice_axis(y, -1 % y.ndim, 2 * half, y.shape[-1])
        y = multiply(left, right) if not odd.size else _append(multiply(left, right), odd)
    y = pad(y, [(0, 0)] * (y.ndim - 1) + [(0, 1)], 1.0) if y.shape[-1] == 0 else y
    return _kept(reshape(y, y.shape[:-1]), axes, x.shape, keepdims)


def _append(x: Tensor, last: Tensor) -> Tensor:
    low = [(0, 0)] * (x.ndim - 1)
    return pad(x, [*low, (0, 1)]) + pad(last, [*low, (x.shape[-1], 0)])


def _extreme(record: Op, name: str) -> Callable[..., Tensor]:
    def function(x: ArrayLike, /, *, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
        x = as_tensor(x)
        axes = types.normalize_axes(axis, x.ndim)
        return _kept(bind(record, x, axes=axes) if axes else x, axes, x.shape, keepdims)
    function.__name__ = function.__qualname__ = name
    text = (f"The {'largest' if name == 'max' else 'smallest'} element over `axis` (default: all); NaN if one is; ties "
            "share the gradient.")
    function.__doc__ = with_example(text, name)
    return function


max = _extreme(MAX, "max")
min = _extreme(MIN, "min")


def _index_of(record: Op, name: str) -> Callable[..., Tensor]:
    def function(x: ArrayLike, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
        x = as_tensor(x)
        flat = reshape(x, (x.size,)) if axis is None else x
        place = 0 if axis is None else types.normalize_axis(axis, x.ndim)
        found = bind(record, flat, axis=place)
        return _kept(found, tuple(range(x.ndim)) if axis is None else (place,), x.shape, keepdims)
    function.__name__ = function.__qualname__ = name
    text = (f"Index of the first {'largest' if name == 'argmax' else 'smallest'} element along `axis` (default: of the "
            "flattened array).")
    function.__doc__ = with_example(text, name)
    return function


argmax = _index_of(ARGMAX, "argmax")
argmin = _index_of(ARGMIN, "argmin")


def any(x: ArrayLike, /, *, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Whether some element is true (non-zero); False for no elements.

    >>> cr.any([[0, 0], [1, 0]], axis=1)
    Tensor([False,  True], dtype=bool)
    """
    return _truth(x, axis, keepdims, MAX, False)


def all(x: ArrayLike, /, *, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Whether every element is true (non-zero); True for no elements.

    >>> cr.all([[1, 1], [1, 0]], axis=1)
    Tensor([ True, False], dtype=bool)
    """
    return _truth(x, axis, keepdims, MIN, True)


def _truth(x: Any, axis: Any, keepdims: bool, record: Op, empty: bool) -> Tensor:
    x = astype(as_tensor(x), bool_)
    axes = types.normalize_axes(axis, x.ndim)
    if _empty_over(x.shape, axes):
        found = broadcast_to(as_tensor(empty), types.without(x.shape, axes))
    else:
        found = bind(record, x, axes=axes) if axes else x
    return _kept(found, axes, x.shape, keepdims)


def _empty_over(shape: Shape, axes: Shape) -> bool:
    return 0 in [shape[a] for a in axes]


def mean(x: ArrayLike, /, *, axis: AxisLike = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over `axis` (default: all); integers as float32; NaN for no elements.

    >>> cr.mean([[1.0, 2.0], [3.0, 4.0]], axis=0)
    Tensor([2., 3.], dtype=float32)
    """
    x = as_tensor(x)
    x = x if is_float(x.dtype) else astype(x, float)
    axes = types.normalize_axes(axis, x.ndim)
    return divide(sum(x, axis=axes, keepdims=keepdims), float(_count(x, axes)))


def _count(x: Tensor, axes: Shape) -> int:
    return int(np.prod([x.shape[a] for a in axes], dtype=np.int64))


def exact_mean(x: Tensor, axes: Shape) -> tuple[Tensor, Tensor]:
    """(mean, what its rounding left out) over `axes`, which stay with extent 1, for a floating-point x.

    The mean is the first element plus the mean of the distances from it, which are small where a large mean would be
    rounded. The rest is exact (Dekker, 1971) and a constant to derivatives, as all roundings are.
    """
    first = x
    for axis in axes:
        first = slice_axis(first, axis, 0, x.shape[axis] and 1)
    first = stop_gradient(first)
    shift = mean(x - first, axis=axes, keepdims=True)
    middle = first + shift
    return middle, stop_gradient(first - middle + shift)


def var(x: ArrayLike, /, *, axis: AxisLike = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """Variance over `axis`: (sum (x - mean)^2 - n r^2) / (n - correction), r what the rounding of the mean left out.

    In two passes, so what the elements of x hold is kept however large their mean is (Chan, Golub and LeVeque, 1983).

    >>> cr.var([1.0, 2.0, 3.0, 4.0], correction=1)
    Tensor(1.6666666, dtype=float32)
    """
    x = as_tensor(x)
    x = x if is_float(x.dtype) else astype(x, float)
    axes = types.normalize_axes(axis, x.ndim)
    n = _count(x, axes)
    middle, rest = exact_mean(x, axes)
    centred = x - middle
    squares = sum(centred * centred, axis=axes, keepdims=keepdims)
    added = rest * rest * float(n)
    added = stop_gradient(minimum(added if keepdims else reshape(added, squares.shape), squares)) if n else squares
    return divide(squares - added, float(n - correction if n > correction else 0))


def std(x: ArrayLike, /, *, axis: AxisLike = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """Standard deviation over `axis`, the square root of `var`; its gradient at zero variance is 0.

    >>> cr.std([1.0, 2.0, 3.0, 4.0])
    Tensor(1.118034, dtype=float32)
    """
    v = var(x, axis=axis, correction=correction, keepdims=keepdims)
    flat = equal(v, 0)
    return where(flat, zeros_like(v), sqrt(where(flat, v + 1, v)))


def cumulative_sum(x: ArrayLike, /, *, axis: int | None = None, dtype: DTypeLike | None = None,
                   include_initial: bool = False) -> Tensor:
    """Running sum along `axis`, which vectors need not name; `include_initial` puts a 0 in front.

    >>> cr.cumulative_sum([1, 2, 3], include_initial=True)
    Tensor([0, 1, 3, 6], dtype=int64)
    """
    x = as_tensor(x)
    place = _running_axis(x, axis)
    y = bind(CUMSUM, _accumulator(x, dtype), axis=place)
    return _with_initial(y, place, 0.0) if include_initial else y


def cumulative_prod(x: ArrayLike, /, *, axis: int | None = None, dtype: DTypeLike | None = None,
                    include_initial: bool = False) -> Tensor:
    """Running product along `axis`; `include_initial` puts a 1 in front. Doubles its reach log2(n) times, so zeros do
    no harm.

    >>> cr.cumulative_prod([1, 2, 3, 4])
    Tensor([ 1,  2,  6, 24], dtype=int64)
    """
    y = _accumulator(as_tensor(x), dtype)
    place = _running_axis(y, axis)
    reach, extent = 1, y.shape[place]
    while reach < extent:
        widths = [(reach, 0) if i == place else (0, 0) for i in range(y.ndim)]
        y = multiply(y, pad(slice_axis(y, place, 0, extent - reach), widths, 1.0))
        reach *= 2
    return _with_initial(y, place, 1.0) if include_initial else y


def _running_axis(x: Tensor, axis: int | None) -> int:
    if axis is None and x.ndim > 1:
        raise ArgumentError(explain("along which axis is open", got=f"shape {x.shape}",
                                    expected="an axis for arrays of more than one",
                                    fix="axis=-1, or reshape to one axis: cr.reshape(x, (-1,))"))
    return types.normalize_axis(axis or 0, x.ndim)


def _with_initial(y: Tensor, axis: int, value: float) -> Tensor:
    return pad(y, [(1, 0) if i == axis else (0, 0) for i in range(y.ndim)], value)


guard(globals(), ("all", "any", "argmax", "argmin", "cumulative_prod", "cumulative_sum", "max", "mean", "min", "prod",
                  "std", "sum", "var"))
