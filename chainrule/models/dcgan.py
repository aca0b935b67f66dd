# SPDX-License-Identifier: Apache-2.0
"""Small convolutional networks for GANs of images (Radford, Metz and Chintala, DCGAN, 2016)."""

from __future__ import annotations

from .. import nn


def dcgan_generator(image_shape: tuple[int, int, int] = (28, 28, 1), width: int = 64,
                    activation: str = "tanh") -> nn.Sequential:
    """z (N, latent) → images (N, H, W, C), from a quarter of the size up; H and W are multiples of 4.

    >>> import numpy as np, chainrule as cr
    >>> cr.models.dcgan_generator((8, 8, 1), width=4)(np.zeros((2, 16), "float32")).shape
    (2, 8, 8, 1)
    """
    height, breadth, channels = image_shape
    return nn.Sequential([
        nn.Dense(height // 4 * (breadth // 4) * 2 * width, bias=False),
        nn.Reshape((height // 4, breadth // 4, 2 * width)), nn.BatchNorm(), nn.ReLU(),
        nn.Conv2DTranspose(width, 4, stride=2, padding="same", bias=False), nn.BatchNorm(), nn.ReLU(),
        nn.Conv2DTranspose(channels, 4, stride=2, padding="same", activation=activation)])


def dcgan_critic(width: int = 64, spectral: bool = False) -> nn.Sequential:
    """Images (N, H, W, C) → one number each, (N, 1); `spectral` normalises the weights (Miyato et al., 2018).

    >>> import numpy as np, chainrule as cr
    >>> cr.models.dcgan_critic(width=4)(np.zeros((2, 8, 8, 1), "float32")).shape
    (2, 1)
    """
    wrapped = nn.SpectralNorm if spectral else lambda layer: layer
    return nn.Sequential([
        wrapped(nn.Conv2D(width, 4, stride=2, padding="same")), nn.LeakyReLU(0.2),
        wrapped(nn.Conv2D(2 * width, 4, stride=2, padding="same")), nn.LeakyReLU(0.2),
        nn.Flatten(), wrapped(nn.Dense(1))])
