# SPDX-License-Identifier: Apache-2.0
"""Initialisers: moments, bounds, orthogonality, and the variance of activations through many layers."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError
from chainrule.nn import initializers

SHAPE = (3, 3, 40, 60)
VARIANCES = {"glorot": 2 / (9 * 100), "he": 2 / 360, "lecun": 1 / 360, "he_out": 2 / 540}


@pytest.mark.parametrize("kind", ["normal", "uniform"])
@pytest.mark.parametrize("name", VARIANCES)
def test_moments(name, kind):
    cr.random.seed(0)
    values = initializers.get(f"{name}_{kind}")(SHAPE)
    std = np.sqrt(VARIANCES[name])
    assert abs(values.mean()) < 0.02 * std
    assert values.std() == pytest.approx(std, rel=0.02)
    assert np.abs(values).max() <= (3**0.5 if kind == "uniform" else 2 / 0.8796256) * std * 1.0001


def test_variance_scaling():
    cr.random.seed(0)
    values = initializers.variance_scaling(3.0, "average", "untruncated")((300, 200), "float64")
    assert values.std() == pytest.approx((3 / 250) ** 0.5, rel=0.01)
    assert np.abs(values).max() > 3 * values.std()
    layer = nn.Dense(5, weight_initializer=initializers.variance_scaling(1.0, "out"), input_shape=(4,))
    assert layer.parameters()["weight"].shape == (4, 5)
    with pytest.raises(ArgumentError):
        initializers.variance_scaling(mode="fan_in")


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (3, 3, 4, 5)])
def test_orthogonal(shape):
    q = initializers.get("orthogonal")(shape, "float64").reshape(-1, shape[-1])
    small = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(small, np.eye(len(small)), atol=1e-12)


def test_filters_that_keep_the_image():
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 3))
    layer = nn.Conv2D(3, 3, padding="same", weight_initializer="dirac", dtype="float64")
    np.testing.assert_allclose(layer(x).numpy(), x)
    layer = nn.Conv2D(7, 3, padding="same", weight_initializer="delta_orthogonal", dtype="float64")
    np.testing.assert_allclose((layer(x).numpy() ** 2).sum(-1), (x**2).sum(-1), rtol=1e-12)
    np.testing.assert_array_equal(initializers.get("identity")((2, 3)), np.eye(2, 3))
    for name, shape in (("delta_orthogonal", (3, 3, 4, 2)), ("dirac", (3, 3)), ("identity", (2, 2, 2))):
        with pytest.raises(ShapeError):
            initializers.get(name)(shape)


def test_he_keeps_the_variance_through_twenty_layers():
    cr.random.seed(3)
    model = nn.Sequential([nn.Dense(1000, weight_initializer="he_normal", activation="relu") for _ in range(20)])
    x = np.random.default_rng(0).standard_normal((64, 1000)).astype("float32")
    with cr.no_grad():
        squares = [float((x**2).mean() * 1.0)]
        for layer in model:
            x = layer(x).numpy()
            squares.append(float((x**2).mean()))
    ratios = np.array(squares[2:]) / np.array(squares[1:-1])
    assert abs(np.exp(np.log(ratios).mean()) - 1) < 0.1
