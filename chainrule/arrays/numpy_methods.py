# SPDX-License-Identifier: Apache-2.0
"""NumPy's methods on Tensor and Variable, with NumPy's arguments: each is the function of the array API standard by
another door.

So gradients pass and a compiled function may use them. `out=None` is there because NumPy's own functions hand it on.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, BoundsError, explain
from ..foundations.names import check_options, named
from ..ir.bind import as_tensor
from ..ir.dtype import is_float
from ..ir.tensor import Tensor
from ..ops import compose, elementwise, index, movement, reduce
from ..ops.control import barrier
from ..ops.types import normalize_axis
from ..typing import ArrayLike, AxisLike, DTypeLike, ShapeLike
from . import manipulation, products, searching

METHODS: dict[str, Callable[..., Any]] = {}


def method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator: enter `function(x, ...)` as a method of arrays, whose arguments are told when they do not fit."""
    signature = inspect.signature(function)
    known = list(signature.parameters)[1:]

    @functools.wraps(function)
    def called(self: Any, *args: Any, **options: Any) -> Any:
        if "out" in options and options["out"] is not None and "out" in known:
            raise ArgumentError(explain("a Tensor is not written into", got="out=...",
                                        fix=f"x.{function.__name__}() gives a new one"))
        try:
            bound = signature.bind(self, *args, **options)
        except TypeError as error:
            check_options(function.__name__, options, known)
            bare = ", ".join(str(p.replace(annotation=p.empty)) for p in list(signature.parameters.values())[1:])
            raise ArgumentError(explain(f"x.{function.__name__} is called otherwise: {error}",
                                        expected=f"x.{function.__name__}({bare})")) from None
        return function(as_tensor(self), *bound.args[1:], **bound.kwargs)
    return named(METHODS)(called)


def _as(x: Tensor, dtype: Any) -> Tensor:
    return x if dtype is None else elementwise.astype(x, dtype)


# ---- reductions

@method
def sum(x: Tensor, axis: AxisLike = None, dtype: DTypeLike | None = None, out: None = None,
        keepdims: bool = False) -> Tensor:
    """Sum over `axis` (default: all)."""
    return reduce.sum(x, axis=axis, dtype=dtype, keepdims=keepdims)


@method
def prod(x: Tensor, axis: AxisLike = None, dtype: DTypeLike | None = None, out: None = None,
         keepdims: bool = False) -> Tensor:
    """Product over `axis` (default: all)."""
    return reduce.prod(x, axis=axis, dtype=dtype, keepdims=keepdims)


@method
def mean(x: Tensor, axis: AxisLike = None, dtype: DTypeLike | None = None, out: None = None,
         keepdims: bool = False) -> Tensor:
    """Arithmetic mean over `axis` (default: all)."""
    return reduce.mean(_as(x, dtype), axis=axis, keepdims=keepdims)


@method
def var(x: Tensor, axis: AxisLike = None, dtype: DTypeLike | None = None, out: None = None, ddof: float = 0,
        keepdims: bool = False, *, correction: float | None = None) -> Tensor:
    """Variance over `axis` (default: all), divided by n - ddof; `correction` is the array API's word for `ddof`."""
    return reduce.var(_as(x, dtype), axis=axis, correction=float(ddof if correction is None else correction),
                      keepdims=keepdims)


@method
def std(x: Tensor, axis: AxisLike = None, dtype: DTypeLike | None = None, out: None = None, ddof: float = 0,
        keepdims: bool = False, *, correction: float | None = None) -> Tensor:
    """Standard deviation over `axis` (default: all), the square root of `var`."""
    return reduce.std(_as(x, dtype), axis=axis, correction=float(ddof if correction is None else correction),
                      keepdims=keepdims)


@method
def max(x: Tensor, axis: AxisLike = None, out: None = None, keepdims: bool = False) -> Tensor:
    """The largest element over `axis` (default: all)."""
    return reduce.max(x, axis=axis, keepdims=keepdims)


@method
def min(x: Tensor, axis: AxisLike = None, out: None = None, keepdims: bool = False) -> Tensor:
    """The smallest element over `axis` (default: all)."""
    return reduce.min(x, axis=axis, keepdims=keepdims)


@method
def any(x: Tensor, axis: AxisLike = None, out: None = None, keepdims: bool = False) -> Tensor:
    """Whether some element over `axis` (default: all) is true."""
    return reduce.any(x, axis=axis, keepdims=keepdims)


@method
def all(x: Tensor, axis: AxisLike = None, out: None = None, keepdims: bool = False) -> Tensor:
    """Whether every element over `axis` (default: all) is true."""
    return reduce.all(x, axis=axis, keepdims=keepdims)


@method
def argmax(x: Tensor, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Tensor:
    """Index of the first largest element along `axis` (default: of the flattened array)."""
    return reduce.argmax(x, axis=axis, keepdims=keepdims)


@method
def argmin(x: Tensor, axis: int | None = None, out: None = None, *, keepdims: bool = False) -> Tensor:
    """Index of the first smallest element along `axis` (default: of the flattened array)."""
    return reduce.argmin(x, axis=axis, keepdims=keepdims)


@method
def cumsum(x: Tensor, axis: int | None = None, dtype: DTypeLike | None = None, out: None = None) -> Tensor:
    """Running sum along `axis` (default: of the flattened array)."""
    return reduce.cumulative_sum(_flat_without(x, axis), axis=axis or 0, dtype=dtype)


@method
def cumprod(x: Tensor, axis: int | None = None, dtype: DTypeLike | None = None, out: None = None) -> Tensor:
    """Running product along `axis` (default: of the flattened array)."""
    return reduce.cumulative_prod(_flat_without(x, axis), axis=axis or 0, dtype=dtype)


def _flat_without(x: Tensor, axis: int | None) -> Tensor:
    return movement.reshape(x, (x.size,)) if axis is None else x


# ---- shapes

@method
def reshape(x: Tensor, *shape: ShapeLike, order: str = "C", copy: bool | None = None) -> Tensor:
    """The same elements in row-major order in another shape, given as integers or as one tuple; one extent may be -1.
    """
    _refuse_order(order)
    if not shape:
        raise ArgumentError(explain("x.reshape needs a shape", got="nothing",
                                    expected="x.reshape(2, 3) or x.reshape((2, 3))"))
    return movement.reshape(x, _one_tuple(shape))


@method
def transpose(x: Tensor, *axes: Any) -> Tensor:
    """The axes in the order `axes`, given as integers or as one tuple; without any, in reverse order."""
    order = () if axes == (None,) else _one_tuple(axes)
    if len(order) == 2 != x.ndim:
        raise ArgumentError(explain("x.transpose names all axes in their new order",
                                    got=f"axes {order} of shape {x.shape}",
                                    fix=f"x.swapaxes({order[0]}, {order[1]}) exchanges two of them"))
    return movement.permute_dims(x, order or range(x.ndim)[::-1])


@method
def swapaxes(x: Tensor, axis1: int, axis2: int) -> Tensor:
    """The two axes exchanged."""
    order = list(range(x.ndim))
    a, b = (normalize_axis(axis, x.ndim) for axis in (axis1, axis2))
    order[a], order[b] = b, a
    return movement.permute_dims(x, order)


@method
def squeeze(x: Tensor, axis: AxisLike = None) -> Tensor:
    """Without the axes `axis`, each of extent 1 (default: all of extent 1)."""
    return manipulation.squeeze(x, axis=tuple(i for i, n in enumerate(x.shape) if n == 1) if axis is None else axis)


@method
def flatten(x: Tensor, order: str = "C") -> Tensor:
    """All elements in row-major order along one axis."""
    _refuse_order(order)
    return movement.reshape(x, (x.size,))


@method
def ravel(x: Tensor, order: str = "C") -> Tensor:
    """All elements in row-major order along one axis."""
    _refuse_order(order)
    return movement.reshape(x, (x.size,))


def _one_tuple(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """What came as `2, 3` or as `(2, 3)`."""
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list) else given


def _refuse_order(order: str) -> None:
    if order not in ("C", "A", "K"):
        raise ArgumentError(explain("elements are in row-major order", got=f"order={order!r}", expected='"C"',
                                    fix="x.transpose() first"))


# ---- elements

@method
def astype(x: Tensor, dtype: DTypeLike, *, copy: bool = True) -> Tensor:
    """Converted to `dtype`."""
    return elementwise.astype(x, dtype)


@method
def clip(x: Tensor, min: ArrayLike | None = None, max: ArrayLike | None = None, out: None = None) -> Tensor:
    """Limited to [min, max]; a bound of None does not limit."""
    return compose.clip(x, min, max)


@method
def round(x: Tensor, decimals: int = 0, out: None = None) -> Tensor:
    """Rounded to `decimals` places after the point (before it if negative), halves to the even neighbour; gradient 0.
    """
    if not decimals or (decimals > 0 and not is_float(x.dtype)):
        return elementwise.round(x)
    if not is_float(x.dtype):
        raise ArgumentError(explain("integers are not rounded to tens", got=f"{x.dtype}, decimals={decimals}",
                                    fix="x.astype('float64').round(-1)"))
    scale = 10.0 ** abs(decimals)
    return elementwise.round(x * scale) / scale if decimals > 0 else elementwise.round(x / scale) * scale


@method
def copy(x: Tensor, order: str = "C") -> Tensor:
    """The same values in memory of their own; gradients pass."""
    if x.node.data is None:
        return Tensor(x.node)
    apart = barrier(x)
    apart.node.data = apart.node.data.copy()
    return apart


@method
def repeat(x: Tensor, repeats: ArrayLike, axis: int | None = None) -> Tensor:
    """Each element (or slice along `axis`) `repeats` times in a row."""
    return manipulation.repeat(x, repeats, axis=axis)


@method
def take(x: Tensor, indices: ArrayLike, axis: int | None = None) -> Tensor:
    """The elements (or slices along `axis`) at `indices`."""
    return index.take(_flat_without(x, axis), indices, axis=axis or 0)


@method
def argsort(x: Tensor, axis: int | None = -1) -> Tensor:
    """The indices that put the elements along `axis` in order, equal ones in the order in which they came."""
    return index.argsort(_flat_without(x, axis), axis=0 if axis is None else axis)


@method
def nonzero(x: Tensor) -> tuple[Tensor, ...]:
    """The indices of the elements that are not zero, one array per axis."""
    return searching.nonzero(x)


@method
def dot(x: Tensor, b: ArrayLike) -> Tensor:
    """The product over the last axis of `x` and the last but one (or only) axis of `b`; with a number, x * b."""
    b = as_tensor(b)
    if not x.ndim or not b.ndim:
        return elementwise.multiply(x, b)
    return compose.matmul(x, b) if b.ndim <= 2 else products.tensordot(x, b, axes=((-1,), (-2,)))


@method
def item(x: Tensor, *place: Any) -> Any:
    """The only element as a Python number, or that at an index (one integer counts row by row)."""
    if not place:
        return x._only("item()").item()
    try:
        return x.numpy().item(*_one_tuple(place))
    except (IndexError, ValueError, TypeError) as error:
        raise BoundsError(explain(f"there is no such element: {error}", got=f"item{_one_tuple(place)}",
                                  expected=f"an index into shape {x.shape}")) from None


@method
def tolist(x: Tensor) -> Any:
    """The data as nested Python lists."""
    return x._data("tolist()").tolist()
