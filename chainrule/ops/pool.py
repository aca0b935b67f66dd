# SPDX-License-Identifier: Apache-2.0
"""Pooling as sentences of the words: windows of an image (N, *S, C), reduced. What is padded never counts."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.bind import as_tensor, bind
from ..ir.dtype import int32, int64, is_float
from ..ir.node import Shape
from ..ir.tensor import Tensor
from .broadcast import broadcast_to, restore
from .control import custom_gradient, stop_gradient
from .elementwise import abs, as_float, astype, equal, floor_divide, maximum, minimum, sqrt, where, zeros_like
from .index import iota, scatter, take
from .movement import UNWINDOW, pad, reshape, window
from .reduce import max, min, sum

Pairs = Sequence[tuple[int, int]]


def _windows(x: Tensor, kernel: Shape, stride: Shape, padding: Pairs, value: float, dilation: Shape = ()) -> Tensor:
    """(N, *O, C, *K)."""
    padded = pad(x, [(0, 0), *padding, (0, 0)], value)
    return window(padded, tuple(range(1, x.ndim - 1)), kernel, stride, dilation or None)


def _lowest(dtype: np.dtype) -> float:
    return -math.inf if is_float(dtype) else 0 if dtype.kind == "b" else int(np.iinfo(dtype).min)


def max_pool(x: Any, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape = ()) -> Tensor:
    """The largest element of each window; its gradient goes to the first such element in row-major order."""
    x, low = as_tensor(x), _lowest(as_tensor(x).dtype)
    last = tuple(range(x.ndim, x.ndim + len(kernel)))
    value = max(_windows(x, kernel, stride, padding, low, dilation), axis=last)
    if not is_float(x.dtype):
        return value

    def rule(g: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor]:
        views = _windows(x, kernel, stride, padding, low, dilation)
        place, first = _places(views, y, kernel)
        g = restore(g, last, views.shape)
        chosen = equal(place, restore(first, last, views.shape))
        return (_unwindow(where(chosen, g, zeros_like(g)), x.shape, kernel, stride, padding, dilation),)
    return custom_gradient(value, (x,), rule)


def _places(views: Tensor, y: Tensor, kernel: Shape) -> tuple[Tensor, Tensor]:
    """(the number of each element in its window, the number of the first largest in each window)."""
    last = tuple(range(y.ndim, views.ndim))
    place: Any = functools.reduce(lambda so_far, i: so_far * kernel[i] + iota(views.shape, last[i], int32),
                             range(len(kernel)), 0)
    return place, min(where(equal(views, restore(y, last, views.shape)), place, math.prod(kernel)), axis=last)


def max_pool_indices(x: Any, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape = ()) -> Tensor:
    """Where the largest element of each window lies: its position in the image (row-major, without channels), int64."""
    x = as_tensor(x)
    views = _windows(x, kernel, stride, padding, _lowest(x.dtype), dilation)
    _, place = _places(views, max(views, axis=tuple(range(x.ndim, views.ndim))), kernel)
    found: Any = 0
    for i, (k, s, d) in enumerate(zip(kernel, stride, dilation or (1,) * len(kernel), strict=True)):
        rest = math.prod(kernel[i + 1:])
        offset = floor_divide(place, rest) - floor_divide(place, rest * k) * k
        at = iota(place.shape, 1 + i, int32) * s + offset * d - padding[i][0]
        found = found * x.shape[1 + i] + minimum(maximum(at, 0), x.shape[1 + i] - 1)  # all of a window may be -infinity
    return astype(found, int64)


def max_unpool(x: Any, indices: Any, extents: Shape) -> Tensor:
    """Each element of x put at its index (as of `max_pool_indices`) of an image (N, *extents, C), 0 elsewhere."""
    x, indices = as_tensor(x), as_tensor(indices)
    n, channels, size = x.shape[0], x.shape[-1], math.prod(extents)
    flat = (iota(x.shape, 0) * size + indices) * channels + iota(x.shape, x.ndim - 1)
    base = broadcast_to(as_tensor(0.0, x.dtype), (n * size * channels,))
    filled = scatter(base, reshape(flat, (x.size,)), reshape(x, (x.size,)), axis=0, mode="set")
    return reshape(filled, (n, *extents, channels))


def _unwindow(views: Tensor, shape: Shape, kernel: Shape, stride: Shape, padding: Pairs, dilation: Shape) -> Tensor:
    extents = tuple(n + low + high for n, (low, high) in zip(shape[1:-1], padding, strict=True))
    axes = tuple(range(1, len(shape) - 1))
    padded = bind(UNWINDOW, views, extents=extents, axes=axes, kernel=tuple(kernel), stride=tuple(stride),
                  dilation=dilation or (1,) * len(axes))
    return padded[(slice(None), *(slice(low, low + n) for n, (low, _) in zip(shape[1:-1], padding, strict=True)))]


def avg_pool(x: Any, kernel: Shape, stride: Shape, padding: Pairs, counted: Pairs | None = None) -> Tensor:
    """The mean of each window over the elements that belong to the image, and those of the padding that is
    `counted`."""
    x = as_float(x)
    total = sum(_windows(x, kernel, stride, padding, 0.0), axis=tuple(range(x.ndim, x.ndim + len(kernel))))
    counted = counted or ((0, 0),) * len(kernel)
    if tuple(padding) == tuple(counted):
        return total * (1 / math.prod(kernel))
    counts = [_counts(n, k, s, p, c)
              for n, k, s, p, c in zip(x.shape[1:-1], kernel, stride, padding, counted, strict=True)]
    members = functools.reduce(np.multiply.outer, counts)
    return total / members.astype(x.dtype)[None, ..., None]


def _counts(extent: int, kernel: int, stride: int, padding: tuple[int, int], counted: tuple[int, int]) -> np.ndarray:
    """How many elements of each window along one axis count, at least 1."""
    rest = [p - c for p, c in zip(padding, counted, strict=True)]
    inside = np.pad(np.ones(extent + counted[0] + counted[1], int), rest)
    return np.maximum(np.lib.stride_tricks.sliding_window_view(inside, kernel)[::stride].sum(axis=-1), 1)


def power_pool(x: Any, kernel: Shape, stride: Shape, padding: Pairs, power: float) -> Tensor:
    """(sum of |x|^power)^(1 / power) of each window, computed relative to its maximum, which is the value for an
    infinite power."""
    x = abs(as_float(x))
    axes = tuple(range(x.ndim, x.ndim + len(kernel)))
    windows = _windows(x, kernel, stride, padding, 0.0)
    if power == 1:
        return sum(windows, axis=axes)
    highest = max(windows, axis=axes, keepdims=True)
    if power == math.inf:
        return reshape(highest, highest.shape[:x.ndim])
    scale = stop_gradient(where(equal(highest, 0), 1.0, highest))
    total = sum((windows / scale)**power, axis=axes)
    return _root(total, power) * reshape(scale, total.shape)


def _root(total: Tensor, power: float) -> Tensor:
    """total^(1 / power), with gradient 0 where the total is 0."""
    empty = equal(total, 0)
    safe = where(empty, 1.0, total)
    return where(empty, zeros_like(total), sqrt(safe) if power == 2 else safe ** (1 / power))


def adaptive_pool(x: Any, sizes: Shape, reduce: str) -> Tensor:
    """The "mean" or "max" of `sizes` windows along each spatial axis, window i from floor(i n / size) to
    ceil((i + 1) n / size)."""
    x = as_tensor(x) if reduce == "max" else as_float(x)
    for axis, size in enumerate(sizes, 1):
        n = x.shape[axis]
        starts, stops = (np.arange(size) * n) // size, -(-(np.arange(1, size + 1) * n) // size)
        width = int((stops - starts).max())
        places = np.minimum(starts[:, None] + np.arange(width), stops[:, None] - 1)
        views = take(x, places, axis=axis)
        if reduce == "max":
            x = max(views, axis=axis + 1)
            continue
        share = (np.arange(width) < (stops - starts)[:, None]) / (stops - starts)[:, None]
        x = sum(views * share.reshape(size, width, *(1,) * (x.ndim - axis - 1)).astype(x.dtype), axis=axis + 1)
    return x
