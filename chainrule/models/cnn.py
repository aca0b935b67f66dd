# SPDX-License-Identifier: Apache-2.0
"""A small convolutional network that fits its depth to the image: blocks of two 3×3 convolutions and a pooling step,
until less than 8 pixels are left, then one hidden layer."""

from __future__ import annotations

from .. import nn


def cnn(outputs: int, image_shape: tuple[int, int, int], width: int = 16, hidden: int = 128,
        dropout: float = 0.25) -> nn.Sequential:
    """A network for images (H, W, C); logits (or numbers) of shape (N, outputs) come out.

    Args:
        width: channels of the first convolution; each block doubles them, up to 128.
        hidden: units of the fully connected layer.
        dropout: rate after each block; twice that (at most 0.5) before the last layer; 0 for none.

    >>> cr.models.cnn(10, image_shape=(28, 28, 1))(cr.ones((2, 28, 28, 1))).shape
    (2, 10)
    """
    model = nn.Sequential()
    extent, channels, first = min(image_shape[:2]), width, True
    while extent >= 8 or first:
        model.add(nn.Conv2D(channels, 3, padding="same", activation="relu",
                            **({"input_shape": tuple(image_shape)} if first else {})))
        model.add(nn.Conv2D(min(2 * channels, 128), 3, padding="same", activation="relu"))
        if extent >= 2:
            model.add(nn.MaxPool2D(2))
        if dropout:
            model.add(nn.Dropout(dropout))
        extent, channels, first = extent // 2, min(2 * channels, 128), False
    model.add(nn.Flatten())
    model.add(nn.Dense(hidden, activation="relu"))
    if dropout:
        model.add(nn.Dropout(min(2 * dropout, 0.5)))
    model.add(nn.Dense(outputs))
    return model
