# SPDX-License-Identifier: Apache-2.0
"""Receptive fields by arithmetic against the support of the gradient; sizes of outputs by formula; both kinds of
"same"."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError
from chainrule.ir import Type


def chosen(rng, *options):
    return options[int(rng.integers(len(options)))]


def random_layer(rng):
    kernel = tuple(int(n) for n in rng.integers(1, 4, 2))
    stride = tuple(int(n) for n in rng.choice([1, 1, 2], 2))
    padding = chosen(rng, "valid", "same", 1, ((0, 2), (1, 0)))
    if rng.random() < 0.25:
        return nn.AvgPool2D(kernel, stride=stride, padding=padding, count_padding=True)
    if rng.random() < 0.25:
        return nn.SeparableConv2D(2, kernel, padding="same", dtype="float64")
    if rng.random() < 0.2:
        return nn.ZeroPad2D(((1, 0), 2))
    return nn.Conv2D(2, kernel, stride=stride, padding=padding, dilation=int(rng.integers(1, 3)), dtype="float64")


def positive(model):
    """Weights above zero, so that no two ways through the network cancel."""
    for variable in model.parameters().values():
        variable.assign(np.abs(variable.numpy()) + 0.1)


def support(slope):
    return tuple((int(np.nonzero(slope.any(1 - axis))[0][0]), int(np.nonzero(slope.any(1 - axis))[0][-1]))
                 for axis in (0, 1))


@pytest.mark.parametrize("seed", range(30))
def test_arithmetic_is_the_support_of_the_gradient(seed):
    rng = np.random.default_rng(seed)
    layers = [random_layer(rng) for _ in range(rng.integers(2, 5))]
    if seed % 3 == 0:
        layers.insert(1, nn.Residual([nn.Conv2D(3, 3, padding="same", dtype="float64"),
                                      nn.Conv2D(2, 3, padding="same", dtype="float64")],
                                     shortcut=nn.Conv2D(2, 1, dtype="float64")))
    model = nn.Sequential([*layers, nn.Conv2D(1, 2, dtype="float64")])
    x = np.abs(rng.standard_normal((1, 61, 60, 2))) + 0.1
    place = tuple(n // 2 for n in model(x).shape[1:3])
    positive(model)
    slope = nn.effective_receptive_field(model, x, place)
    field = nn.receptive_field(model)[-1]
    assert support(slope) == field.box(place)
    assert slope.max() == 1


def test_records():
    model = nn.Sequential([nn.Conv2D(4, 3, padding=1), nn.ReLU(), nn.MaxPool2D(2), nn.Conv2D(4, 3, dilation=2),
                           nn.Flatten(), nn.Dense(2)])
    a, b, c = nn.receptive_field(model, (16, 16, 1))
    assert (a.layer, a.size, a.stride, a.first, a.centre) == ("model[0] Conv2D", (3, 3), (1, 1), (-1, -1), (0.0, 0.0))
    assert (b.size, b.stride, b.first) == ((4, 4), (2, 2), (-1, -1))
    assert (c.size, c.stride, c.first, c.centre) == ((12, 12), (2, 2), (-1, -1), (4.5, 4.5))
    with pytest.raises(ArgumentError, match="not known yet"):
        nn.receptive_field(nn.Conv2D(3, 3))
    with pytest.raises(ShapeError, match="no positions"):
        nn.effective_receptive_field(model, np.zeros((1, 16, 16, 1), "float32"))


def test_drawn_graphs_and_sequences():
    x = nn.Input((20, 3))
    left, right = nn.Conv1D(4, 5, padding="same")(x), nn.Conv1D(4, 3, padding=((2, 0),))(x)
    model = nn.Functional(x, nn.Conv1D(1, 3)(nn.Add()(left, right)))
    sizes = [f.size for f in nn.receptive_field(model)]
    assert sizes == [(5,), (3,), (7,)]
    upsampled = nn.Sequential([nn.Conv1D(4, 3), nn.UpSampling1D(2), nn.Conv1D(4, 3)], input_shape=(20, 3))
    assert [f.size for f in nn.receptive_field(upsampled)] == [(3,)]  # from there on it is not followed


def test_output_sizes_by_formula():
    rng = np.random.default_rng(0)
    for _ in range(1000):
        n, kernel, stride, dilation = (int(rng.integers(low, high)) for low, high in ((1, 40), (1, 8), (1, 6), (1, 4)))
        low, high = (int(p) for p in rng.integers(0, 4, 2))
        reach = (kernel - 1) * dilation + 1
        expected = (n + low + high - reach) // stride + 1
        layer = nn.Conv1D(2, kernel, stride=stride, dilation=dilation, padding=((low, high),))
        if reach > n + low + high:
            with pytest.raises(ShapeError, match="larger than the image"):
                layer.trace(Type((1, n, 1), np.dtype("float32")))
            continue
        assert layer.trace(Type((1, n, 1), np.dtype("float32")))[1].shape == (1, expected, 2)
        same = nn.Conv1D(2, kernel, stride=stride, dilation=dilation, padding="same")
        assert same.trace(Type((1, n, 1), np.dtype("float32")))[1].shape[1] == -(-n // stride)


def test_strides_differ_along_the_axes():
    for _ in range(3):
        y = nn.Conv3D(1, (3, 2, 1), stride=(2, 1, 3))(np.zeros((1, 9, 8, 7, 1), "float32"))
        assert y.shape == (1, 4, 7, 3, 1)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kernel, stride, dilation", [(3, 1, 1), (4, 1, 1), (2, 1, 3), (5, 2, 1), (3, 3, 2)])
@pytest.mark.filterwarnings("ignore:Using padding=.same.")
def test_same_of_pytorch(rank, kernel, stride, dilation):
    torch = pytest.importorskip("torch")
    layer = getattr(nn, f"Conv{rank}D")(2, kernel, stride=stride, dilation=dilation, padding="same_torch",
                                        dtype="float64")
    x = np.random.default_rng(0).standard_normal((2, *(9, 8, 7)[:rank], 3))
    y, whole = layer(x).numpy(), (slice(None), *(slice(None, None, stride),) * rank)
    weight = torch.tensor(layer.weight.numpy()).movedim((-1, -2), (0, 1))
    function = getattr(torch.nn.functional, f"conv{rank}d")
    expected = function(torch.tensor(x).movedim(-1, 1), weight, padding="same",
                        dilation=dilation).movedim(1, -1).numpy()
    np.testing.assert_allclose(y, expected[whole], rtol=1e-10, atol=1e-11)
    if stride > 1 and kernel % 2:  # what PyTorch's networks write for "same" with a stride
        half = function(torch.tensor(x).movedim(-1, 1), weight, stride=stride, padding=(kernel - 1) * dilation // 2,
                        dilation=dilation)
        np.testing.assert_allclose(y, half.movedim(1, -1).numpy(), rtol=1e-10, atol=1e-11)
    if stride == 1:
        other = getattr(nn, f"Conv{rank}D")(2, kernel, dilation=dilation, padding="same", dtype="float64")
        other(x)
        other.weight.assign(layer.weight.numpy())
        np.testing.assert_array_equal(other(x).numpy(), y)


def test_the_snippet_for_one_by_one():
    cr.random.seed(0)
    layer = nn.Conv2D(32, (1, 1), activation='relu', input_shape=(32, 32, 3))
    assert sum(v.size for v in layer.parameters().values()) == 128
    x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
    y = layer(x)
    assert y.shape == (2, 32, 32, 32)
    dense = nn.Dense(32, activation="relu")
    dense(x)
    dense.weight.assign(layer.weight.numpy()[0, 0])
    dense.bias.assign(layer.bias.numpy())
    np.testing.assert_allclose(y.numpy(), dense(x).numpy(), rtol=1e-5, atol=1e-6)
