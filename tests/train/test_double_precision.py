# SPDX-License-Identifier: Apache-2.0
"""Models that compute in float64 are trained, measured and looked at in float64. Oracle: PyTorch, and the model itself.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, train

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((50, 3)), RNG.standard_normal((50, 1))
LOSS = "mean_squared_error"


def network() -> nn.Sequential:
    return nn.Sequential([nn.Dense(4, activation="tanh", dtype="float64"), nn.Dense(1, dtype="float64")])


def test_fit_goes_the_way_of_pytorch():
    torch = pytest.importorskip("torch")
    model = network()
    model(X)
    w1, b1, w2, b2 = (torch.tensor(p.numpy().copy(), requires_grad=True) for p in model.parameters().values())
    cr.fit(model, (X, Y), loss=LOSS, optimizer=optim.Adam(1e-2), epochs=25, batch_size=16, shuffle=False,
           progress=False)
    optimizer = torch.optim.Adam([w1, b1, w2, b2], 1e-2)
    for _ in range(25):
        for start in range(0, 50, 16):
            x, y = torch.tensor(X[start:start + 16]), torch.tensor(Y[start:start + 16])
            optimizer.zero_grad()
            ((torch.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2).mean().backward()
            optimizer.step()
    np.testing.assert_allclose(model.parameters()["0.weight"].numpy(), w1.detach().numpy(), rtol=1e-10, atol=1e-12)


def test_what_measures_and_looks_takes_float64_too():
    model = network()
    outputs = model(X).numpy()
    predicted = cr.predict(model, X).numpy()
    assert predicted.dtype == np.float64
    np.testing.assert_allclose(predicted, outputs, rtol=1e-14)
    assert float(cr.evaluate(model, (X, Y), loss=LOSS)["loss"]) == pytest.approx(((outputs - Y) ** 2).mean(), rel=1e-12)
    losses = ((outputs - Y) ** 2)[:, 0]
    assert train.top_losses(model, (X, Y), loss=LOSS).indices[0] == losses.argmax()
    gradient = cr.gradients(cr.losses.mean_squared_error(model(X), Y), model)["0.weight"]
    np.testing.assert_allclose(train.gradient(model, (X, Y), loss=LOSS)["0.weight"], gradient, rtol=1e-12)
    assert model.features(X).dtype == np.float64
    assert train.gradient_report(model, (X, Y), loss=LOSS)
    cr.diagnose(model, (X, Y), loss=LOSS)
    assert train.cross_validate(network, (X, Y), loss=LOSS, parts=2)
    assert train.lr_find(network(), (X, Y), loss=LOSS).suggestion > 0
