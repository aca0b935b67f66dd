# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 (Sandler et al., 2018) and MobileNetV3 (Howard et al., 2019), layer for layer as torchvision has them."""

from __future__ import annotations

from .. import nn
from ..errors import ArgumentError, explain
from .inverted import ImageNetwork, InvertedResidual, SqueezeExcitation, convolution, multiple

# expansion, channels, blocks, stride
STAGES_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
BLOCKS_V3 = {  # kernel, expanded, channels, squeeze-and-excitation, activation, stride
    "small": ((3, 16, 16, True, "relu", 2), (3, 72, 24, False, "relu", 2), (3, 88, 24, False, "relu", 1),
              (5, 96, 40, True, "hard_silu", 2), (5, 240, 40, True, "hard_silu", 1),
              (5, 240, 40, True, "hard_silu", 1), (5, 120, 48, True, "hard_silu", 1),
              (5, 144, 48, True, "hard_silu", 1), (5, 288, 96, True, "hard_silu", 2),
              (5, 576, 96, True, "hard_silu", 1), (5, 576, 96, True, "hard_silu", 1)),
    "large": ((3, 16, 16, False, "relu", 1), (3, 64, 24, False, "relu", 2), (3, 72, 24, False, "relu", 1),
              (5, 72, 40, True, "relu", 2), (5, 120, 40, True, "relu", 1), (5, 120, 40, True, "relu", 1),
              (3, 240, 80, False, "hard_silu", 2), (3, 200, 80, False, "hard_silu", 1),
              (3, 184, 80, False, "hard_silu", 1), (3, 184, 80, False, "hard_silu", 1),
              (3, 480, 112, True, "hard_silu", 1), (3, 672, 112, True, "hard_silu", 1),
              (5, 672, 160, True, "hard_silu", 2), (5, 960, 160, True, "hard_silu", 1),
              (5, 960, 160, True, "hard_silu", 1)),
}
LAST_V3 = {"small": 1024, "large": 1280}
NORM_V3 = {"momentum": 0.99, "epsilon": 1e-3}


def mobilenet_v2(outputs: int = 1000, image_shape: tuple[int, int, int] = (224, 224, 3), width: float = 1.0,
                 dropout: float = 0.2) -> nn.Module:
    """MobileNetV2 for images (H, W, C); logits of shape (N, outputs) come out. 3,504,872 parameters at 1,000 outputs.

    Args:
        width: factor for the channels of all layers.
        dropout: rate before the last layer.

    Parameters are called as in torchvision; weights of torchvision and timm load with `load_weights`.

    >>> cr.models.mobilenet_v2(2, (32, 32, 3), width=0.1)(cr.ones((1, 32, 32, 3))).shape
    (1, 2)
    """
    channels = multiple(32 * width)
    features: list[nn.Module] = [convolution(channels, 3, 2, "relu6")]
    for expansion, filters, count, first in STAGES_V2:
        out = multiple(filters * width)
        for i in range(count):
            stride = first if i == 0 else 1
            wider = [] if expansion == 1 else [convolution(channels * expansion, 1, activation="relu6")]
            narrow = convolution(out, 1, activation=None).layers
            features.append(InvertedResidual([*wider, convolution(None, 3, stride, "relu6"), *narrow],
                                             stride == 1 and channels == out, name="conv"))
            channels = out
    features.append(convolution(multiple(1280 * max(1.0, width)), 1, activation="relu6"))
    return ImageNetwork(features, [nn.Dropout(dropout), nn.Dense(outputs)], "mobilenet_v2",
                        input_shape=tuple(image_shape))


def mobilenet_v3(size: str = "large", outputs: int = 1000, image_shape: tuple[int, int, int] = (224, 224, 3),
                 width: float = 1.0, dropout: float = 0.2) -> nn.Module:
    """MobileNetV3 for images (H, W, C); logits of shape (N, outputs) come out. 5,483,032 parameters ("large"),
    2,542,856 ("small") at 1,000 outputs.

    Args:
        size: "large" or "small".
        width: factor for the channels of all layers.
        dropout: rate before the last layer.

    Parameters are called as in torchvision; weights of torchvision load with `load_weights`.

    >>> cr.models.mobilenet_v3("small", 2, (32, 32, 3), width=0.1)(cr.ones((1, 32, 32, 3))).shape
    (1, 2)
    """
    if size not in BLOCKS_V3:
        raise ArgumentError(explain("there is no such MobileNetV3", got=repr(size), expected='"large" | "small"'))
    channels = multiple(16 * width)
    features: list[nn.Module] = [convolution(channels, 3, 2, "hard_silu", **NORM_V3)]
    for kernel, expanded, filters, squeezes, activation, stride in BLOCKS_V3[size]:
        wide, out = multiple(expanded * width), multiple(filters * width)
        parts: list[nn.Module] = [] if wide == channels else [convolution(wide, 1, activation=activation, **NORM_V3)]
        parts.append(convolution(None, kernel, stride, activation, **NORM_V3))
        parts += [SqueezeExcitation(multiple(wide // 4), gate="hard_sigmoid")] if squeezes else []
        features.append(InvertedResidual([*parts, convolution(out, 1, activation=None, **NORM_V3)],
                                         stride == 1 and channels == out))
        channels = out
    features.append(convolution(6 * channels, 1, activation="hard_silu", **NORM_V3))
    head = [nn.Dense(multiple(LAST_V3[size] * width)), nn.Activation("hard_silu"), nn.Dropout(dropout),
            nn.Dense(outputs)]
    return ImageNetwork(features, head, "mobilenet_v3", input_shape=tuple(image_shape))
