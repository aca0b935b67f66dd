# SPDX-License-Identifier: Apache-2.0
"""Pooling over windows and over whole images, channels-last, and padding as a layer."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError, explain
from ..ops.compose import concat
from ..ops.movement import flip, pad, slice_axis
from ..ops.pool import avg_pool, max_pool
from ..ops.reduce import max, mean
from .checks import axis_names, describe, extents, need_rank, origin
from .convolution import check_window, pads, parse_padding
from .module import Module


class Pooling(Module):
    """Windows of the image, each reduced to one number per channel.

    Args:
        pool_size: an integer, or one per spatial axis.
        stride: by default the pool size.
        padding: as in Conv2D; what is padded never counts: it is neither a maximum nor part of a mean.
    """

    rank, reduce = 2, staticmethod(max_pool)

    def __init__(self, pool_size: Any = 2, stride: Any = None, padding: Any = "valid"):
        self.kernel = extents("pool_size", pool_size, self.rank)
        self.stride = self.kernel if stride is None else extents("stride", stride, self.rank)
        self.dilation = (1,) * self.rank
        self.padding = parse_padding(padding, self.rank)

    def forward(self, x: Any) -> Any:
        need_rank(x, self.rank)
        padding = pads(self.padding, x.shape[1:-1], self.kernel, self.stride, self.dilation)
        check_window(x, self.kernel, padding, self.dilation, "pool")
        return type(self).reduce(x, self.kernel, self.stride, padding)


def _pooling(name: str, rank: int, reduce: Any, word: str) -> type[Module]:
    doc = f"The {word} of each window, over {rank} spatial {'axis' if rank == 1 else 'axes'}. {Pooling.__doc__}"
    return type(name, (Pooling,),
                {"rank": rank, "reduce": staticmethod(reduce), "__doc__": doc, "__module__": __name__})


MaxPool1D, MaxPool2D, MaxPool3D = (_pooling(f"MaxPool{n}D", n, max_pool,
                                            "maximum (its gradient goes to the first one)") for n in (1, 2, 3))
AvgPool1D, AvgPool2D, AvgPool3D = (_pooling(f"AvgPool{n}D", n, avg_pool, "mean") for n in (1, 2, 3))


class GlobalPooling(Module):
    """The whole image as one window: (N, *S, C) -> (N, C)."""

    rank, reduce = 2, staticmethod(mean)

    def forward(self, x: Any) -> Any:
        need_rank(x, self.rank)
        return type(self).reduce(x, axis=tuple(range(1, x.ndim - 1)))


def _global(name: str, rank: int, reduce: Any, word: str) -> type[Module]:
    doc = f"The {word} of each channel over the whole {'sequence' if rank == 1 else 'image'}."
    return type(name, (GlobalPooling,),
                {"rank": rank, "reduce": staticmethod(reduce), "__doc__": doc, "__module__": __name__})


GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = (_global(f"GlobalAvgPool{n}D", n, mean, "mean") for n in (1, 2, 3))
GlobalMaxPool1D, GlobalMaxPool2D = (_global(f"GlobalMaxPool{n}D", n, max, "maximum") for n in (1, 2))


class ZeroPad2D(Module):
    """Zeros round each image.

    Args:
        padding: an integer, or one integer or pair (before, after) for each of height and width.
    """

    def __init__(self, padding: Any = 1):
        self.padding = parse_padding(padding, 2)

    def forward(self, x: Any) -> Any:
        need_rank(x, 2)
        return pad(x, [(0, 0), *self.padding, (0, 0)])


class ReflectPad2D(Module):
    """Each image continued as in a mirror that lies on its border pixels: (c b) a b c (b a).

    Args:
        padding: an integer, or one integer or pair (before, after) for each of height and width; less than the extent.
    """

    def __init__(self, padding: Any = 1):
        self.padding = parse_padding(padding, 2)

    def forward(self, x: Any) -> Any:
        need_rank(x, 2)
        for axis, (low, high) in zip((1, 2), self.padding, strict=True):
            x = self._reflected(x, axis, low, high)
        return x

    def _reflected(self, x: Any, axis: int, low: int, high: int) -> Any:
        n = x.shape[axis]
        if low >= n or high >= n:
            raise ShapeError(explain(f"there are not enough pixels to reflect {low} and {high} of them",
                                     got=describe(x.shape, axis_names(2)) + origin(x),
                                     expected=f"padding of at most {n - 1}",
                                     fix="use ZeroPad2D, or reflect fewer pixels"))
        parts = [flip(slice_axis(x, axis, 1, low + 1), axis=axis), x,
                 flip(slice_axis(x, axis, n - 1 - high, n - 1), axis=axis)]
        return concat([p for p in parts if p.shape[axis]], axis=axis)


__all__ = ["AvgPool1D", "AvgPool2D", "AvgPool3D", "GlobalAvgPool1D", "GlobalAvgPool2D", "GlobalAvgPool3D",
           "GlobalMaxPool1D",
           "GlobalMaxPool2D", "MaxPool1D", "MaxPool2D", "MaxPool3D", "ReflectPad2D", "ZeroPad2D"]
