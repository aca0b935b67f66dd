# SPDX-License-Identifier: Apache-2.0
"""What small networks for images are made of: inverted residual blocks, with squeeze-and-excitation where they have it.

Parts are called as in torchvision, so that weights made there are found by their names: a convolution, its
normalisation and its activation are "0", "1" and "2" of a Sequential. Paddings are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import nn

BATCH_NORM = {"momentum": 0.9, "epsilon": 1e-5}


def multiple(width: float, divisor: int = 8) -> int:
    """The width rounded to a multiple of `divisor`, by which no more than a tenth of it is lost."""
    found = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * width else found


def convolution(filters: int | None, kernel: int, stride: int = 1, activation: str | None = "relu",
                **norm: Any) -> nn.Sequential:
    """A convolution without bias (depthwise if `filters` is None), its BatchNorm and its activation."""
    options: dict[str, Any] = {"stride": stride, "padding": "same_torch", "bias": False,
                               "weight_initializer": "he_normal"}
    layer = nn.DepthwiseConv2D(kernel, **options) if filters is None else nn.Conv2D(filters, kernel, **options)
    return nn.Sequential([layer, nn.BatchNorm(**{**BATCH_NORM, **norm}),
                          *([] if activation is None else [nn.Activation(activation)])])


class SqueezeExcitation(nn.Module):
    """y = x * gate(fc2(activation(fc1(mean of x over the image)))), for images (N, H, W, C) (Hu et al., 2018).

    Args:
        width: channels between fc1 and fc2, both convolutions of one pixel.
        activation: between the two.
        gate: "sigmoid" or "hard_sigmoid".
    """

    def __init__(self, width: int, activation: str = "relu", gate: str = "sigmoid"):
        self.activation, self.gate = nn.activations.get(activation), nn.activations.get(gate)
        self.fc1 = nn.Conv2D(width, 1, weight_initializer="he_normal")

    def build(self, x: Any) -> None:
        self.fc2 = nn.Conv2D(x.shape[-1], 1)

    def forward(self, x: Any) -> Any:
        mean = x.mean(axis=(1, 2), keepdims=True)
        return x * self.gate(self.fc2(self.activation(self.fc1(mean))))


class InvertedResidual(nn.Module):
    """y = x + drop(block(x)), or block(x) where the shapes differ (Sandler et al., 2018).

    Args:
        parts: the layers of the block.
        adds: whether x is added.
        drop: rate at which a sample's block is left out in training (Huang et al., 2016).
        name: what the block is called in the names of parameters.
    """

    def __init__(self, parts: Sequence[nn.Module], adds: bool, drop: float = 0.0, name: str = "block"):
        self.adds, self.name, self.drop = adds, name, nn.StochasticDepth(drop) if drop and adds else None
        setattr(self, name, nn.Sequential(list(parts)))

    def forward(self, x: Any) -> Any:
        y = getattr(self, self.name)(x)
        y = y if self.drop is None else self.drop(y)
        return x + y if self.adds else y


class ImageNetwork(nn.Module):
    """Images (N, H, W, C) -> logits (N, outputs): `features`, the mean over the image, `classifier`.

    Args:
        features, classifier: the layers of each; their numbers are in the names of parameters ("features.0.0.weight").
        family: under which `load_weights` finds the names that other libraries have.
    """

    def __init__(self, features: Sequence[nn.Module], classifier: Sequence[nn.Module], family: str):
        self.features, self.classifier, self.family = (nn.Sequential(list(features)), nn.Sequential(list(classifier)),
                                                       family)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).mean(axis=(1, 2)))
