# SPDX-License-Identifier: Apache-2.0
"""The chain rule, shown. Oracle: a golden text of a 2-2-1 network, and autodiff for every product of what is printed.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import linalg, losses, nn
from chainrule.errors import ArgumentError, TraceError
from chainrule.inspect import explain

GOLDEN = Path(__file__).parents[1] / "golden" / "chain_rule_2_2_1.txt"


@pytest.fixture
def network():
    model = nn.Sequential([nn.Dense(2, activation="tanh", input_shape=(2,), dtype="float64"),
                           nn.Dense(1, dtype="float64")])
    for variable, value in zip(model.parameters().values(),
                               ([[0.5, -0.25], [0.75, 1.0]], [0.1, -0.2], [[1.5], [-1.0]], [0.3]), strict=True):
        variable.assign(np.array(value))
    return model


def loss_of(model):
    return losses.mean_squared_error(model(np.array([[1.0, 0.5]])), np.array([[1.0]]))


def test_the_text_of_a_small_network(network, capsys) -> None:
    explain(loss_of(network))
    assert capsys.readouterr().out == GOLDEN.read_text()


def test_the_product_of_the_printed_local_derivatives_is_the_gradient(network) -> None:
    """Everything is read from the text: local Jacobians are multiplied along the graph that it shows."""
    text = str(explain(loss_of(network), digits=15, show=False))
    local = {(u, x): np.atleast_2d(ast.literal_eval(value))
             for u, x, value in re.findall(r"^  d(v\d+)/d(\w+) = (.*?)    #", text, re.M)}
    names = dict(re.findall(r"^  dL/d(w\d+) = .*# (.*)$", text, re.M))
    last = re.search(r"^L = (\w+)", text)[1]

    def gradient(x):
        return (np.ones((1, 1)) if x == last else sum(gradient(u) @ jacobian for (u, y), jacobian in local.items() if y
                                                      == x))
    wanted = cr.gradients(loss_of(network), network)
    assert set(names.values()) == set(wanted)
    for x, name in names.items():
        np.testing.assert_allclose(gradient(x).ravel(), wanted[name].numpy().ravel(), rtol=1e-10)


def attention_like(w):
    x = cr.asarray(np.arange(6.0).reshape(3, 2) / 5)
    return cr.sum(nn.activations.FUNCTIONS["softmax"](x @ w.value @ x.mT) @ x) + cr.sum(w.value * w.value)


@pytest.mark.parametrize("function", [
    attention_like,
    lambda w: cr.sum(linalg.svd(w.value).S ** 3),
    lambda w: cr.mean(cr.where(w.value > 0, w.value, 0.1 * w.value)) * cr.max(w.value),
    lambda w: cr.sum(cr.concat([w.value, w.value.mT])[1:] ** 2),
    lambda w: losses.cross_entropy(w.value, np.array([0, 1])),
])
def test_other_operations(function) -> None:
    w = cr.Variable(np.array([[0.5, -1.0], [2.0, 0.25]]), name="w")
    found = explain(function(w), show=False)
    np.testing.assert_allclose(found.gradients["w"], cr.gradients(function(w), w), rtol=1e-10)
    assert "dL/dw1" in str(found)


@pytest.mark.parametrize("activation", ["sigmoid", "relu", "softplus"])
def test_layers_of_any_activation(activation) -> None:
    cr.random.seed(0)
    model = nn.Sequential([nn.Dense(3, activation=activation, input_shape=(2,)), nn.Dense(2)])
    loss = losses.cross_entropy(model(np.ones((2, 2), "float32")), np.array([0, 1]))
    found = explain(loss, show=False).gradients
    for name, wanted in cr.gradients(loss, model).items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "softmax", "softplus", "tanh"])
def test_activations_are_called_by_their_names(activation) -> None:
    layer = nn.Dense(3, activation=activation)
    assert f"= {activation}(v" in str(explain(cr.sum(layer(np.ones((1, 2), np.float32)) ** 2), show=False))


def test_the_picture(network, tmp_path) -> None:
    from matplotlib.image import imread

    image = imread(explain(loss_of(network), show=False).draw(tmp_path / "chain.png"))
    assert image.shape[0] > 1000
    assert image.std() > 0.05


def test_what_cannot_be_explained() -> None:
    w = cr.Variable(np.ones((80, 80)))
    with pytest.raises(ArgumentError, match="too large"):
        explain(cr.sum(cr.tanh(w.value)))
    with pytest.raises(ArgumentError, match="scalar"):
        explain(w.value)
    with pytest.raises(ArgumentError, match="no Variable"):
        explain(cr.sum(cr.ones(3)))
    with pytest.raises(TraceError, match="compile"):
        cr.compile(lambda: explain(cr.sum(w.value)))()
