# SPDX-License-Identifier: Apache-2.0
"""Residual networks (He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016).

`resnet(50)` is the network for large images, with the stride on the 3x3 convolution of a block as everybody has it
since; `resnet_cifar(20)` the thin one for images of 32x32, whose shortcuts have no parameters (the paper's option A).
Paddings are the fixed ones of PyTorch's networks, so that their weights can be loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn
from ..errors import ArgumentError, explain
from ..ops.movement import pad, slice_axis

DEPTHS: dict[int, tuple[tuple[int, int, int, int], bool]] = {  # depth: (blocks of each stage, are they bottlenecks)
    18: ((2, 2, 2, 2), False), 34: ((3, 4, 6, 3), False), 50: ((3, 4, 6, 3), True), 101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}


def _convolution(filters: int, kernel: int, stride: int = 1, **options: Any) -> nn.Conv2D:
    return nn.Conv2D(filters, kernel, stride=stride, padding="same_torch", bias=False, weight_initializer="he_normal",
                     **options)


def _basic(width: int, stride: int) -> list[nn.Module]:
    return [_convolution(width, 3, stride), nn.BatchNorm(), nn.ReLU(), _convolution(width, 3), nn.BatchNorm()]


def _bottleneck(width: int, stride: int) -> list[nn.Module]:
    return [_convolution(width, 1), nn.BatchNorm(), nn.ReLU(),
            _convolution(width, 3, stride), nn.BatchNorm(), nn.ReLU(),
            _convolution(4 * width, 1), nn.BatchNorm()]


class ResNet(nn.Sequential):
    """A Sequential that says by `family` which of the published networks it is, so that weights of theirs are found by
    their names.

    >>> cr.models.resnet(18).family
    'resnet18'
    """

    def __init__(self, layers: Sequence[Any] = (), family: str | None = None):
        super().__init__(layers)
        self.family = family

    def config(self) -> dict[str, Any]:
        return {"layers": list(self.layers), "family": self.family}


def resnet(depth: int = 18, outputs: int = 1000, image_shape: tuple[int, int, int] = (224, 224, 3)) -> ResNet:
    """ResNet-18, 34, 50, 101 or 152 for images (H, W, C), a Sequential; logits of shape (N, outputs) come out.

    Weights of torchvision and timm load with `load_weights`.

    >>> model = cr.models.resnet(18, outputs=10, image_shape=(32, 32, 3))
    >>> len(model)
    14
    """
    if depth not in DEPTHS:
        raise ArgumentError(explain("there is no such residual network", got=f"depth {depth}",
                                    expected=", ".join(map(str, DEPTHS)), fix="resnet_cifar takes other depths"))
    counts, narrow = DEPTHS[depth]
    model = ResNet([_convolution(64, 7, 2, input_shape=tuple(image_shape)), nn.BatchNorm(), nn.ReLU(),
                    nn.MaxPool2D(3, stride=2, padding=1)], f"resnet{depth}")
    channels = 64
    for stage, count in enumerate(counts):
        for i in range(count):
            width, stride = 64 * 2**stage, 2 if i == 0 and stage else 1
            out = 4 * width if narrow else width
            shortcut = None if (stride, channels) == (1, out) else [_convolution(out, 1, stride), nn.BatchNorm()]
            model.add(nn.Residual((_bottleneck if narrow else _basic)(width, stride), shortcut, activation="relu"))
            channels = out
    for layer in (nn.GlobalAvgPool2D(), nn.Dense(outputs)):
        model.add(layer)
    return model


class Subsample(nn.Module):
    """Every second pixel in both directions, and so many channels of zeros on each side of the channels."""

    def __init__(self, channels: int):
        self.channels = channels

    def forward(self, x: Any) -> Any:
        for axis in (1, 2):
            x = slice_axis(x, axis, 0, x.shape[axis], 2)
        return pad(x, [(0, 0)] * 3 + [(self.channels, self.channels)])


def resnet_cifar(depth: int = 20, outputs: int = 10, image_shape: tuple[int, int, int] = (32, 32, 3),
                 width: int = 16) -> nn.Sequential:
    """ResNet-20, 32, 44, 56, 110 (6 n + 2) of section 4.2 of the paper; logits of shape (N, outputs) come out.

    >>> cr.models.resnet_cifar(20, width=4)(cr.ones((1, 32, 32, 3))).shape
    (1, 10)
    """
    if depth < 8 or (depth - 2) % 6:
        raise ArgumentError(explain("these networks have 6 n + 2 layers", got=f"depth {depth}",
                                    expected="8, 14, 20, 32, 44, 56, 110, ..."))
    model = nn.Sequential([_convolution(width, 3, input_shape=tuple(image_shape)), nn.BatchNorm(), nn.ReLU()])
    for stage in range(3):
        for i in range((depth - 2) // 6):
            shrinks = i == 0 and stage > 0
            out = width * 2**stage
            model.add(nn.Residual(_basic(out, 2 if shrinks else 1), Subsample(out // 4) if shrinks else None,
                                  activation="relu"))
    model.add(nn.GlobalAvgPool2D())
    return model.add(nn.Dense(outputs))
