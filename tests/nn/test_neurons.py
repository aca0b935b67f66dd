# SPDX-License-Identifier: Apache-2.0
"""One neuron, the perceptron, linear stacks that collapse, biases from class frequencies, and what layers compute.

Oracles: sums by hand, the mistake bound of Novikoff, matrix products, shares of classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError
from chainrule.models import Perceptron

GOLDEN = Path(__file__).parents[1] / "golden"
XOR_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
XOR_Y = np.array([0, 1, 1, 0])


# ---- one neuron

def test_a_neuron_is_its_sum() -> None:
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=5), rng.normal(size=5)
    neuron = nn.Neuron(w, bias=0.3, activation="tanh", dtype="float64")
    assert abs(neuron(x).item() - np.tanh(w @ x + 0.3)) < 1e-12
    batch = rng.normal(size=(7, 5))
    np.testing.assert_allclose(neuron(batch).numpy(), np.tanh(batch @ w + 0.3), rtol=1e-12)
    assert abs(neuron(np.zeros(5)).item() - np.tanh(0.3)) < 1e-15, "with zero input the output is f(b)"
    with pytest.raises(ShapeError, match="5 inputs"):
        neuron(np.zeros(4))
    drawn = nn.Neuron(activation="sigmoid")
    assert drawn(np.ones((2, 3), np.float32)).shape == (2,) and list(drawn.parameters()) == ["weight", "bias"]


def test_a_neuron_shown() -> None:
    neuron = nn.Neuron([0.5, -1.5, 2.0], bias=0.25, activation="sigmoid", dtype="float64")
    view = neuron.look([1.0, 2.0, -0.5])
    assert str(view) + "\n" == (GOLDEN / "neuron.txt").read_text()
    assert view._repr_html_() + "\n" == (GOLDEN / "neuron.svg").read_text()
    assert "x0" in neuron._repr_html_() and nn.Neuron()._repr_html_().startswith("<code>")


def test_a_neuron_trains() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2)).astype("float32")
    y = (x @ np.array([2.0, -1.0]) > 0.3).astype("float32")
    neuron = nn.Neuron()
    cr.fit(neuron, (x, y), loss="binary_cross_entropy", optimizer=cr.optim.Adam(0.1), epochs=60, progress=False)
    assert ((neuron(x).numpy() > 0) == (y > 0)).mean() > 0.99


# ---- Rosenblatt's perceptron

@pytest.mark.parametrize("seed", range(10))
def test_the_perceptron_stops_within_its_bound(seed: int) -> None:
    """Corrections <= (R / gamma)^2 for the margin of the line that the data were made with."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=4) * [1, 1, 1, 0.3]
    direction /= np.linalg.norm(direction)
    x = rng.uniform(-1, 1, (300, 3))
    extended = np.concatenate([x, np.ones((300, 1))], axis=1)
    sides = extended @ direction
    x, extended, sides = x[np.abs(sides) > 0.1], extended[np.abs(sides) > 0.1], sides[np.abs(sides) > 0.1]
    model = Perceptron().fit(x, np.where(sides > 0, "yes", "no"))
    limit = (np.linalg.norm(extended, axis=1).max() / np.abs(sides).min()) ** 2
    assert model.separable is True and model.mistakes <= limit
    assert model.mistakes <= model.bound
    np.testing.assert_array_equal(model.predict(x), np.where(sides > 0, "yes", "no"))


def test_logic_and_what_it_cannot_do() -> None:
    for labels in ([0, 0, 0, 1], [0, 1, 1, 1], [1, 1, 1, 0]):
        model = Perceptron().fit(XOR_X, np.array(labels))
        assert model.separable and list(model.predict(XOR_X)) == labels
        assert "separated after" in model.verdict
    model = Perceptron().fit(XOR_X, XOR_Y)
    assert model.separable is False and "no line separates" in model.verdict
    hard = np.array([[0.0], [1e-9], [1.0]])
    assert Perceptron(epochs=3).fit(hard, np.array([0, 1, 0])).separable is not True
    with pytest.raises(ArgumentError, match="two classes"):
        Perceptron().fit(XOR_X, np.arange(4))
    with pytest.raises(ArgumentError, match="fit"):
        Perceptron().predict(XOR_X)


# ---- linear stacks

def test_linear_layers_are_their_product() -> None:
    rng = np.random.default_rng(0)
    model = nn.Sequential([nn.Dense(16), nn.Sequential([nn.Dense(8, bias=False), nn.Identity()]), nn.Dense(3)])
    x = rng.normal(size=(20, 5)).astype("float32")
    y = model(x).numpy()
    one = nn.collapse(model)
    np.testing.assert_allclose(one(x).numpy(), y, rtol=1e-5, atol=1e-6)
    product = np.linalg.multi_dot([v.numpy().astype(float) for k, v in model.variables().items()
                                   if k.endswith("weight")])
    np.testing.assert_allclose(one.weight.numpy(), product, rtol=1e-5, atol=1e-6)
    with pytest.raises(ArgumentError, match=r"model\[0\] Dense"):
        nn.collapse(_with_activation())
    with pytest.raises(ArgumentError, match="built"):
        nn.collapse(nn.Dense(3))


def _with_activation() -> nn.Sequential:
    model = nn.Sequential([nn.Dense(4, activation="relu"), nn.Dense(2)])
    model(np.zeros((1, 3), np.float32))
    return model


def test_xor_needs_a_hidden_layer_with_an_activation() -> None:
    """Twenty seeds: no linear stack gets more than 3 of 4 right, one hidden layer gets all four in 19 or more."""
    solved = 0
    for seed in range(20):
        cr.random.seed(seed)
        linear = nn.Sequential([nn.Dense(8), nn.Dense(8), nn.Dense(2)])
        network = nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(2)])
        for model in (linear, network):
            cr.fit(model, (XOR_X, XOR_Y), loss="cross_entropy", optimizer=cr.optim.Adam(0.05), epochs=120, batch_size=4,
                   seed=seed, progress=False)
        right = [(model(XOR_X).numpy().argmax(1) == XOR_Y).mean() for model in (linear, network)]
        assert right[0] <= 0.75
        solved += right[1] == 1
    assert solved >= 19


# ---- biases from class frequencies

def test_a_network_starts_at_the_class_frequencies() -> None:
    labels = np.repeat([0, 1, 2], [700, 250, 50])
    model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(3)])
    x = np.zeros((4, 5), np.float32)
    model(x)
    nn.set_class_prior(model, labels)
    np.testing.assert_allclose(cr.softmax(model(x)).numpy()[0], [0.7, 0.25, 0.05], atol=2e-3)
    entropy = -(np.array([0.7, 0.25, 0.05]) * np.log([0.7, 0.25, 0.05])).sum()
    value = cr.losses.cross_entropy(cr.broadcast_to(model(x)[:1], (1000, 3)), labels).item()
    assert abs(value - entropy) < 1e-3, "the loss starts at the entropy of the labels"
    np.testing.assert_allclose(1 / (1 + np.exp(-nn.class_prior(np.repeat([0, 1], [90, 10]), 1))), [0.1], atol=5e-3)
    np.testing.assert_allclose(1 / (1 + np.exp(-nn.class_prior(np.array([[1, 0], [1, 1]] * 50)))), [1.0, 0.5],
                               atol=6e-3)
    assert np.isfinite(nn.class_prior(np.array([0, 1, 1]), 5)).all()
    with pytest.raises(ArgumentError, match="more classes"):
        nn.class_prior(np.array([0, 5]), 3)
    with pytest.raises(ArgumentError, match="no layer of the model has a bias"):
        nn.set_class_prior(nn.Flatten(), labels)


# ---- what layers compute

def test_captured_sums_are_numpys() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 5)).astype("float32")
    model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(4, activation=nn.Tanh()), nn.Dense(3),
                           nn.Dropout(0.5)])
    model(x)
    before = model.layers[0].activation
    found = cr.inspect.capture(model, x)
    weights = [(layer.weight.numpy(), layer.bias.numpy()) for layer in model.layers[:3]]
    y = x
    for i, function in enumerate((lambda z: np.maximum(z, 0), np.tanh, lambda z: z)):
        z = y @ weights[i][0] + weights[i][1]
        np.testing.assert_allclose(found[str(i)].weighted_sum, z, rtol=1e-5, atol=1e-6)
        y = function(z)
        np.testing.assert_allclose(found[str(i)].output, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found[""].output, model(x).numpy())
    assert found["3"].weighted_sum is None and set(cr.inspect.capture(model, x, layers=["1"])) == {"1"}
    assert model.layers[0].activation is before and "forward" not in vars(model.layers[1].activation)
    np.testing.assert_array_equal(model(x).numpy(), found[""].output)
    with pytest.raises(ArgumentError, match="no such layer"):
        cr.inspect.capture(model, x, layers=["7"])


def test_captured_convolutions() -> None:
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    layer = nn.Conv2D(4, 3, activation="relu")
    found = cr.inspect.capture(layer, x)[""]
    np.testing.assert_allclose(found.output, np.maximum(found.weighted_sum, 0))
    assert (found.weighted_sum < 0).any()


def test_the_planted_feature_ranks_first() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 6)).astype("float32")
    x[:, 3] *= 0.01  # a large weight on something that hardly varies is of no importance
    y = (2 * x[:, 4] - x[:, 1] > 0).astype(int)
    model = nn.Sequential([nn.Dense(16, activation="relu"), nn.Dense(2)])
    cr.fit(model, (x, y), loss="cross_entropy", epochs=25, progress=False)
    names = [f"feature {i}" for i in range(6)]
    by_weights = cr.inspect.weight_importance(model, x, names)
    shuffled = cr.inspect.permutation_importance(model, (x, y), lambda p, t: (p.argmax(1) == t).mean(), names=names)
    by_name = cr.inspect.permutation_importance(model, (x, y), "accuracy", names=names)
    np.testing.assert_allclose(by_name.scores, shuffled.scores, rtol=1e-12)
    np.testing.assert_allclose(cr.inspect.permutation_importance(model, (x, y), "log_loss").scores.argmax(), 4)
    for found in (by_weights, shuffled):
        assert [name for name, _ in found.ranking[:2]] == ["feature 4", "feature 1"]
        assert str(found).splitlines()[0].startswith("feature 4")
    linear = nn.Dense(1)
    linear(x)
    np.testing.assert_allclose(cr.inspect.weight_importance(linear, x).scores, np.abs(linear.weight.numpy()[:, 0])
                               * x.std(0), rtol=1e-5)


# ---- standardisation

def test_standardised_features() -> None:
    x = np.random.default_rng(0).normal([3, -200, 5], [0.1, 50, 0], (400, 3)).astype("float32")
    model = nn.Sequential([nn.Standardize().adapt(x), nn.Dense(2)])
    z = model.layers[0](x).numpy()
    np.testing.assert_allclose(z[:, :2], ((x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1))[:, :2], atol=2e-4)
    np.testing.assert_array_equal(z[:, 2], 0)
    slope = cr.grad(lambda x: cr.sum(model.layers[0](x) ** 2))(cr.asarray(x)).numpy()
    assert np.isfinite(slope).all()
    model(x)
    assert list(model.parameters()) == ["1.weight", "1.bias"] and "0.mean" in model.variables()
    with pytest.raises(ArgumentError, match="nothing to adapt to"):
        nn.Standardize().adapt(np.zeros((0, 3)))


# ---- parameters

def test_parameters_are_listed_and_counted_once() -> None:
    shared = nn.Dense(4)
    model = nn.Sequential([nn.Dense(4), shared, shared, nn.BatchNorm()])
    model(np.zeros((2, 3), np.float32))
    assert nn.count_parameters(model) == {"float32": 3 * 4 + 4 + 4 * 4 + 4 + 2 * 4}
    both = nn.Sequential([nn.Dense(4), nn.Dense(2, dtype="float32")])
    both(np.zeros((2, 3), np.float32))
    both.layers[0].freeze()
    assert nn.count_parameters(both) == {"float32": 26} and nn.count_parameters(both, trainable=True) == {"float32": 10}


@pytest.mark.parametrize("compiled", [False, True])
def test_batch_norm_keeps_a_small_variance_beside_a_large_mean(compiled: bool) -> None:
    """Mean 1e4 and variance 1: sums of squares would lose all of it in float32, two passes do not."""
    x = (1e4 + np.random.default_rng(0).normal(size=(1000, 5))).astype("float32")
    layer = nn.BatchNorm()
    layer(x)
    run = lambda x: layer(x, training=True)
    y = (cr.compile(run) if compiled else run)(x).numpy()
    wide = x.astype(np.float64)
    # the mean itself is rounded to 1e-3 or so
    np.testing.assert_allclose(y, (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5), atol=2e-2)
    np.testing.assert_allclose(y.std(0), 1, rtol=1e-3)
    exact = cr.var(cr.asarray(1e8 + np.random.default_rng(1).normal(size=5000)), axis=0).item()
    np.testing.assert_allclose(exact, np.var(1e8 + np.random.default_rng(1).normal(size=5000)), rtol=1e-9)
