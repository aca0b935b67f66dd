# SPDX-License-Identifier: Apache-2.0
"""Pooling over windows, over whole images, and over as many windows as asked for, channels-last; and the way back."""

from __future__ import annotations

import math
from typing import Any

from ...errors import ArgumentError, ShapeError, explain
from ...ops import reduce as reductions
from ...ops.elementwise import astype, maximum, where, zeros_like
from ...ops.movement import reshape
from ...ops.pool import adaptive_pool, avg_pool, max_pool, max_pool_indices, max_unpool, power_pool
from ...typing import Extents, PaddingLike
from ..core.checks import axis_names, describe, extents, need_rank, origin
from ..core.module import Module
from .convolution import check_window, pads, parse_padding


class Pooling(Module):
    """Windows of the image, each reduced to one number per channel.

    Args:
        pool_size: an integer, or one per spatial axis.
        stride: by default the pool size.
        padding: as in Conv2D; what is padded never counts: it is neither a maximum nor part of a mean.
        ceil: a last window that begins inside the image may end outside.
    """

    rank = 2

    def __init__(self, pool_size: Any = 2, stride: Any = None, padding: Any = "valid", ceil: bool = False):
        self.kernel = extents("pool_size", pool_size, self.rank)
        self.stride = self.kernel if stride is None else extents("stride", stride, self.rank)
        self.dilation = (1,) * self.rank
        self.padding, self.ceil = parse_padding(padding, self.rank), ceil

    def forward(self, x: Any) -> Any:
        need_rank(x, self.rank)
        given = pads(self.padding, x.shape[1:-1], self.kernel, self.stride, self.dilation)
        self._check(given)
        padding = self._completed(x.shape[1:-1], given) if self.ceil else given
        check_window(x, self.kernel, padding, self.dilation, "pool")
        return self.reduce(x, padding, given)

    def _check(self, padding: Any) -> None:
        reach = tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))
        if any(max(pair) >= r for pair, r in zip(padding, reach, strict=True)):
            raise ArgumentError(explain("a window would lie in the padding alone, which has nothing to reduce",
                                        got=f"padding {padding}, windows {reach}",
                                        expected="padding smaller than the window along each axis",
                                        fix='padding="same"'))

    def reduce(self, x: Any, padding: Any, given: Any) -> Any:
        """The windows of x with `padding`, of which `given` was asked for."""
        raise NotImplementedError

    def _completed(self, spatial: Any, padding: Any) -> Any:
        """More padding behind, so that a window that begins inside the image (or before it) is whole."""
        whole = []
        for n, k, s, d, (low, high) in zip(spatial, self.kernel, self.stride, self.dilation, padding, strict=True):
            reach, extent = (k - 1) * d + 1, n + low + high
            windows = -(-(extent - reach) // s) + 1
            if (windows - 1) * s >= n + low:
                windows -= 1
            whole.append((low, high + max((windows - 1) * s + reach - extent, 0)))
        return tuple(whole)


class MaxPooling(Pooling):
    __doc__ = f"""The maximum of each window (its gradient goes to the first one).
    {(Pooling.__doc__ or "").rstrip()}
        dilation: distance between neighbours of a window.
        return_indices: give (maxima, positions) for MaxUnpool; a position counts the pixels of the image row by row.
    """

    def __init__(self, pool_size: Extents = 2, stride: Extents | None = None, padding: PaddingLike = "valid",
                 ceil: bool = False, dilation: Extents = 1, return_indices: bool = False):
        super().__init__(pool_size, stride, padding, ceil)
        self.dilation, self.return_indices = extents("dilation", dilation, self.rank), return_indices

    def reduce(self, x: Any, padding: Any, given: Any) -> Any:
        shape = (self.kernel, self.stride, padding, self.dilation)
        y = max_pool(x, *shape)
        return (y, max_pool_indices(x, *shape)) if self.return_indices else y


class AvgPooling(Pooling):
    __doc__ = f"""The mean of each window.
    {(Pooling.__doc__ or "").rstrip()}
        count_padding: count the zeros of `padding` as elements of the window, as PyTorch does unless told not to.
    """

    def __init__(self, pool_size: Extents = 2, stride: Extents | None = None, padding: PaddingLike = "valid",
                 ceil: bool = False, count_padding: bool = False):
        super().__init__(pool_size, stride, padding, ceil)
        self.count_padding = count_padding

    def _check(self, padding: Any) -> None:
        if not self.count_padding:
            super()._check(padding)

    def reduce(self, x: Any, padding: Any, given: Any) -> Any:
        return avg_pool(x, self.kernel, self.stride, padding, given if self.count_padding else None)


class PowerPooling(Pooling):
    __doc__ = f"""(sum of |x|^power)^(1 / power) of each window: 1 gives sums, an infinite power maxima.
    {(Pooling.__doc__ or "").rstrip()}
        power: at least 1; comes first.
    """

    def __init__(self, power: float = 2.0, pool_size: Extents = 2, stride: Extents | None = None,
                 padding: PaddingLike = "valid", ceil: bool = False):
        super().__init__(pool_size, stride, padding, ceil)
        if isinstance(power, bool) or not isinstance(power, int | float) or not power >= 1:
            raise ArgumentError(explain("the power of a norm is a number that is at least 1", got=f"power={power!r}",
                                        expected="1 <= power <= inf"))
        self.power = power

    def reduce(self, x: Any, padding: Any, given: Any) -> Any:
        return power_pool(x, self.kernel, self.stride, padding, self.power)


def _example(name: str, rank: int) -> str:
    """A call on one image of 4 positions along each axis, for the docstring."""
    x, smaller = f"cr.ones({(1, *(4,) * rank, 3)})", (1, *(2,) * rank, 3)
    if name.startswith("MaxUnpool"):
        return (f"    >>> maxima, places = nn.MaxPool{rank}D(return_indices=True)({x})\n"
                f"    >>> nn.{name}()(maxima, places).shape\n    {(1, *(4,) * rank, 3)}\n")
    if name.startswith("Global"):
        return f"    >>> nn.{name}()({x}).shape\n    (1, 3)\n"
    size = "2" if name.startswith("Adaptive") else "pool_size=2"
    return f"    >>> nn.{name}({size})({x}).shape\n    {smaller}\n"


def _ranked(name: str, base: type[Module], rank: int) -> type[Module]:
    """The class of one rank."""
    doc = (f"Over {rank} spatial {'axis' if rank == 1 else 'axes'}. "
           f"{(base.__doc__ or '').rstrip()}\n\n{_example(name, rank)}")
    return type(name, (base,), {"rank": rank, "__doc__": doc, "__module__": __name__})


MaxPool1D, MaxPool2D, MaxPool3D = (_ranked(f"MaxPool{n}D", MaxPooling, n) for n in (1, 2, 3))
AvgPool1D, AvgPool2D, AvgPool3D = (_ranked(f"AvgPool{n}D", AvgPooling, n) for n in (1, 2, 3))
LpPool1D, LpPool2D, LpPool3D = (_ranked(f"LpPool{n}D", PowerPooling, n) for n in (1, 2, 3))


class MaxUnpooling(Module):
    """The way back from MaxPool: called with (maxima, positions), puts each maximum at its position, 0 elsewhere.

    Args:
        pool_size, stride, padding: of the MaxPool.
        output_size: spatial extents; by default the least image with these windows.
    """

    rank = 2

    def __init__(self, pool_size: Extents = 2, stride: Extents | None = None, padding: PaddingLike = "valid",
                 output_size: Extents | None = None):
        self.kernel = extents("pool_size", pool_size, self.rank)
        self.stride = self.kernel if stride is None else extents("stride", stride, self.rank)
        self.padding = parse_padding(padding, self.rank)
        self.output_size = None if output_size is None else extents("output_size", output_size, self.rank)
        if self.padding in ("same", "same_torch", "causal") and output_size is None:
            raise ArgumentError(explain("this padding does not tell the size of the image",
                                        got=f"padding={self.padding!r}", fix="give output_size"))

    def forward(self, x: Any, positions: Any) -> Any:
        need_rank(x, self.rank)
        if positions.shape != x.shape:
            raise ShapeError(explain("there is one position for each maximum", got=str(positions.shape),
                                     expected=str(x.shape), fix="pass both results of MaxPool(return_indices=True)"))
        cut = ((0, 0),) * self.rank if isinstance(self.padding, str) else self.padding
        size = self.output_size or tuple((n - 1) * s + k - low - high for n, s, k, (low, high)
                                         in zip(x.shape[1:-1], self.stride, self.kernel, cut, strict=True))
        return max_unpool(x, positions, size)


MaxUnpool1D, MaxUnpool2D, MaxUnpool3D = (_ranked(f"MaxUnpool{n}D", MaxUnpooling, n) for n in (1, 2, 3))


class AdaptivePooling(Module):
    """As many windows as asked for, whatever the image: (N, *S, C) -> (N, *output_size, C).

    Window i of an axis runs from floor(i n / size) to ceil((i + 1) n / size).

    Args:
        output_size: an integer, or one per spatial axis.
    """

    rank, kind = 2, "mean"

    def __init__(self, output_size: Extents):
        self.size = extents("output_size", output_size, self.rank)

    def forward(self, x: Any) -> Any:
        need_rank(x, self.rank)
        return adaptive_pool(x, self.size, self.kind)


def _adaptive(name: str, rank: int, kind: str) -> type[Module]:
    made = _ranked(name, AdaptivePooling, rank)
    made.kind = kind
    return made


AdaptiveAvgPool1D, AdaptiveAvgPool2D, AdaptiveAvgPool3D = (_adaptive(f"AdaptiveAvgPool{n}D", n, "mean")
                                                           for n in (1, 2, 3))
AdaptiveMaxPool1D, AdaptiveMaxPool2D, AdaptiveMaxPool3D = (_adaptive(f"AdaptiveMaxPool{n}D", n, "max")
                                                           for n in (1, 2, 3))


class GlobalPooling(Module):
    """The whole image as one window: (N, *S, C) -> (N, C). Sequences may come with a mask (N, steps), True: counts;
    a sequence of which nothing counts gives 0."""

    rank, reduce = 2, staticmethod(reductions.mean)

    def forward(self, x: Any, mask: Any = None) -> Any:
        need_rank(x, self.rank)
        if 0 in x.shape[1:-1]:
            raise ShapeError(explain("an image without pixels has no mean and no maximum",
                                     got=describe(x.shape, axis_names(self.rank)) + origin(x),
                                     expected="one pixel at least", fix="leave such samples out"))
        if mask is None or self.rank > 1:
            return type(self).reduce(x, axis=tuple(range(1, x.ndim - 1)))
        there = reshape(mask, (*x.shape[:2], 1))
        if type(self).reduce is reductions.max:
            high = reductions.max(where(there, x, -math.inf), axis=1)
            return where(reductions.any(there, axis=1), high, zeros_like(high))
        count = reductions.sum(astype(there, x.dtype), axis=1)
        return reductions.sum(where(there, x, 0.0), axis=1) / maximum(count, 1.0)


def _global(name: str, rank: int, reduce: Any, word: str) -> type[Module]:
    doc = f"The {word} of each channel over the whole {'sequence' if rank == 1 else 'image'}.\n\n{_example(name, rank)}"
    return type(name, (GlobalPooling,),
                {"rank": rank, "reduce": staticmethod(reduce), "__doc__": doc, "__module__": __name__})


GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D = (_global(f"GlobalAvgPool{n}D", n, reductions.mean, "mean")
                                                     for n in (1, 2, 3))
GlobalMaxPool1D, GlobalMaxPool2D, GlobalMaxPool3D = (_global(f"GlobalMaxPool{n}D", n, reductions.max, "maximum")
                                                     for n in (1, 2, 3))


__all__ = [
    "AdaptiveAvgPool1D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "AdaptiveMaxPool1D", "AdaptiveMaxPool2D",
    "AdaptiveMaxPool3D", "AvgPool1D", "AvgPool2D", "AvgPool3D", "GlobalAvgPool1D", "GlobalAvgPool2D",
    "GlobalAvgPool3D", "GlobalMaxPool1D", "GlobalMaxPool2D", "GlobalMaxPool3D", "LpPool1D", "LpPool2D", "LpPool3D",
    "MaxPool1D", "MaxPool2D", "MaxPool3D", "MaxUnpool1D", "MaxUnpool2D", "MaxUnpool3D",
]
