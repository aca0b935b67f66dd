# SPDX-License-Identifier: Apache-2.0
"""Models drawn with symbols: the same as other styles, with several ways, inputs and outputs, shared layers, in files.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError, ShapeError

X = np.random.default_rng(0).standard_normal((6, 4)).astype("float32")


class Own(nn.Module):
    def __init__(self):
        self.layers = [nn.Dense(5, activation="tanh"), nn.ReLU(), nn.Dense(2)]

    def attributes(self):
        yield from enumerate_names(self.layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def enumerate_names(layers):
    return ((str(i), layer) for i, layer in enumerate(layers))


def drawn():
    x = nn.Input(4)
    h = nn.ReLU()(nn.Dense(5, activation="tanh")(x))
    return nn.Functional(x, nn.Dense(2)(h))


def test_three_styles_give_the_same_bits_and_names():
    results = []
    for make in (lambda: nn.Sequential([nn.Dense(5, activation="tanh"), nn.ReLU(), nn.Dense(2)]), drawn, Own):
        cr.random.seed(7)
        model = make()
        results.append((model(X).numpy(), list(model.parameters())))
    for y, names in results[1:]:
        np.testing.assert_array_equal(y, results[0][0])
        assert names == results[0][1]
    assert drawn().parameters()["2.bias"].name == "2.bias"


def two_ways():
    a, b = nn.Input(4), nn.Input((3, 2))
    shared = nn.Dense(3, activation="relu")
    left, right = shared(a), shared(nn.Dense(4)(nn.Flatten()(b)))
    both = nn.Concatenate()([left + right, left * right])
    y, states = nn.Dense(2)(both), nn.LSTM(3)(b)
    return nn.Functional([a, b], {"y": y, "state": states, "gap": left - right})


B = np.random.default_rng(1).standard_normal((6, 3, 2)).astype("float32")


def test_any_graph_saves_and_loads(tmp_path):
    model = two_ways()
    expected = model(X, B)
    assert expected["y"].shape == (6, 2)
    assert len(model.layers) == 9
    again = nn.from_config(json.loads(json.dumps(nn.to_config(model))))
    assert list(again.variables()) == list(model.variables())
    cr.save(model, tmp_path / "model.safetensors")
    loaded = cr.load(tmp_path / "model.safetensors")
    run = cr.compile(lambda a, b: loaded([a, b]), backend="native")
    for found in (loaded(X, B), run(X, B)):
        for key in expected:
            np.testing.assert_allclose(found[key].numpy(), expected[key].numpy(), rtol=1e-5, atol=1e-6)


def test_functional_models_train_and_nest():
    inner = drawn()
    x = nn.Input(4)
    model = nn.Functional(x, nn.Dense(1)(inner(x)))
    cr.fit(model, (X, X[:, :1]), loss="mean_squared_error", optimizer="adam", epochs=3, progress=False)
    assert next(iter(model.parameters())) == "0.0.weight"
    assert "model[0][0] Dense" in model.summary()


def test_what_cannot_be_drawn():
    a, b = nn.Input(4), nn.Input(4)
    with pytest.raises(ArgumentError, match="not among the inputs"):
        nn.Functional(a, nn.Add()(a, b))
    with pytest.raises(ShapeError, match="do not fit"):
        drawn()(X[:, :3])
    with pytest.raises(ArgumentError, match="another symbol"):
        a + 1
    with pytest.raises(ArgumentError):
        nn.Input((None, 4))
    assert nn.Dense(3)(a).shape == (None, 3)
    with pytest.raises(ArgumentError, match="nested structure"):
        nn.LSTM(3, return_state=True)(nn.Input((5, 2)))


# ---- masks

def test_masks_travel_to_the_layers_that_take_them():
    ids = np.array([[3, 1, 2, 0, 0], [4, 0, 0, 0, 0]])

    def layers():
        return [nn.Embedding(9, 4, mask_id=0), nn.Dropout(0.1), nn.GRU(4, return_sequences=True),
                nn.MultiHeadAttention(2),
                nn.Bidirectional(nn.LSTM(3, return_sequences=True)), nn.GlobalAvgPool1D(), nn.Dense(2)]
    cr.random.seed(0)
    model = nn.Sequential(layers())
    y = model(ids).numpy()
    for i, n in enumerate((3, 1)):
        np.testing.assert_allclose(model(ids[i:i + 1, :n]).numpy()[0], y[i], rtol=1e-4, atol=1e-6)
    cr.random.seed(0)
    x = nn.Input(5, dtype="int64")
    h = x
    for layer in layers():
        h = layer(h)
    np.testing.assert_allclose(nn.Functional(x, h)(ids).numpy(), y, rtol=1e-5, atol=1e-6)


def test_masking_and_lengths():
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("float32")
    x[0, 2:] = 0
    model = nn.Sequential([nn.Masking(), nn.LSTM(5)])
    y = model(x).numpy()
    np.testing.assert_allclose(model[1](x, mask=nn.length_mask(np.array([2, 4]), 4)).numpy(), y)
    np.testing.assert_allclose(model[1](x[:1, :2]).numpy()[0], y[0], rtol=1e-5)
    pool = nn.GlobalMaxPool1D()(x, mask=nn.length_mask(np.array([2, 4]), 4)).numpy()
    np.testing.assert_array_equal(pool[0], x[0, :2].max(0))
