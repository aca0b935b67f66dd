# SPDX-License-Identifier: Apache-2.0
"""Manipulation functions of the array API standard: axes added, moved, rolled, repeated and split; all differentiable.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArgumentError, ShapeError, explain
from ..foundations.arguments import guard
from ..ir.bind import as_tensor
from ..ir.tensor import Tensor
from ..ir.variable import Variable
from ..ops.broadcast import broadcast_to
from ..ops.compose import concat
from ..ops.index import take
from ..ops.movement import permute_dims, reshape, slice_axis
from ..ops.types import broadcast_shapes, normalize_axes, normalize_axis, without
from ..typing import ArrayLike


def broadcast_arrays(*arrays: ArrayLike) -> list[Tensor]:
    """The arrays repeated to the one shape in which they meet.

    >>> a, b = cr.broadcast_arrays([[1], [2]], [10, 20])
    >>> a.shape, b
    ((2, 2), Tensor([[10, 20],
            [10, 20]], dtype=int64))
    """
    parts = [as_tensor(x) for x in arrays]
    shape = broadcast_shapes(*(x.shape for x in parts))
    return [broadcast_to(x, shape) for x in parts]


def expand_dims(x: ArrayLike, /, axis: int | Sequence[int] = 0) -> Tensor:
    """`x` with a new axis of extent 1 at each of the positions `axis` of the result.

    >>> cr.expand_dims([1, 2], axis=1).shape
    (2, 1)
    """
    x = as_tensor(x)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    places = normalize_axes(axes, x.ndim + len(axes))
    rest = iter(x.shape)
    return reshape(x, tuple(1 if i in places else next(rest) for i in range(x.ndim + len(axes))))


def squeeze(x: ArrayLike, /, axis: int | Sequence[int]) -> Tensor:
    """`x` without the axes `axis`, each of extent 1.

    >>> cr.squeeze([[1], [2]], axis=1)
    Tensor([1, 2], dtype=int64)
    """
    x = as_tensor(x)
    axes = normalize_axes(axis, x.ndim)
    if any(x.shape[a] != 1 for a in axes):
        raise ShapeError(explain("only axes of extent 1 can be squeezed", got=f"axes {axes} of shape {x.shape}"))
    return reshape(x, without(x.shape, axes))


def moveaxis(x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int], /) -> Tensor:
    """The axes `source` moved to the positions `destination`; the others keep their order.

    >>> cr.moveaxis(np.zeros((8, 3, 32, 32)), 1, -1).shape
    (8, 32, 32, 3)
    """
    x = as_tensor(x)
    origins, places = (_each_axis(axes, x.ndim) for axes in (source, destination))
    if len(origins) != len(places):
        raise ArgumentError(explain("as many axes must leave as arrive", got=f"{source} to {destination}"))
    order = [i for i in range(x.ndim) if i not in origins]
    for place, origin in sorted(zip(places, origins, strict=True)):
        order.insert(place, origin)
    return permute_dims(x, order)


def _each_axis(axes: int | Sequence[int], ndim: int) -> list[int]:
    found = [normalize_axis(a, ndim) for a in ((axes,) if isinstance(axes, int) else axes)]
    if len(set(found)) != len(found):
        raise ShapeError(explain("an axis is named twice", got=str(axes)))
    return found


def roll(x: ArrayLike, /, shift: int | Sequence[int], *, axis: int | Sequence[int] | None = None) -> Tensor:
    """The elements moved by `shift` along `axis` (default: of the flattened array); what leaves at the end returns in
    front.

    >>> cr.roll([1, 2, 3, 4], 1)
    Tensor([4, 1, 2, 3], dtype=int64)
    """
    x = as_tensor(x)
    if axis is None:
        return reshape(roll(reshape(x, (x.size,)), shift, axis=0), x.shape)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shifts = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
    if len(shifts) != len(axes):
        raise ArgumentError(explain("roll needs one shift for each axis",
                                    got=f"{len(shifts)} shifts, {len(axes)} axes"))
    for one, along in zip(shifts, axes, strict=True):
        x = _roll(x, one, normalize_axis(along, x.ndim))
    return x


def _roll(x: Tensor, shift: int, axis: int) -> Tensor:
    extent = x.shape[axis]
    cut = (-shift) % extent if extent else 0
    return concat([slice_axis(x, axis, cut, extent), slice_axis(x, axis, 0, cut)], axis=axis) if cut else x


def repeat(x: ArrayLike, repeats: ArrayLike, /, *, axis: int | None = None) -> Tensor:
    """Each element (or slice along `axis`) `repeats` times in a row; `repeats` may be an array, one count per slice.

    An array of counts decides the shape of the result, so it must be known: outside compiled functions, or constant.

    >>> cr.repeat([1, 2], 3)
    Tensor([1, 1, 1, 2, 2, 2], dtype=int64)
    """
    x = as_tensor(x)
    if axis is None:
        return repeat(reshape(x, (x.size,)), repeats, axis=0)
    axis = normalize_axis(axis, x.ndim)
    if isinstance(repeats, int):
        widened = reshape(x, (*x.shape[:axis + 1], 1, *x.shape[axis + 1:]))
        grown = broadcast_to(widened, (*x.shape[:axis + 1], repeats, *x.shape[axis + 1:]))
        return reshape(grown, (*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1:]))
    counts = as_tensor(repeats) if isinstance(repeats, Tensor | Variable) else as_tensor(np.asarray(repeats))
    known = counts._data("repeat with an array of counts", "give the number of repetitions as an int")
    return take(x, as_tensor(np.repeat(np.arange(x.shape[axis]), known)), axis=axis)


def tile(x: ArrayLike, repetitions: Sequence[int], /) -> Tensor:
    """`x` side by side with itself, `repetitions[i]` times along axis i, counted from the last axis.

    >>> cr.tile([1, 2], (2, 2))
    Tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]], dtype=int64)
    """
    x, counts = as_tensor(x), tuple(repetitions)
    ndim = max(x.ndim, len(counts))
    shape = (*(1,) * (ndim - x.ndim), *x.shape)
    counts = (*(1,) * (ndim - len(counts)), *counts)
    spread = reshape(x, tuple(n for extent in shape for n in (1, extent)))
    grown = broadcast_to(spread, tuple(n for pair in zip(counts, shape, strict=True) for n in pair))
    return reshape(grown, tuple(a * b for a, b in zip(counts, shape, strict=True)))


def unstack(x: ArrayLike, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along `axis`, which goes away.

    >>> cr.unstack([[1, 2], [3, 4]])
    (Tensor([1, 2], dtype=int64), Tensor([3, 4], dtype=int64))
    """
    x = as_tensor(x)
    axis = normalize_axis(axis, x.ndim)
    rest = without(x.shape, (axis,))
    return tuple(reshape(slice_axis(x, axis, i, i + 1), rest) for i in range(x.shape[axis]))


__all__ = ["broadcast_arrays", "expand_dims", "moveaxis", "repeat", "roll", "squeeze", "tile", "unstack"]

guard(globals(), __all__)
