# SPDX-License-Identifier: Apache-2.0
"""Feature maps, Grad-CAM on objects whose place is known, activation maximisation, shifts, and their pictures."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import inspect, losses, nn, optim
from chainrule.errors import ArgumentError, BoundsError, ShapeError

matplotlib = pytest.importorskip("matplotlib")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def picture(path):
    from matplotlib.image import imread

    image = imread(path)
    assert image.ndim == 3 and image.shape[0] > 100 and image.shape[1] > 100
    assert image[..., :3].std() > 0.01  # something is drawn
    return image


def objects(rng, count):
    """16x16 noise with a 6x6 cross or ring somewhere; (images, classes, corners)."""
    kinds = np.zeros((2, 6, 6), "float32")
    kinds[0, 2:4], kinds[0, :, 2:4] = 1.5, 1.5
    kinds[1] = 1.5
    kinds[1, 1:5, 1:5] = 0
    y, corners = rng.integers(0, 2, count), rng.integers(0, 11, (count, 2))
    x = 0.3 * rng.standard_normal((count, 16, 16, 1)).astype("float32")
    for image, kind, (row, column) in zip(x, y, corners, strict=True):
        image[row:row + 6, column:column + 6, 0] += kinds[kind]
    return x, y, corners


@pytest.fixture(scope="module")
def trained():
    cr.random.seed(0)
    rng = np.random.default_rng(0)
    model = nn.Sequential([nn.Conv2D(8, 3, padding="same", activation="relu"),
                           nn.Conv2D(16, 3, padding="same", activation="relu"),
                           nn.MaxPool2D(2), nn.Conv2D(16, 3, padding="same", activation="relu"), nn.GlobalAvgPool2D(),
                           nn.Dense(2)])
    optimizer = optim.Adam(5e-3)

    @cr.compile
    def step(x, y):
        value = losses.cross_entropy(model(x, training=True), y)
        optimizer.update(model, cr.gradients(value, model))
        return value
    for _ in range(150):
        x, y, _ = objects(rng, 32)
        step(x, y)
    return model


def test_grad_cam_finds_the_object(trained):
    x, y, corners = objects(np.random.default_rng(1), 100)
    assert (trained(x).numpy().argmax(1) == y).mean() > 0.95
    heat = inspect.grad_cam(trained, x, 3)
    assert heat.shape == (100, 16, 16) and heat.min() >= 0 and heat.max() == pytest.approx(1)
    peaks = np.array([np.unravel_index(h.argmax(), h.shape) for h in heat])
    inside = np.all((corners <= peaks) & (peaks < corners + 6), axis=1)
    assert inside.mean() >= 0.8
    named = inspect.grad_cam(trained, x[:3], "3", classes=trained(x[:3]).numpy().argmax(1))
    np.testing.assert_allclose(named, heat[:3], atol=1e-5)


def test_grad_cam_by_hand():
    """For a global mean and a Dense the weights of the maps are those of the Dense, over the number of positions."""
    model = nn.Sequential([nn.Conv2D(4, 3), nn.GlobalAvgPool2D(), nn.Dense(3)])
    x = normal(2, 8, 8, 1)
    maps, classes = model[0](x).numpy(), model(x).numpy().argmax(1)
    expected = np.maximum(np.einsum("nhwc,cn->nhw", maps, model[2].weight.numpy()[:, classes]), 0)
    found = inspect.grad_cam(model, x, model[0])
    coarse = found / found.max((1, 2), keepdims=True)
    expected /= np.maximum(expected.max((1, 2), keepdims=True), 1e-12)
    from chainrule.nn.layers.resampling import resize_axis
    for axis in (1, 2):
        expected = resize_axis(cr.asarray(expected), axis, 8, "linear").numpy()
    np.testing.assert_allclose(coarse, expected / expected.max((1, 2), keepdims=True), rtol=1e-4, atol=1e-5)


def test_classes_and_names_of_steps_that_do_not_exist(tmp_path):
    model = nn.Sequential([nn.Conv2D(2, 3), nn.GlobalAvgPool2D(), nn.Dense(3)])
    with pytest.raises(BoundsError, match="0 to 2"):
        inspect.grad_cam(model, np.ones((2, 5, 5, 1), np.float32), 0, [1, 3])
    with pytest.raises(ShapeError, match="2 names"):
        inspect.draw_attention(np.ones((1, 3, 3)), tmp_path / "a.svg", tokens="ab")


def test_feature_maps_are_what_the_layers_give():
    model = nn.Sequential([nn.Conv2D(3, 3), nn.Sequential([nn.ReLU(), nn.Conv2D(2, 3)]), nn.Flatten()])
    x = normal(2, 8, 8, 1)
    model(x)
    first = model[0](x).numpy()
    np.testing.assert_array_equal(inspect.feature_maps(model, x, 0), first)
    np.testing.assert_array_equal(inspect.feature_maps(model, x, "1.0"), np.maximum(first, 0))
    np.testing.assert_array_equal(inspect.feature_maps(model, x, -1), model(x).numpy())
    with pytest.raises(ArgumentError, match="no layer of this name"):
        inspect.feature_maps(model, x, "4")
    with pytest.raises(ArgumentError, match="did not run"):
        inspect.feature_maps(model, x, nn.ReLU())
    with pytest.raises(ShapeError, match="Grad-CAM"):
        inspect.grad_cam(model, x, "2")


def test_maximized_activation():
    model = nn.Sequential([nn.Conv2D(2, 5, bias=False), nn.ReLU(), nn.Conv2D(3, 1)], input_shape=(9, 9, 1))
    model.variables()
    image = inspect.maximize_activation(model, 0, 1, seed=4)
    assert image.shape == (9, 9, 1) and image.dtype == np.float32
    np.testing.assert_array_equal(image, inspect.maximize_activation(model, 0, 1, seed=4))
    kernel = model[0].weight.numpy()[:, :, 0, 1]
    # the mean is linear in the image
    slope = sum(np.pad(kernel, ((i, 4 - i), (j, 4 - j))) for i in range(5) for j in range(5))
    assert np.corrcoef(image.ravel(), slope.ravel())[0, 1] > 0.99
    score = lambda x: float(model[0](x[None]).numpy()[..., 1].mean())
    assert score(image) > 5 * abs(score(0.1 * normal(9, 9, 1)))
    with pytest.raises(ArgumentError, match="no such channel"):
        inspect.maximize_activation(model, 0, 2)


# ---- shifts

def test_circular_convolutions_are_equivariant():
    model = nn.Sequential([nn.Conv2D(4, 3, padding="same", padding_mode="circular", activation="relu"), nn.MaxPool2D(2),
                           nn.Conv2D(2, 3, padding="same", padding_mode="circular")])
    x = normal(2, 8, 8, 1)
    found = inspect.shifts(model, x, (1, 2, 4))
    assert list(found.equivariance) == [2, 4]  # in steps of the pooling
    assert max(found.equivariance.values()) < 1e-6
    assert inspect.shifts(nn.Conv2D(4, 3, padding="same", padding_mode="circular"), x).equivariance[1] < 1e-6
    assert inspect.shifts(nn.Conv2D(4, 3, padding="same"), x).equivariance[1] > 1e-3  # zeros at the border are seen


def test_global_pooling_makes_it_invariant(trained):
    circular = nn.Sequential([nn.Conv2D(4, 3, padding="same", padding_mode="circular"), nn.ReLU(),
                              nn.GlobalAvgPool2D()])
    found = inspect.shifts(circular, normal(4, 8, 8, 1))
    assert max(found.invariance.values()) < 1e-5 and found.stability == {1: 1.0, 2: 1.0, 3: 1.0}
    flat = nn.Sequential([nn.Flatten(), nn.Dense(5)])
    assert inspect.shifts(flat, normal(4, 8, 8, 1)).invariance[1] > 0.1
    x, _, _ = objects(np.random.default_rng(2), 100)
    report = inspect.shifts(trained, x)
    assert min(report.stability.values()) > 0.9
    assert "predictions stay" in str(report) and str(report).count("\n") == 2


# ---- pictures

def test_pictures_of_filters_and_maps(trained, tmp_path):
    x, _, _ = objects(np.random.default_rng(1), 4)
    picture(inspect.draw_filters(trained[0], tmp_path / "filters.png"))
    picture(inspect.draw_filters(_built(nn.Conv2D(5, 3), normal(1, 8, 8, 3)), tmp_path / "colour.png"))
    picture(inspect.draw_feature_maps(trained, x[0], 1, tmp_path / "maps.png"))
    picture(inspect.draw_grad_cam(trained, x, 3, tmp_path / "cam.png"))
    picture(inspect.draw_tiles([inspect.maximize_activation(trained, 1, c, steps=3) for c in range(3)],
                               tmp_path / "wanted.png"))
    with pytest.raises(ArgumentError, match="filters"):
        inspect.draw_filters(nn.Dense(3), tmp_path / "none.png")
    with pytest.raises(ShapeError, match="no pictures"):
        inspect.draw_tiles(np.zeros((3, 4)), tmp_path / "none.png")


def _built(layer, x):
    layer(x)
    return layer


def test_pictures_of_sequences(tmp_path):
    layer, x = nn.MultiHeadAttention(2), normal(2, 5, 8)
    with nn.recorded_attention() as records:
        layer(x, causal=True)
    picture(inspect.draw_attention(records[0], tmp_path / "attention.png", tokens="abcde"))
    picture(inspect.draw_attention(records[0].weights, tmp_path / "again.png"))
    for layer in (nn.LSTM(3), nn.GRU(3), nn.SimpleRNN(3), nn.LSTM(3, peephole=True)):
        picture(inspect.draw_gates(layer, x, tmp_path / "gates.png"))
    with pytest.raises(ShapeError, match="no attention maps"):
        inspect.draw_attention(np.zeros((3, 4)), tmp_path / "none.png")
