# SPDX-License-Identifier: Apache-2.0
"""Clips: digits that move in one of eight directions, seen by three-dimensional, by split (2+1)D and by recurrent
convolutions."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, models, nn, optim
from chainrule.data import digits

DIRECTIONS = np.array([(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)])


def clips(rng, images, count, steps=5, size=16):
    """(count, steps, size, size, 1): a digit of 8x8 pixels on its way, and which way."""
    direction, kind = rng.integers(0, 8, count), rng.integers(0, len(images), count)
    x = np.zeros((count, steps, size, size, 1), "float32")
    middle = (size - 8) // 2
    for n in range(count):
        start = middle - DIRECTIONS[direction[n]] * (steps // 2) + rng.integers(-2, 3, 2)
        for t in range(steps):
            row, column = start + DIRECTIONS[direction[n]] * t
            x[n, t, row:row + 8, column:column + 8] = images[kind[n]]
    return x, direction


def train(model, images, steps, rate=3e-3):
    optimizer, rng = optim.Adam(rate), np.random.default_rng(0)

    @cr.compile
    def step(x, y):
        value = losses.cross_entropy(model(x, training=True), y)
        optimizer.update(model, cr.gradients(value, model))
        return value
    for _ in range(steps):
        step(*clips(rng, images, 32))


def recurrent():
    return nn.Sequential([nn.ConvLSTM2D(8, 3, stride=2), nn.Conv2D(16, 3, stride=2, activation="relu"), nn.Flatten(),
                          nn.Dense(8)])


def three_dimensional():
    return nn.Sequential([nn.Conv3D(8, 3, padding="same", activation="relu"), nn.MaxPool3D((1, 2, 2)),
                          nn.Conv3D(16, 3, padding="same", activation="relu"), nn.MaxPool3D((1, 2, 2)), nn.Flatten(),
                          nn.Dense(8)])


def split():
    return models.clip_network(8, widths=(8, 16))


@pytest.mark.slow
@pytest.mark.parametrize("make", [three_dimensional, split, recurrent])
def test_the_direction_of_moving_digits(make):
    cr.random.seed(0)
    data = digits()
    model = make()
    train(model, data.x_train.astype("float32") / 255, 300)
    x, y = clips(np.random.default_rng(1), data.x_test.astype("float32") / 255, 400)
    assert (model(x).numpy().argmax(1) == y).mean() >= 0.95


def test_split_convolutions_are_those_of_their_parts():
    """A (2+1)D convolution: one over the pixels of each image, then one over the steps."""
    cr.random.seed(0)
    model = models.clip_network(3, widths=(4,), middle=5)
    x = np.random.default_rng(0).standard_normal((2, 4, 8, 8, 1)).astype("float32")
    assert model(x).shape == (2, 3)
    pixels, steps = model[0], model[3]
    images = nn.Conv2D(5, 3, padding="same", bias=False)
    images(x[:, 0])
    images.weight.assign(pixels.weight.numpy()[0])
    np.testing.assert_allclose(pixels(x).numpy()[:, 2], images(x[:, 2]).numpy(), rtol=1e-4, atol=1e-5)
    assert pixels.weight.shape == (1, 3, 3, 1, 5) and steps.weight.shape == (3, 1, 1, 5, 4)
