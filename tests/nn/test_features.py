# SPDX-License-Identifier: Apache-2.0
"""Results of hidden layers: equal to those by hand; a linear probe on them finds what the network has learnt."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.errors import ArgumentError

X = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)


def test_features_are_those_by_hand():
    model = nn.Sequential([nn.Dense(8, activation="relu"), nn.Residual([nn.Dense(8), nn.Tanh()]), nn.Dropout(0.5),
                           nn.Dense(3)])
    model(X[:1])
    w, b = (model.parameters()[name].numpy() for name in ("0.weight", "0.bias"))
    first = np.maximum(X @ w + b, 0)
    np.testing.assert_allclose(model.features(X, 0, batch_size=7), first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.features(X, "0"), first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.features(X, model[0]), first, rtol=1e-5, atol=1e-6)
    hidden = model.features(X, layer=1)
    np.testing.assert_allclose(hidden, model[1](first).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.features(X), hidden, rtol=1e-6)  # Dropout does nothing in inference
    np.testing.assert_allclose(model.features(X, -1), model(X).numpy(), rtol=1e-5, atol=1e-6)
    assert model.features(X[:0]).shape == (0, 8)


def test_one_and_many_examples_give_the_same():
    for model, x in ((cr.models.mlp(3, (8,)), X), (cr.models.cnn(4, (12, 12, 1)),
                                                   np.random.default_rng(1).random((9, 12, 12, 1)).astype(np.float32)),
                     (nn.Sequential([nn.LSTM(5), nn.Dense(2)]), X.reshape(30, 3, 2)),
                     (nn.Sequential([nn.Dense(8), nn.BatchNorm(), nn.Dense(2)]), X)):
        for backend in ("reference", "native"):
            whole = cr.predict(model, x, backend=backend).numpy()
            single = np.concatenate([cr.predict(model, x[i:i + 1], backend=backend).numpy() for i in range(len(x))])
            np.testing.assert_allclose(whole, single, rtol=1e-5, atol=1e-6)


def test_mistakes_about_layers_are_told():
    model = nn.Sequential([nn.Dense(3)])
    with pytest.raises(ArgumentError, match="no such layer"):
        model.features(X, "0.bodi")
    with pytest.raises(ArgumentError, match="no hidden layer"):
        model.features(X)


@pytest.mark.slow
def test_a_linear_probe_on_the_penultimate_layer_of_a_network_that_knows_digits(shared_data):
    linear_model = pytest.importorskip("sklearn.linear_model")
    images = cr.data.load(shared_data / "mnist")
    x, x_test = (part.astype(np.float32) / 255 for part in (images.x_train[:20000], images.x_test))
    model = cr.models.cnn(10, (28, 28, 1))
    cr.fit(model, (x, images.y_train[:20000]), loss="cross_entropy", optimizer=optim.Adam(1e-3), epochs=3,
           batch_size=64, progress=False)
    probe = linear_model.LogisticRegression(max_iter=300).fit(model.features(x[:5000]), images.y_train[:5000])
    assert probe.score(model.features(x_test), images.y_test) >= 0.98
