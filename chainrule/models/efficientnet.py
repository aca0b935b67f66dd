# SPDX-License-Identifier: Apache-2.0
"""EfficientNet (Tan and Le, 2019), layer for layer as torchvision has it."""

from __future__ import annotations

import math

from .. import nn
from ..errors import ArgumentError, explain
from .inverted import ImageNetwork, InvertedResidual, SqueezeExcitation, convolution, multiple

# expansion, kernel, stride, channels, blocks
STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
          (6, 3, 1, 320, 1))
# of width and depth, dropout
SCALES = {0: (1.0, 1.0, 0.2), 1: (1.0, 1.1, 0.2), 2: (1.1, 1.2, 0.3), 3: (1.2, 1.4, 0.3), 4: (1.4, 1.8, 0.4)}


def efficientnet(scale: int = 0, outputs: int = 1000, image_shape: tuple[int, int, int] = (224, 224, 3),
                 dropout: float | None = None, stochastic_depth: float = 0.2, width: float | None = None) -> nn.Module:
    """EfficientNet-B0 to B4 for images (H, W, C); logits of shape (N, outputs) come out. B0 has 5,288,548 parameters at
    1,000 outputs.

    Args:
        scale: 0 for B0.
        dropout: rate before the last layer; None: the paper's.
        stochastic_depth: rate at which a sample's last block is left out in training; those before it in proportion to
            their place.
        width: factor for the channels of all layers; None: the paper's.

    Parameters are called as in torchvision; weights of torchvision and timm load with `load_weights`.

    >>> cr.models.efficientnet(0, 2, (32, 32, 3), width=0.1)(cr.ones((1, 32, 32, 3))).shape
    (1, 2)
    """
    if scale not in SCALES:
        raise ArgumentError(explain("there is no such EfficientNet", got=repr(scale),
                                    expected=" | ".join(map(str, SCALES))))
    wider, deeper, rate = SCALES[scale]
    wider = wider if width is None else width
    counts = [math.ceil(count * deeper) for *_, count in STAGES]
    channels, done = multiple(32 * wider), 0
    features: list[nn.Module] = [convolution(channels, 3, 2, "silu")]
    for (expansion, kernel, first, filters, _), count in zip(STAGES, counts, strict=True):
        stage, out = nn.Sequential(), multiple(filters * wider)
        for i in range(count):
            stage.add(_block(channels, out, expansion, kernel, first if i == 0 else 1,
                             stochastic_depth * done / sum(counts)))
            channels, done = out, done + 1
        features.append(stage)
    features.append(convolution(4 * channels, 1, activation="silu"))
    return ImageNetwork(features, [nn.Dropout(rate if dropout is None else dropout), nn.Dense(outputs)], "efficientnet",
                        input_shape=tuple(image_shape))


def _block(channels: int, out: int, expansion: int, kernel: int, stride: int, drop: float) -> nn.Module:
    parts: list[nn.Module] = ([] if expansion == 1
                              else [convolution(multiple(channels * expansion), 1, activation="silu")])
    parts += [convolution(None, kernel, stride, "silu"), SqueezeExcitation(max(1, channels // 4), "silu"),
              convolution(out, 1, activation=None)]
    return InvertedResidual(parts, stride == 1 and channels == out, drop)
