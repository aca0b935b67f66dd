# SPDX-License-Identifier: Apache-2.0
"""Images cut into windows and put together again, channels dealt out anew, pixels on another scale."""

from __future__ import annotations

import math
from typing import Any

from ...errors import ShapeError, explain
from ...ir.bind import bind
from ...ops.movement import UNWINDOW, pad, permute_dims, reshape, slice_axis, window
from ...typing import Extents, PaddingLike
from ..core.checks import axis_names, describe, extents, need_rank, origin, positive
from ..core.module import Module
from .convolution import check_window, pads, parse_padding


class Unfold(Module):
    """The windows of an image, row by row: (N, H, W, C) -> (N, windows, kernel pixels * C), as im2col.

    With stride = kernel_size these are the patches of a vision transformer. Within a window the channel runs fastest.

    Args:
        kernel_size, stride, padding, dilation: as in Conv2D; the stride is the kernel size by default.

    >>> nn.Unfold(2)(cr.ones((1, 4, 4, 3))).shape
    (1, 4, 12)
    """

    def __init__(self, kernel_size: Extents, stride: Extents | None = None, padding: PaddingLike = "valid",
                 dilation: Extents = 1):
        self.kernel = extents("kernel_size", kernel_size, 2)
        self.stride = self.kernel if stride is None else extents("stride", stride, 2)
        self.padding, self.dilation = parse_padding(padding, 2), extents("dilation", dilation, 2)

    def forward(self, x: Any) -> Any:
        need_rank(x, 2)
        padding = pads(self.padding, x.shape[1:-1], self.kernel, self.stride, self.dilation)
        check_window(x, self.kernel, padding, self.dilation, "kernel")
        views = window(pad(x, [(0, 0), *padding, (0, 0)]), (1, 2), self.kernel, self.stride, self.dilation)
        views = permute_dims(views, (0, 1, 2, 4, 5, 3))
        return reshape(views, (x.shape[0], views.shape[1] * views.shape[2], math.prod(views.shape[3:])))


class Fold(Module):
    """The way back from Unfold without padding: windows are put at their places and added where they overlap.

    Args:
        output_size: (H, W) of the image.
        kernel_size, stride, dilation: of the Unfold.

    >>> windows = nn.Unfold(2)(cr.ones((1, 4, 4, 3)))
    >>> nn.Fold((4, 4), 2)(windows).shape
    (1, 4, 4, 3)
    """

    def __init__(self, output_size: Extents, kernel_size: Extents, stride: Extents | None = None,
                 dilation: Extents = 1):
        self.size, self.kernel = extents("output_size", output_size, 2), extents("kernel_size", kernel_size, 2)
        self.stride = self.kernel if stride is None else extents("stride", stride, 2)
        self.dilation = extents("dilation", dilation, 2)

    def forward(self, x: Any) -> Any:
        rows, columns = ((n - (k - 1) * d - 1) // s + 1 for n, k, s, d
                         in zip(self.size, self.kernel, self.stride, self.dilation, strict=True))
        pixels = math.prod(self.kernel)
        if x.ndim != 3 or x.shape[1] != rows * columns or x.shape[2] % pixels:
            raise ShapeError(explain("these windows do not make the image", got=describe(x.shape) + origin(x),
                                     expected=f"(batch, {rows * columns}, a multiple of {pixels})"))
        views = reshape(x, (x.shape[0], rows, columns, *self.kernel, x.shape[2] // pixels))
        return bind(UNWINDOW, permute_dims(views, (0, 1, 2, 5, 3, 4)), extents=self.size, axes=(1, 2),
                    kernel=self.kernel, stride=self.stride, dilation=self.dilation)


class ChannelShuffle(Module):
    """Channels dealt out over `groups`: channel i of group g becomes channel g of place i (Zhang et al., 2018).

    >>> nn.ChannelShuffle(2)(cr.reshape(cr.arange(4), (1, 1, 1, 4))).numpy().ravel()
    array([0, 2, 1, 3])
    """

    def __init__(self, groups: int):
        self.groups = positive("groups", groups)

    def forward(self, x: Any) -> Any:
        if x.ndim < 2 or x.shape[-1] % self.groups:
            names = axis_names(x.ndim - 2) if 3 <= x.ndim <= 5 else None
            raise ShapeError(explain(f"{self.groups} groups do not divide the channels",
                                     got=describe(x.shape, names) + origin(x),
                                     expected=f"channels in a multiple of {self.groups}"))
        parts = reshape(x, (*x.shape[:-1], self.groups, x.shape[-1] // self.groups))
        return reshape(permute_dims(parts, (*range(x.ndim - 1), x.ndim, x.ndim - 1)), x.shape)


class Rescaling(Module):
    """y = x scale + offset, with fixed numbers: pixels 0 .. 255 to 0 .. 1 by Rescaling(1 / 255).

    >>> nn.Rescaling(1 / 255)(cr.asarray([[0.0, 255.0]])).numpy()
    array([[0., 1.]], dtype=float32)
    """

    def __init__(self, scale: float, offset: float = 0.0):
        self.scale, self.offset = float(scale), float(offset)

    def forward(self, x: Any) -> Any:
        return x * self.scale + self.offset


class CenterCrop(Module):
    """The middle of each image: (N, H, W, C) -> (N, *size, C).

    Args:
        size: an integer, or (height, width).

    >>> nn.CenterCrop(2)(cr.ones((1, 4, 4, 3))).shape
    (1, 2, 2, 3)
    """

    def __init__(self, size: Extents):
        self.size = extents("size", size, 2)

    def forward(self, x: Any) -> Any:
        need_rank(x, 2)
        for axis, n in enumerate(self.size, 1):
            if n > x.shape[axis]:
                raise ShapeError(explain("the image is smaller than its middle", got=describe(x.shape, axis_names(2)),
                                         expected=f"at least {self.size}", fix="pad it first: nn.ZeroPad2D"))
            first = (x.shape[axis] - n) // 2
            x = slice_axis(x, axis, first, first + n)
        return x
