# SPDX-License-Identifier: Apache-2.0
"""Images in another size: repeated or interpolated pixels (UpSampling), and channels exchanged for pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError, explain, shown
from ...foundations.names import closest
from ...ops.elementwise import as_float
from ...ops.index import take
from ...ops.movement import permute_dims, reshape
from ...typing import Extents
from ..core.checks import axis_names, describe, extents, need_rank, origin, positive
from ..core.module import Module

MODES = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "trilinear": "linear", "cubic": "cubic",
         "bicubic": "cubic"}


def known_mode(mode: str) -> str:
    """The mode under its own name."""
    if mode not in MODES:
        expected = ("nearest", "linear", "cubic")
        raise ArgumentError(explain("there is no such interpolation", got=shown(mode), expected=" | ".join(expected),
                                    fix=closest(mode, expected)))
    return MODES[mode]


def resize_axis(x: Any, axis: int, size: int, mode: str) -> Any:
    """`size` samples along an axis: the "nearest" pixel, the line ("linear") between the two neighbours, or the
    cubic curve of the four neighbours ("cubic"; Keys, 1981, with slope -3/4 as in PyTorch).

    Pixels are areas: sample i lies at (i + 1/2) n / size - 1/2; beyond the outermost centres their value holds.
    """
    n = x.shape[axis]
    if not n and size:
        raise ShapeError(explain("an image without pixels cannot be enlarged", got=f"extent 0 along axis {axis}",
                                 expected="one pixel at least"))
    if mode == "nearest":
        return take(x, ((2 * np.arange(size) + 1) * n) // (2 * size), axis=axis)
    x, place = as_float(x), (np.arange(size) + 0.5) * (n / max(size, 1)) - 0.5
    if mode == "cubic":
        return _cubic(x, axis, place)
    place = np.clip(place, 0, n - 1)
    low = np.minimum(place.astype("int64"), max(n - 2, 0))
    share = (place - low).reshape(size, *(1,) * (x.ndim - axis - 1)).astype(x.dtype)
    below, above = take(x, low, axis=axis), take(x, np.minimum(low + 1, n - 1), axis=axis)
    return below + (above - below) * share


def _cubic(x: Any, axis: int, place: np.ndarray) -> Any:
    """The sum of the four neighbours, each by the weight of its distance."""
    low, total = np.floor(place).astype("int64"), None
    for k in range(-1, 3):
        d = np.abs(place - low - k)
        weight = np.where(d <= 1, (1.25 * d - 2.25) * d * d + 1, ((-0.75 * d + 3.75) * d - 6) * d + 3)
        term = take(x, np.clip(low + k, 0, x.shape[axis] - 1),
                    axis=axis) * weight.reshape(-1, *(1,) * (x.ndim - axis - 1)).astype(x.dtype)
        total = term if total is None else total + term
    return total


class UpSampling(Module):
    """Images `factor` times as large.

    Args:
        factor: an integer, or one per spatial axis.
        mode: "nearest" repeats each pixel, "linear" ("bilinear", "trilinear") draws lines between their centres,
            "cubic" ("bicubic") curves.
    """

    rank = 2

    def __init__(self, factor: Extents = 2, mode: str = "nearest"):
        self.factor = extents("factor", factor, self.rank)
        self.mode = known_mode(mode)

    def forward(self, x: Any) -> Any:
        need_rank(x, self.rank)
        for axis, factor in enumerate(self.factor, 1):
            x = resize_axis(x, axis, x.shape[axis] * factor, self.mode)
        return x


class Resizing(Module):
    """Images of any size as images of one size: (N, H, W, C) -> (N, *size, C). Nothing is smoothed before shrinking.

    Args:
        size: an integer, or (height, width).
        mode: "nearest", "linear" or "cubic", as in UpSampling2D.

    >>> nn.Resizing((4, 6))(cr.ones((1, 8, 8, 3))).shape
    (1, 4, 6, 3)
    """

    def __init__(self, size: Extents, mode: str = "linear"):
        self.size, self.mode = extents("size", size, 2), known_mode(mode)

    def forward(self, x: Any) -> Any:
        need_rank(x, 2)
        for axis, size in enumerate(self.size, 1):
            x = resize_axis(x, axis, size, self.mode)
        return x


class UpSampling1D(UpSampling):
    __doc__ = f"""Over sequences (N, steps, channels). {UpSampling.__doc__}

    >>> nn.UpSampling1D(2)(cr.ones((1, 4, 3))).shape
    (1, 8, 3)
    """
    rank = 1


class UpSampling2D(UpSampling):
    __doc__ = f"""Over images (N, height, width, channels). {UpSampling.__doc__}

    >>> nn.UpSampling2D(2)(cr.ones((1, 4, 4, 3))).shape
    (1, 8, 8, 3)
    """
    rank = 2


class UpSampling3D(UpSampling):
    __doc__ = f"""Over volumes (N, depth, height, width, channels). {UpSampling.__doc__}

    >>> nn.UpSampling3D(2)(cr.ones((1, 4, 4, 4, 3))).shape
    (1, 8, 8, 8, 3)
    """
    rank = 3


class PixelShuffle(Module):
    """Channels become pixels: (N, H, W, C r^2) -> (N, H r, W r, C) (Shi et al., 2016).

    y[n, h r + i, w r + j, c] = x[n, h, w, (c r + i) r + j], the order of PyTorch.

    Args:
        factor: r.

    >>> nn.PixelShuffle(2)(cr.ones((1, 4, 4, 8))).shape
    (1, 8, 8, 2)
    """

    def __init__(self, factor: int):
        self.factor = positive("factor", factor)

    def forward(self, x: Any) -> Any:
        need_rank(x, 2)
        (n, h, w, channels), r = x.shape, self.factor
        if channels % (r * r):
            raise ShapeError(explain(f"{channels} channels are no multiple of {r * r}",
                                     got=describe(x.shape, axis_names(2)) + origin(x),
                                     expected=f"channels in a multiple of {r * r}"))
        parts = reshape(x, (n, h, w, channels // (r * r), r, r))
        return reshape(permute_dims(parts, (0, 1, 4, 2, 5, 3)), (n, h * r, w * r, channels // (r * r)))


class PixelUnshuffle(Module):
    """The way back from PixelShuffle: (N, H r, W r, C) -> (N, H, W, C r^2).

    Args:
        factor: r.

    >>> nn.PixelUnshuffle(2)(cr.ones((1, 8, 8, 2))).shape
    (1, 4, 4, 8)
    """

    def __init__(self, factor: int):
        self.factor = positive("factor", factor)

    def forward(self, x: Any) -> Any:
        need_rank(x, 2)
        (n, h, w, channels), r = x.shape, self.factor
        if h % r or w % r:
            raise ShapeError(explain(f"the image cannot be cut into squares of {r} pixels",
                                     got=describe(x.shape, axis_names(2)) + origin(x),
                                     expected=f"height and width in multiples of {r}", fix="pad or crop it first"))
        parts = reshape(x, (n, h // r, r, w // r, r, channels))
        return reshape(permute_dims(parts, (0, 1, 3, 5, 2, 4)), (n, h // r, w // r, channels * r * r))
