# SPDX-License-Identifier: Apache-2.0
"""Words that choose elements by position: take, scatter, argsort, iota; indices are data, bounds are checked.

`take` reads along one axis, `scatter` writes along one axis; the other indexing functions are composed from them.
An index out of bounds raises BoundsError when it runs, compiled or not; negative indices count from the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import BoundsError, DTypeError, ShapeError, explain
from ..foundations.arguments import guard
from ..ir.bind import as_tensor, bind
from ..ir.dtype import canonical, int64, is_integer
from ..ir.node import Op, Shape, Type, op
from ..ir.tensor import Tensor
from ..typing import ArrayLike
from . import types
from .broadcast import broadcast_to
from .elementwise import astype, less, less_equal, where, zeros_like
from .movement import flip, permute_dims, reshape


def check_bounds(indices: np.ndarray, extent: int, what: str = "an index is out of bounds") -> None:
    """Raise BoundsError for the first index outside -extent .. extent - 1."""
    if indices.size and (indices.min() < -extent or indices.max() >= extent):
        wrong = np.argwhere((indices < -extent) | (indices >= extent))[0]
        raise index_error(indices, tuple(int(i) for i in wrong), extent, what)


def index_error(indices: np.ndarray, place: tuple[int, ...], extent: int, what: str = "an index is out of bounds",
                **where: Any) -> BoundsError:
    """The error for the index at `place`."""
    return BoundsError.at(place, indices.shape, lambda told: explain(
        what, got=f"{indices[place]} at position {told}", expected=f"0 to {extent - 1}" if extent
        else "nothing: the axis is empty",
        fix="check where the indices come from; do they start at 1?", **where))


def _infer_take(x: Type, indices: Type, *, axis: int) -> Type:
    if not is_integer(indices.dtype):
        raise DTypeError(explain("indices must be integers", got=str(indices),
                                 fix="cast them with cr.astype(i, cr.int64)"))
    return Type((*x.shape[:axis], *indices.shape, *x.shape[axis + 1:]), x.dtype)


def _mean_take(x: np.ndarray, indices: np.ndarray, *, axis: int) -> np.ndarray:
    check_bounds(indices, x.shape[axis])
    return np.take(x, indices, axis=axis)


def _infer_scatter(base: Type, indices: Type, updates: Type, *, axis: int, mode: str, drop: bool = False) -> Type:
    expected = _infer_take(base, indices, axis=axis)
    if updates != expected:
        raise ShapeError(explain("the updates do not fit the indices", got=str(updates), expected=str(expected)))
    return base


def _mean_scatter(base: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, axis: int, mode: str,
                  drop: bool = False) -> np.ndarray:
    result = base.copy()
    if drop:
        inside = (indices >= -base.shape[axis]) & (indices < base.shape[axis])
        indices, updates = indices[inside], updates[(*(slice(None),) * axis, inside)]
    check_bounds(indices, base.shape[axis])
    place: Any = (*(slice(None),) * axis, indices)
    if mode == "add":
        np.add.at(result, place, updates)
    else:
        result[place] = updates
    return result


TAKE = op("take", infer=_infer_take, meaning=_mean_take,
          vjp=(lambda g, y, x, i, axis: scatter(zeros_like(x), i, g, axis=axis), None))

def _gradient_of_updates(g: Tensor, indices: Tensor, axis: int, drop: bool) -> Tensor:
    """What was written at each index; 0 where nothing was."""
    if not drop:
        return bind(TAKE, g, indices, axis=axis)
    extent, indices = g.shape[axis], astype(indices, int64)
    inside = less_equal(-extent, indices) & less(indices, extent)
    found = bind(TAKE, g, where(inside, indices, 0), axis=axis)
    shape = (*(1,) * axis, *indices.shape, *(1,) * (g.ndim - axis - 1))
    return where(broadcast_to(reshape(inside, shape), found.shape), found, zeros_like(found))


SCATTER: Op = op("scatter", infer=_infer_scatter, meaning=_mean_scatter,
             vjp=(lambda g, y, b, i, u, mode, **at: g if mode == "add"
                  else bind(SCATTER, g, i, zeros_like(u), mode="set", **at),
                  None,
                  lambda g, y, b, i, u, mode, axis, drop=False: _gradient_of_updates(g, i, axis, drop)))

ARGSORT = op("argsort", infer=lambda x, *, axis: Type(x.shape, int64), vjp=None,
             meaning=lambda x, *, axis: np.argsort(x, axis=axis, stable=True))

# The gradient of a sorted element goes to its place before: the place after of each element is the order of the order.
SORT = op("sort", infer=lambda x, *, axis: x, meaning=lambda x, *, axis: np.sort(x, axis=axis),
          vjp=(lambda g, y, x, axis: take_along_axis(g, bind(ARGSORT, bind(ARGSORT, x, axis=axis), axis=axis),
                                                     axis=axis),))

IOTA = op("iota", infer=lambda *, shape, axis, dtype: Type(shape, dtype), vjp=None,
          meaning=lambda *, shape, axis, dtype: np.broadcast_to(
              np.arange(shape[axis], dtype=dtype).reshape([-1 if i == axis else 1 for i in range(len(shape))]), shape))


def iota(shape: Shape, axis: int, dtype: Any = int64) -> Tensor:
    """The position along `axis` of each element: 0, 1, 2, ..."""
    return bind(IOTA, shape=tuple(shape), axis=axis, dtype=canonical(dtype))


def take(x: ArrayLike, indices: ArrayLike, /, *, axis: int | None = None) -> Tensor:
    """x[..., indices, ...] along `axis`: the axis is replaced by the axes of `indices`.

    >>> cr.take([[1, 2], [3, 4], [5, 6]], [2, 0], axis=0)
    Tensor([[5, 6],
            [1, 2]], dtype=int64)
    """
    x, indices = as_tensor(x), as_tensor(indices)
    if axis is None:
        if x.ndim != 1:
            raise ShapeError(explain("take needs an axis for arrays of more than one", got=f"shape {x.shape}",
                                     fix="say axis=0"))
        axis = 0
    return bind(TAKE, x, indices, axis=types.normalize_axis(axis, x.ndim))


def scatter(base: Any, indices: Any, updates: Any, *, axis: int = 0, mode: str = "add", drop: bool = False) -> Tensor:
    """`base` with `updates` added (or, with mode="set", put) at positions `indices` of `axis`.

    With `drop`, an index out of bounds writes nothing in the place of raising an error; such a scatter of a Variable
    that it is then assigned to runs in place and touches these positions alone.
    """
    base = as_tensor(base)
    attrs = {"drop": True} if drop else {}
    return bind(SCATTER, base, as_tensor(indices), as_tensor(updates), axis=types.normalize_axis(axis, base.ndim),
                mode=mode, **attrs)


def take_along_axis(x: ArrayLike, indices: ArrayLike, /, *, axis: int = -1) -> Tensor:
    """For each position of `indices`, the element of `x` at that index along `axis`; other axes broadcast.

    >>> cr.take_along_axis([[10, 30, 20]], [[1, 0, 2]], axis=1)
    Tensor([[30, 10, 20]], dtype=int64)
    """
    x, indices = as_tensor(x), as_tensor(indices)
    if x.ndim != indices.ndim:
        raise ShapeError(explain("the array and the indices need the same number of axes",
                                 got=f"shapes {x.shape} and {indices.shape}",
                                 fix="add axes of extent 1 with cr.expand_dims, or use cr.take(x, i, axis=...)"))
    axis = types.normalize_axis(axis, x.ndim)
    shape = types.broadcast_shapes(types.without(x.shape, (axis,)), types.without(indices.shape, (axis,)))
    x = broadcast_to(x, (*shape[:axis], x.shape[axis], *shape[axis:]))
    indices = broadcast_to(indices, (*shape[:axis], indices.shape[axis], *shape[axis:]))
    last = (*(i for i in range(x.ndim) if i != axis), axis)
    back = tuple(int(i) for i in np.argsort(last))
    return permute_dims(_take_rows(permute_dims(x, last), permute_dims(indices, last)), back)


def _take_rows(x: Tensor, indices: Tensor) -> Tensor:
    """Along the last axis, with equal leading axes, by positions in the flattened array."""
    extent, flat = x.shape[-1], reshape(x, (x.size,))
    count = int(np.prod(indices.shape[:-1], dtype=np.int64))
    rows = iota((count, 1), 0) * extent
    places = reshape(wrap(astype(indices, int64), extent), (count, indices.shape[-1])) + rows
    return reshape(take(flat, reshape(places, (indices.size,)), axis=0), indices.shape)


def wrap(indices: Tensor, extent: int) -> Tensor:
    """Negative indices counted from the end; those out of bounds become -huge, so that they are found when they run."""
    wrapped = where(less(indices, 0), indices + extent, indices)
    return where(less(wrapped, 0) | less(extent - 1, wrapped), -(2**62), wrapped)


def argsort(x: ArrayLike, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Indices that would sort `x` along `axis`; equal elements keep their order; NaN comes last (first when
    descending).

    >>> cr.argsort([3.0, 1.0, 2.0])
    Tensor([1, 2, 0], dtype=int64)
    """
    x = as_tensor(x)
    axis = types.normalize_axis(axis, x.ndim)
    if not descending:
        return bind(ARGSORT, x, axis=axis)
    return x.shape[axis] - 1 - flip(bind(ARGSORT, flip(x, axis=axis), axis=axis), axis=axis)


def sort(x: ArrayLike, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """`x` in ascending (or descending) order along `axis`; NaN comes last (first when descending), zeros of both signs
    are equal.

    >>> cr.sort([3.0, 1.0, 2.0], descending=True)
    Tensor([3., 2., 1.], dtype=float32)
    """
    x = as_tensor(x)
    axis = types.normalize_axis(axis, x.ndim)
    ascending = bind(SORT, x, axis=axis)
    return flip(ascending, axis=axis) if descending else ascending


guard(globals(), ("argsort", "sort", "take", "take_along_axis"))
