# SPDX-License-Identifier: Apache-2.0
"""A network for clips (batch, steps, height, width, channels) whose convolutions over space and time are split in two,
one over the pixels of each image and one over the steps: (2+1)D (Tran et al., "A closer look at spatiotemporal
convolutions for action recognition", 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from .. import nn


def clip_network(outputs: int, widths: Sequence[int] = (16, 32), middle: int | None = None) -> nn.Sequential:
    """One stage per width: 1x3x3, then 3x1x1, then pooling of the pixels; logits (N, outputs) come out.

    Args:
        middle: channels between the two; by default as many as make the pair as large as one 3x3x3 convolution would be
            with equal widths, 2.25 times the width.

    >>> cr.models.clip_network(5, widths=(4, 8))(cr.ones((1, 6, 16, 16, 3))).shape
    (1, 5)
    """
    model = nn.Sequential()
    for width in widths:
        between = middle or width * 9 // 4
        for layer in (nn.Conv3D(between, (1, 3, 3), padding="same", bias=False), nn.BatchNorm(), nn.ReLU(),
                      nn.Conv3D(width, (3, 1, 1), padding="same", bias=False), nn.BatchNorm(), nn.ReLU(),
                      nn.MaxPool3D((1, 2, 2))):
            model.add(layer)
    model.add(nn.Flatten())
    return model.add(nn.Dense(outputs))
