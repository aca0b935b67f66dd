# SPDX-License-Identifier: Apache-2.0
"""Losses of one's own that give one number for a batch: the number of all samples, for any batch size. Oracle: NumPy.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim, train
from chainrule.errors import ArgumentError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(50, 4)).astype("float32"), RNG.normal(size=(50, 1)).astype("float32")
Y[48] = 100.0
W = RNG.integers(0, 3, 50).astype("float32")
SIZES = [1, 7, 25, 49, 50, 64]


def linear():
    cr.random.seed(0)
    model = nn.Sequential([nn.Dense(1)])
    model(X[:1])
    return model


def mean(o, t):
    return cr.mean((o - t) ** 2)


def root(o, t):
    return cr.sqrt(cr.mean((o - t) ** 2))


def total(o, t):
    return cr.sum((o - t) ** 2)


def correlation(o, t):
    a, b = o - cr.mean(o), t - cr.mean(t)
    return -cr.sum(a * b) / cr.sqrt(cr.sum(a * a) * cr.sum(b * b))


def each(o, t):
    return cr.mean((o - t) ** 2, axis=-1)


EXPECTED = {mean: lambda o: np.mean((o - Y) ** 2), root: lambda o: np.sqrt(np.mean((o - Y) ** 2)),
            total: lambda o: np.sum((o - Y) ** 2),
            correlation: lambda o: -np.corrcoef(o[:, 0], Y[:, 0])[0, 1], each: lambda o: np.mean((o - Y) ** 2)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("loss", EXPECTED, ids=lambda f: f.__name__)
def test_evaluate_and_validation_are_exact_for_any_batch_size(loss, size):
    model = linear()
    expected = EXPECTED[loss](np.asarray(model(X)))
    assert cr.evaluate(model, (X, Y), loss=loss, batch_size=size)["loss"].value == pytest.approx(expected, rel=1e-4)
    history = cr.fit(model, (X, Y), loss=loss, optimizer=optim.SGD(0.0), batch_size=25 if loss is correlation else size,
                     validation=(X, Y), progress=False)
    assert history["validation_loss"][-1] == pytest.approx(expected, rel=1e-4)
    if loss in (mean, each):
        assert history["loss"][-1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("size", [7, 50])
def test_the_gradient_over_all_data_is_exact(size):
    model = linear()
    wanted = cr.gradients(root(model(X), Y), model)
    found = train.gradient(model, (X, Y), loss=root, batch_size=size)
    np.testing.assert_allclose(found["0.weight"], wanted["0.weight"], rtol=1e-4)


def test_values_of_samples_take_weights():
    model = linear()
    value = np.average((np.asarray(model(X)) - Y)[:, 0] ** 2, weights=W)
    for size in SIZES:
        assert cr.evaluate(model, (X, Y, W), loss=each, batch_size=size)["loss"].value == pytest.approx(value, rel=1e-4)


def test_what_needs_each_sample_is_refused():
    for call in (lambda: train.top_losses(linear(), (X, Y), loss=root),
                 lambda: losses.get(root)(X, X, reduction="none"),
                 lambda: losses.get(root)(X, X, mask=np.ones(50, bool))):
        with pytest.raises(ArgumentError, match=r"(?s)one number for a batch.*one value for each sample"):
            call()


def test_too_many_outputs_for_one_number(monkeypatch):
    monkeypatch.setattr(sys.modules["chainrule.train.evaluate"], "MOST_BYTES", 100)
    with pytest.raises(ArgumentError, match=r"(?s)too many for it.*GiB"):
        cr.evaluate(linear(), (X, Y), loss=mean, batch_size=10)
    cr.evaluate(linear(), (X, Y), loss=each, batch_size=10)
