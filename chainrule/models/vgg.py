# SPDX-License-Identifier: Apache-2.0
"""Networks of 3x3 convolutions (Simonyan and Zisserman, "Very deep convolutional networks", 2015) for small images:
stages of convolutions with batch normalisation, a pooling step after each, global average pooling for the head."""

from __future__ import annotations

from collections.abc import Sequence

from .. import nn


def vgg(outputs: int = 10, image_shape: tuple[int, int, int] = (32, 32, 3), widths: Sequence[int] = (32, 64, 128),
        convolutions: int = 2, dropout: float = 0.0) -> nn.Sequential:
    """One stage per width, of so many convolutions each; logits of shape (N, outputs) come out.

    >>> cr.models.vgg(10, widths=(4, 8), convolutions=1)(cr.ones((1, 32, 32, 3))).shape
    (1, 10)
    """
    model = nn.Sequential()
    for stage, width in enumerate(widths):
        for i in range(convolutions):
            first = {"input_shape": tuple(image_shape)} if stage == i == 0 else {}
            for layer in (nn.Conv2D(width, 3, padding="same", bias=False, weight_initializer="he_normal", **first),
                          nn.BatchNorm(), nn.ReLU()):
                model.add(layer)
        model.add(nn.MaxPool2D(2))
        if dropout:
            model.add(nn.Dropout(dropout))
    model.add(nn.GlobalAvgPool2D())
    return model.add(nn.Dense(outputs))
