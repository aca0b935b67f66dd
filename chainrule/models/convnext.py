# SPDX-License-Identifier: Apache-2.0
"""ConvNeXt (Liu et al., "A ConvNet for the 2020s", 2022), layer for layer as torchvision has it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from .. import nn
from ..errors import ArgumentError, explain
from ..ops.movement import reshape
from .inverted import ImageNetwork

SIZES = {"tiny": ((3, 3, 9, 3), (96, 192, 384, 768), 0.1), "small": ((3, 3, 27, 3), (96, 192, 384, 768), 0.4),
         "base": ((3, 3, 27, 3), (128, 256, 512, 1024), 0.5)}
START = partial(nn.initializers.normal, std=0.02)
EPSILON = 1e-6


class ConvNeXtBlock(nn.Module):
    """y = x + drop(layer_scale * Dense(GELU(Dense(norm(a 7x7 depthwise convolution of x))))).

    Args:
        width: channels of x (N, H, W, width).
        drop: rate at which a sample's block is left out in training.
        scale: what layer_scale starts with.
    """

    def __init__(self, width: int, drop: float = 0.0, scale: float = 1e-6):
        self.block = nn.Sequential([nn.DepthwiseConv2D(7, padding=3, weight_initializer=START), nn.Identity(),
                                    nn.LayerNorm(epsilon=EPSILON),
                                    nn.Dense(4 * width, weight_initializer=START), nn.GELU(),
                                    nn.Dense(width, weight_initializer=START)])
        self.layer_scale = nn.initializers.make(nn.initializers.constant(scale), (width, 1, 1), "float32",
                                                "layer_scale")
        self.drop = nn.StochasticDepth(drop) if drop else None

    def forward(self, x: Any) -> Any:
        y = self.block(x) * reshape(self.layer_scale.value, (-1,))
        return x + (y if self.drop is None else self.drop(y))


def convnext(size: str = "tiny", outputs: int = 1000, image_shape: tuple[int, int, int] = (224, 224, 3),
             stochastic_depth: float | None = None, depths: Sequence[int] | None = None,
             widths: Sequence[int] | None = None) -> nn.Module:
    """ConvNeXt for images (H, W, C); logits of shape (N, outputs) come out. "tiny" has 28,589,128 parameters at 1,000
    outputs.

    Args:
        size: "tiny", "small" or "base".
        stochastic_depth: rate at which a sample's last block is left out in training, those before it in proportion to
            their place; None: the size's.
        depths, widths: blocks and channels of the four stages; None: the size's.

    Parameters are called as in torchvision; weights of torchvision and timm load with `load_weights`.

    >>> model = cr.models.convnext(outputs=2, image_shape=(32, 32, 3), depths=(1, 1, 1, 1), widths=(4, 8, 8, 8))
    >>> model(cr.ones((1, 32, 32, 3))).shape
    (1, 2)
    """
    if size not in SIZES:
        raise ArgumentError(explain("there is no such ConvNeXt", got=repr(size), expected=" | ".join(map(repr, SIZES))))
    counts, channels, rate = SIZES[size]
    counts, channels, rate = (depths or counts, widths or channels,
                              rate if stochastic_depth is None else stochastic_depth)
    done, features = 0, [nn.Sequential([_patches(channels[0], 4), nn.LayerNorm(epsilon=EPSILON)])]
    for stage, (count, width) in enumerate(zip(counts, channels, strict=True)):
        if stage:
            features.append(nn.Sequential([nn.LayerNorm(epsilon=EPSILON), _patches(width, 2)]))
        features.append(nn.Sequential([ConvNeXtBlock(width, rate * (done + i) / max(1, sum(counts) - 1))
                                       for i in range(count)]))
        done += count
    head = [nn.LayerNorm(epsilon=EPSILON), nn.Identity(), nn.Dense(outputs)]
    return ImageNetwork(features, head, "convnext", input_shape=tuple(image_shape))


def _patches(width: int, size: int) -> nn.Module:
    return nn.Conv2D(width, size, stride=size)
