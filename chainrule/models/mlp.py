# SPDX-License-Identifier: Apache-2.0
"""The multi-layer perceptron: flatten, then fully connected layers with ReLU, dropout between them."""

from __future__ import annotations

from collections.abc import Sequence

from .. import nn


def mlp(outputs: int, hidden: Sequence[int] = (128, 128), dropout: float = 0.0,
        input_shape: tuple[int, ...] | None = None) -> nn.Sequential:
    """A perceptron with the given hidden widths; logits (or numbers) of shape (N, outputs) come out.

    >>> cr.models.mlp(10, hidden=(32, 32))(cr.ones((2, 8, 8, 1))).shape
    (2, 10)
    """
    model = nn.Sequential([nn.Flatten() if input_shape is None else nn.Flatten(input_shape=input_shape)])
    for width in hidden:
        model.add(nn.Dense(width, activation="relu"))
        if dropout:
            model.add(nn.Dropout(dropout))
    model.add(nn.Dense(outputs))
    return model
