# SPDX-License-Identifier: Apache-2.0
"""U-Net (Ronneberger, Fischer and Brox, 2015) with padded convolutions and batch normalisation: an image -> logits for
each pixel."""

from __future__ import annotations

from typing import Any

from .. import nn
from ..errors import ShapeError, explain
from ..ops.compose import concat


class UNet(nn.Module):
    """Images (N, H, W, C) -> logits (N, H, W, outputs); H and W in multiples of 2**depth.

    Args:
        outputs: logits for each pixel.
        width: channels of the first stage; each of the `depth` stages below has twice as many.
        depth: how often the image is halved.

    At width 64 and depth 4 there are 31,037,633 parameters for images of 3 channels and one output. Parameters are
    called as in the U-Net for PyTorch that is used most (inc, down1, ..., up1, ..., outc), whose weights load with
    `load_weights`.

    >>> cr.models.UNet(2, width=4, depth=2)(cr.ones((1, 16, 16, 3))).shape
    (1, 16, 16, 2)
    """

    def __init__(self, outputs: int, width: int = 64, depth: int = 4):
        self.depth, self.inc = depth, DoubleConvolution(width)
        for i in range(1, depth + 1):
            setattr(self, f"down{i}", Down(width * 2**i))
        for i in range(1, depth + 1):
            setattr(self, f"up{i}", Up(width * 2**(depth - i)))
        self.outc = OneByOne(outputs)

    def forward(self, x: Any) -> Any:
        if x.ndim != 4 or x.shape[1] % 2**self.depth or x.shape[2] % 2**self.depth:
            raise ShapeError(explain("a U-Net halves its images and doubles them again", got=f"shape {x.shape}",
                                     expected="(batch, height, width, channels), height and width in multiples of "
                                              f"{2**self.depth}", fix="pad or resize the images"))
        seen = [self.inc(x)]
        for i in range(1, self.depth + 1):
            seen.append(getattr(self, f"down{i}")(seen[-1]))
        y = seen.pop()
        for i in range(1, self.depth + 1):
            y = getattr(self, f"up{i}")(y, seen.pop())
        return self.outc(y)


class DoubleConvolution(nn.Module):
    """Twice a 3x3 convolution, BatchNorm and ReLU."""

    def __init__(self, width: int):
        part = lambda: [nn.Conv2D(width, 3, padding=1, bias=False, weight_initializer="he_normal"), nn.BatchNorm(),
                        nn.ReLU()]
        self.double_conv = nn.Sequential([*part(), *part()])

    def forward(self, x: Any) -> Any:
        return self.double_conv(x)


class Down(nn.Module):
    """Half as large, then a DoubleConvolution."""

    def __init__(self, width: int):
        self.maxpool_conv = nn.Sequential([nn.MaxPool2D(2), DoubleConvolution(width)])

    def forward(self, x: Any) -> Any:
        return self.maxpool_conv(x)


class Up(nn.Module):
    """Twice as large, beside what was there at that size on the way down, then a DoubleConvolution."""

    def __init__(self, width: int):
        self.up, self.conv = nn.Conv2DTranspose(width, 2, stride=2), DoubleConvolution(width)

    def forward(self, x: Any, before: Any) -> Any:
        return self.conv(concat([before, self.up(x)], axis=3))


class OneByOne(nn.Module):
    """The logits of each pixel."""

    def __init__(self, outputs: int):
        self.conv = nn.Conv2D(outputs, 1)

    def forward(self, x: Any) -> Any:
        return self.conv(x)
