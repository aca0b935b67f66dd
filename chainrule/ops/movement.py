# SPDX-License-Identifier: Apache-2.0
"""Words that move elements without computing: reshape, transpose, slice, pad, concat, window, unwindow.

Each derivative is another of them: pad and slice mirror each other, so do window and unwindow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError, explain
from ..foundations.arguments import guard, wholes
from ..ir.bind import as_tensor, bind
from ..ir.node import Op, Shape, Type, op
from ..ir.tensor import Tensor
from ..typing import ArrayLike, AxisLike, ShapeLike
from . import types

# ---- reshape and transpose


def _infer_reshape(x: Type, *, shape: Shape) -> Type:
    if Type(shape, x.dtype).size != x.size:
        raise ShapeError(explain(f"{x.size} elements do not fill the shape {shape}", got=f"shape {x.shape}",
                                 expected=f"a shape of {x.size} elements",
                                 fix="use -1 for one extent to have it computed"))
    return Type(shape, x.dtype)


RESHAPE = op("reshape", infer=_infer_reshape, meaning=lambda x, *, shape: x.reshape(shape),
             vjp=(lambda g, y, x, shape: reshape(g, x.shape),))

TRANSPOSE = op("transpose", infer=lambda x, *, axes: Type(tuple(x.shape[a] for a in axes), x.dtype),
               meaning=lambda x, *, axes: x.transpose(axes),
               vjp=(lambda g, y, x, axes: permute_dims(g, tuple(int(a) for a in np.argsort(axes))),))


# ---- slice and pad: out[i] = x[start + i * step], and its transpose with `interior` gaps of zeros

def _infer_slice(x: Type, *, start: Shape, count: Shape, step: Shape) -> Type:
    for extent, first, n, stride in zip(x.shape, start, count, step, strict=True):
        if n and not (0 <= first < extent and 0 <= first + (n - 1) * stride < extent):
            raise ShapeError(explain("a slice leaves the array", got=f"start {start}, count {count}, step {step}",
                                     expected=f"positions within {x.shape}"))
    return Type(count, x.dtype)


def _slices(start: Shape, count: Shape, step: Shape) -> tuple[slice, ...]:
    stops = [first + n * stride for first, n, stride in zip(start, count, step, strict=True)]
    return tuple(slice(first, stop if stop >= 0 else None, stride) if n else slice(0, 0)
                 for first, n, stride, stop in zip(start, count, step, stops, strict=True))


def _slice_vjp(g: Tensor, y: Tensor, x: Tensor, start: Shape, count: Shape, step: Shape) -> Tensor:
    backwards = tuple(i for i, stride in enumerate(step) if stride < 0)
    g = flip(g, axis=backwards) if backwards else g
    first = tuple(s + (n - 1) * d if d < 0 and n else s for s, n, d in zip(start, count, step, strict=True))
    gap = tuple(max(-d, d) - 1 for d in step)
    spans = [(n - 1) * (k + 1) + 1 if n else 0 for n, k in zip(count, gap, strict=True)]
    first = tuple(s if n else 0 for s, n in zip(first, count, strict=True))
    high = tuple(extent - s - span for extent, s, span in zip(x.shape, first, spans, strict=True))
    return _pad(g, first, high, gap, 0.0)


SLICE = op("slice", infer=_infer_slice, vjp=(_slice_vjp,),
           meaning=lambda x, *, start, count, step: x[_slices(start, count, step)])


def _infer_pad(x: Type, *, low: Shape, high: Shape, interior: Shape, value: float) -> Type:
    if any(n < 0 for n in (*low, *high, *interior)):
        raise ShapeError(explain("padding must not be negative", got=f"{low}, {high}, {interior}",
                                 fix="use a slice to crop"))
    spans = [(n - 1) * (gap + 1) + 1 if n else 0 for n, gap in zip(x.shape, interior, strict=True)]
    return Type(tuple(a + n + b for a, n, b in zip(low, spans, high, strict=True)), x.dtype)


def _mean_pad(x: np.ndarray, *, low: Shape, high: Shape, interior: Shape, value: float) -> np.ndarray:
    kind = _infer_pad(Type(x.shape, x.dtype), low=low, high=high, interior=interior, value=value)
    result = np.full(kind.shape, value, x.dtype)
    result[_slices(low, x.shape, tuple(gap + 1 for gap in interior))] = x
    return result


PAD = op("pad", infer=_infer_pad, meaning=_mean_pad,
         vjp=(lambda g, y, x, low, high, interior, value:
              _slice(g, tuple(a if n else 0 for a, n in zip(low, x.shape, strict=True)), x.shape,
                     tuple(gap + 1 for gap in interior)),))


# ---- concat

def _infer_concat(*parts: Type, axis: int) -> Type:
    first = parts[0]
    for part in parts[1:]:
        if part.dtype != first.dtype or types.without(part.shape, (axis,)) != types.without(first.shape, (axis,)):
            raise ShapeError(explain(f"parts must agree in all but axis {axis}", got=" and ".join(map(str, parts))))
    total = sum(part.shape[axis] for part in parts)
    return Type((*first.shape[:axis], total, *first.shape[axis + 1:]), first.dtype)


def _concat_vjp(g: Tensor, y: Tensor, *parts: Tensor, axis: int) -> tuple[Tensor, ...]:
    bounds = np.cumsum([0, *(part.shape[axis] for part in parts)])
    return tuple(slice_axis(g, axis, int(a), int(b)) for a, b in itertools.pairwise(bounds))


CONCAT = op("concat", infer=_infer_concat, meaning=lambda *parts, axis: np.concatenate(parts, axis=axis),
            vjp=_concat_vjp)


# ---- window: sliding views over some axes, appended as new last axes; unwindow adds overlapping windows up again

def _infer_window(x: Type, *, axes: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> Type:
    shape = list(x.shape)
    for axis, k, s, d in zip(axes, kernel, stride, dilation, strict=True):
        shape[axis] = types.window_extent(shape[axis], k, s, d)
    return Type((*shape, *kernel), x.dtype)


def _mean_window(x: np.ndarray, *, axes: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> np.ndarray:
    kind = _infer_window(Type(x.shape, x.dtype), axes=axes, kernel=kernel, stride=stride, dilation=dilation)
    strides = list(x.strides)
    for axis, s in zip(axes, stride, strict=True):
        strides[axis] *= s
    extra = [x.strides[axis] * d for axis, d in zip(axes, dilation, strict=True)]
    if not kind.size:
        return np.zeros(kind.shape, x.dtype)
    return np.lib.stride_tricks.as_strided(x, kind.shape, (*strides, *extra), writeable=False)


def _infer_unwindow(x: Type, *, extents: Shape, axes: Shape, kernel: Shape, stride: Shape, dilation: Shape) -> Type:
    shape = list(x.shape[: len(x.shape) - len(axes)])
    for axis, extent in zip(axes, extents, strict=True):
        shape[axis] = extent
    return Type(tuple(shape), x.dtype)


def _mean_unwindow(x: np.ndarray, *, extents: Shape, axes: Shape, kernel: Shape, stride: Shape,
                   dilation: Shape) -> np.ndarray:
    kind = _infer_unwindow(Type(x.shape, x.dtype), extents=extents, axes=axes, kernel=kernel, stride=stride,
                           dilation=dilation)
    result = np.zeros(kind.shape, x.dtype)
    for offsets in np.ndindex(*kernel):
        place: list[Any] = [slice(None)] * result.ndim
        for axis, k, s, d in zip(axes, offsets, stride, dilation, strict=True):
            place[axis] = slice(k * d, k * d + (x.shape[axis] - 1) * s + 1 if x.shape[axis] else k * d, s)
        result[tuple(place)] += x[(..., *offsets)]
    return result


WINDOW = op("window", infer=_infer_window, meaning=_mean_window,
            vjp=(lambda g, y, x, axes, kernel, stride, dilation:
                 bind(UNWINDOW, g, extents=tuple(x.shape[a] for a in axes), axes=axes, kernel=kernel, stride=stride,
                      dilation=dilation),))
UNWINDOW: Op = op("unwindow", infer=_infer_unwindow, meaning=_mean_unwindow,
              vjp=(lambda g, y, x, extents, **attrs: bind(WINDOW, g, **attrs),))


# ---- public functions

def reshape(x: ArrayLike, /, shape: ShapeLike, *, copy: bool | None = None) -> Tensor:
    """The same elements in row-major order in another shape; one extent may be -1.

    >>> cr.reshape([1, 2, 3, 4, 5, 6], (2, -1))
    Tensor([[1, 2, 3],
            [4, 5, 6]], dtype=int64)
    """
    x = as_tensor(x)
    wanted = tuple(int(n) for n in ((shape,) if isinstance(shape, int) else shape))
    if wanted.count(-1) == 1:
        known = math.prod(n for n in wanted if n != -1)
        if not known:
            raise ShapeError(explain("beside an extent of 0 the one that is -1 may be any number",
                                     got=f"shape {x.shape} as {wanted}", fix="write all extents"))
        wanted = tuple(x.size // known if n == -1 else n for n in wanted)
    return x if wanted == x.shape else bind(RESHAPE, x, shape=wanted)


def permute_dims(x: ArrayLike, /, axes: Sequence[int]) -> Tensor:
    """The axes in another order.

    >>> cr.permute_dims(np.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    x = as_tensor(x)
    order = tuple(types.normalize_axis(int(a), x.ndim) for a in axes)
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(explain("an order of axes names each axis once", got=str(tuple(axes)),
                                 expected=f"the axes 0 to {x.ndim - 1}"))
    return x if order == tuple(range(x.ndim)) else bind(TRANSPOSE, x, axes=order)


def flip(x: ArrayLike, /, *, axis: AxisLike = None) -> Tensor:
    """The order of the elements along `axis` (default: all) reversed.

    >>> cr.flip([1, 2, 3])
    Tensor([3, 2, 1], dtype=int64)
    """
    x = as_tensor(x)
    axes = types.normalize_axes(axis, x.ndim)
    start = tuple(max(n - 1, 0) if i in axes else 0 for i, n in enumerate(x.shape))
    return _slice(x, start, x.shape, tuple(-1 if i in axes else 1 for i in range(x.ndim)))


def slice_axis(x: Any, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
    """x[start:stop:step] along one axis, with 0 <= start <= stop and step > 0."""
    x = as_tensor(x)
    count = max(-(-(stop - start) // step), 0)
    starts, counts, steps = [0] * x.ndim, list(x.shape), [1] * x.ndim
    starts[axis], counts[axis], steps[axis] = start if count else 0, count, step
    return _slice(x, tuple(starts), tuple(counts), tuple(steps))


def _slice(x: Tensor, start: Shape, count: Shape, step: Shape) -> Tensor:
    if count == x.shape and all(d == 1 for d in step):
        return x
    return bind(SLICE, x, start=start, count=count, step=step)


def pad(x: Any, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """`x` with (before, after) elements of `value` added along each axis."""
    x = as_tensor(x)
    if len(widths) != x.ndim:
        raise ShapeError(explain("padding needs one pair (before, after) for each axis", got=str(widths),
                                 expected=f"{x.ndim} pairs"))
    return _pad(x, tuple(int(a) for a, _ in widths), tuple(int(b) for _, b in widths), (0,) * x.ndim, value)


def _pad(x: Tensor, low: Shape, high: Shape, interior: Shape, value: float) -> Tensor:
    if not any((*low, *high, *interior)):
        return x
    return bind(PAD, x, low=low, high=high, interior=interior, value=value)


def window(x: Any, axes: Sequence[int], kernel: Sequence[int], stride: Sequence[int],
           dilation: Sequence[int] | None = None) -> Tensor:
    """Sliding windows over `axes`, each window's elements along new last axes: out[..., i, ..., k] = x[..., i * s + k *
    d, ...]."""
    dilation = dilation or (1,) * len(tuple(axes))
    return bind(WINDOW, as_tensor(x), axes=tuple(axes), kernel=tuple(kernel), stride=tuple(stride),
                dilation=tuple(dilation))


__all__ = ["flip", "pad", "permute_dims", "reshape", "slice_axis", "window"]

guard(globals(), ("flip", "permute_dims", "reshape"), {"reshape": {"shape": wholes}, "permute_dims": {"axes": wholes}})
