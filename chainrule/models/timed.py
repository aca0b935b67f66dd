# SPDX-License-Identifier: Apache-2.0
"""Networks that know the time, for diffusion and flow matching: called as network(x, t) or network(x, t, label)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import arrays as cr
from .. import nn
from ..ir import Tensor

# periods of the fastest sine for t from 0 to 1; faster ones tell apart what the loss does not, and cost accuracy
FASTEST = 30


class TimeEmbedding(nn.Module):
    """Sines and cosines of t (N,) in [0, 1] at 1 to 30 periods, then two dense layers; the embedding of a label is
    added.

    Args:
        width: of the embedding; even.
        classes: number of labels 0, …, classes - 1; the label `classes` stands for none.

    >>> cr.models.TimeEmbedding(8)(cr.asarray([0.0, 0.5])).shape
    (2, 8)
    """

    def __init__(self, width: int = 128, classes: int | None = None):
        self.width, self.classes = int(width), classes
        self.frequencies = np.exp(np.linspace(0, math.log(FASTEST), self.width // 2)).astype(np.float32)
        self.hidden, self.out = nn.Dense(self.width, activation="silu"), nn.Dense(self.width)
        self.labels = None if classes is None else nn.Embedding(classes + 1, self.width)

    def forward(self, t: Any, label: Any = None) -> Tensor:
        angles = 2 * math.pi * cr.reshape(t, (-1, 1)) * self.frequencies
        embedded = self.out(self.hidden(cr.concat([cr.sin(angles), cr.cos(angles)], axis=1)))
        return embedded if label is None else embedded + self.labels(label)


class TimeMLP(nn.Module):
    """For rows (N, features): dense layers, each of which gets an embedding of the time (and of the label) too.

    >>> import numpy as np, chainrule as cr
    >>> cr.models.TimeMLP(2)(np.zeros((5, 2), "float32"), np.zeros(5, "float32")).shape
    (5, 2)
    """

    def __init__(self, features: int, width: int = 128, depth: int = 3, classes: int | None = None):
        self.time = TimeEmbedding(width, classes)
        self.layers = [nn.Dense(width) for _ in range(depth)]
        self.out = nn.Dense(features)

    def forward(self, x: Any, t: Any, label: Any = None) -> Tensor:
        embedded = self.time(t, label)
        for i, layer in enumerate(self.layers):
            x = layer(x) if i == 0 else x + layer(x)
            x = cr.silu(x + embedded)
        return self.out(x)


class _Block(nn.Module):
    """Two convolutions with a residual connection; the embedding shifts the channels between them."""

    def __init__(self, channels: int):
        self.first, self.second = (nn.Conv2D(channels, 3, padding="same"),
                                   nn.Conv2D(channels, 3, padding="same", weight_initializer="zeros"))
        self.norms = [nn.GroupNorm(1), nn.GroupNorm(1)]
        self.shift, self.channels, self.across = nn.Dense(channels), channels, nn.Conv2D(channels, 1)

    def forward(self, x: Any, embedded: Any) -> Tensor:
        y = self.first(cr.silu(self.norms[0](x)))
        y = y + cr.reshape(self.shift(cr.silu(embedded)), (x.shape[0], 1, 1, self.channels))
        y = self.second(cr.silu(self.norms[1](y)))
        return y + (x if x.shape[-1] == self.channels else self.across(x))


class TimeUNet(nn.Module):
    """For images (N, H, W, C): a U-Net (Ronneberger et al., 2015) of residual blocks that get the time (Ho et al.,
    2020).

    Args:
        channels: of the image.
        widths: channels at full size, half, quarter …; H and W are multiples of 2^(len(widths) - 1).
        classes: number of labels.

    >>> import numpy as np, chainrule as cr
    >>> cr.models.TimeUNet(1, widths=(8, 16))(np.zeros((2, 8, 8, 1), "float32"), np.zeros(2, "float32")).shape
    (2, 8, 8, 1)
    """

    def __init__(self, channels: int = 1, widths: Sequence[int] = (32, 64, 128), classes: int | None = None):
        self.time = TimeEmbedding(4 * widths[0], classes)
        self.enter = nn.Conv2D(widths[0], 3, padding="same")
        self.down = [_Block(width) for width in widths]
        self.smaller = [nn.Conv2D(width, 3, stride=2, padding="same") for width in widths[1:]]
        self.middle = _Block(widths[-1])
        self.up = [_Block(width) for width in reversed(widths)]
        self.larger = nn.UpSampling2D(2)
        self.norm, self.out = nn.GroupNorm(1), nn.Conv2D(channels, 3, padding="same", weight_initializer="zeros")

    def forward(self, x: Any, t: Any, label: Any = None) -> Tensor:
        embedded = self.time(t, label)
        x, skips = self.enter(x), []
        for i, block in enumerate(self.down):
            x = block(x, embedded)
            skips.append(x)
            x = self.smaller[i](x) if i < len(self.smaller) else x
        x = self.middle(x, embedded)
        for i, block in enumerate(self.up):
            x = self.larger(x) if i else x
            x = block(cr.concat([x, skips.pop()], axis=-1), embedded)
        return self.out(cr.silu(self.norm(x)))
