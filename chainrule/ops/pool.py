# SPDX-License-Identifier: Apache-2.0
"""Pooling as sentences of the words: windows of an image (N, *S, C), reduced. What is padded never counts."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.bind import as_tensor, bind
from ..ir.dtype import int32, is_float
from ..ir.node import Shape
from ..ir.tensor import Tensor
from .broadcast import restore
from .control import custom_gradient
from .elementwise import equal, where, zeros_like
from .index import iota
from .movement import UNWINDOW, pad, window
from .reduce import max, min, sum

Pairs = Sequence[tuple[int, int]]


def _windows(x: Tensor, kernel: Shape, stride: Shape, padding: Pairs, value: float) -> Tensor:
    """(N, *O, C, *K)."""
    padded = pad(x, [(0, 0), *padding, (0, 0)], value)
    return window(padded, tuple(range(1, x.ndim - 1)), kernel, stride)


def _lowest(dtype: np.dtype) -> float:
    return -math.inf if is_float(dtype) else int(np.iinfo(dtype).min)


def max_pool(x: Any, kernel: Shape, stride: Shape, padding: Pairs) -> Tensor:
    """The largest element of each window; its gradient goes to the first such element in row-major order."""
    x, low = as_tensor(x), _lowest(as_tensor(x).dtype)
    last = tuple(range(x.ndim, x.ndim + len(kernel)))
    value = max(_windows(x, kernel, stride, padding, low), axis=last)
    if not is_float(x.dtype):
        return value

    def rule(g: Tensor, y: Tensor, x: Tensor) -> tuple[Tensor]:
        views = _windows(x, kernel, stride, padding, low)
        place = functools.reduce(lambda so_far, i: so_far * kernel[i] + iota(views.shape, last[i], int32),
                                 range(len(kernel)), 0)
        first = min(where(equal(views, restore(y, last, views.shape)), place, math.prod(kernel)), axis=last)
        chosen = equal(place, restore(first, last, views.shape))
        g = restore(g, last, views.shape)
        return (_unwindow(where(chosen, g, zeros_like(g)), x.shape, kernel, stride, padding),)
    return custom_gradient(value, (x,), rule)


def _unwindow(views: Tensor, shape: Shape, kernel: Shape, stride: Shape, padding: Pairs) -> Tensor:
    extents = tuple(n + low + high for n, (low, high) in zip(shape[1:-1], padding, strict=True))
    axes = tuple(range(1, len(shape) - 1))
    padded = bind(UNWINDOW, views, extents=extents, axes=axes, kernel=tuple(kernel), stride=tuple(stride),
                  dilation=(1,) * len(axes))
    return padded[(slice(None), *(slice(low, low + n) for n, (low, _) in zip(shape[1:-1], padding, strict=True)))]


def avg_pool(x: Any, kernel: Shape, stride: Shape, padding: Pairs) -> Tensor:
    """The mean of each window over the elements that belong to the image."""
    x = as_tensor(x)
    total = sum(_windows(x, kernel, stride, padding, 0.0), axis=tuple(range(x.ndim, x.ndim + len(kernel))))
    if not any(low or high for low, high in padding):
        return total * (1 / math.prod(kernel))
    counts = [_counts(n, k, s, p) for n, k, s, p in zip(x.shape[1:-1], kernel, stride, padding, strict=True)]
    members = functools.reduce(np.multiply.outer, counts)
    return total / members.astype(x.dtype)[None, ..., None]


def _counts(extent: int, kernel: int, stride: int, padding: tuple[int, int]) -> np.ndarray:
    """How many elements of each window along one axis lie inside the image, at least 1."""
    inside = np.pad(np.ones(extent, int), padding)
    return np.maximum(np.lib.stride_tricks.sliding_window_view(inside, kernel)[::stride].sum(axis=-1), 1)
