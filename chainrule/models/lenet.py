# SPDX-License-Identifier: Apache-2.0
"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998), as it
is trained today: ReLU for the scaled tanh, maxima for the trained means, a plain last layer. 61,706 parameters."""

from __future__ import annotations

from .. import nn
from ..typing import ActivationLike


def lenet5(outputs: int = 10, image_shape: tuple[int, int, int] = (28, 28, 1),
           activation: ActivationLike = "relu") -> nn.Sequential:
    """Two convolutions of 5x5 with pooling, then 120, 84 and `outputs` units; images (28, 28, 1), or (32, 32, C).

    >>> cr.models.lenet5()(cr.ones((2, 28, 28, 1))).shape
    (2, 10)
    """
    padding = 2 if image_shape[0] == 28 else "valid"
    return nn.Sequential([
        nn.Conv2D(6, 5, padding=padding, activation=activation, input_shape=tuple(image_shape)), nn.MaxPool2D(2),
        nn.Conv2D(16, 5, activation=activation), nn.MaxPool2D(2), nn.Flatten(),
        nn.Dense(120, activation=activation), nn.Dense(84, activation=activation), nn.Dense(outputs),
    ])
