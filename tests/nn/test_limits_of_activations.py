# SPDX-License-Identifier: Apache-2.0
"""Activations where numbers are large, small or special, on every backend; whole models the same on every backend."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import models, nn
from chainrule.testing import check_gradient

BACKENDS = ("reference", "native", "xla")


def on(backend, function, *arrays):
    if backend == "xla":
        pytest.importorskip("jax")
    return cr.compile(function, backend=backend)(*arrays).numpy()


@pytest.mark.parametrize("backend", BACKENDS)
def test_sigmoid_does_not_overflow_and_its_logarithm_is_exact(backend):
    x = np.array([-1e4, -100, -1, 0, 1, 100, 1e4], np.float32)
    with np.errstate(under="ignore"):
        y = on(backend, cr.sigmoid, x)
        expected = np.where(x > 0, 1 / (1 + np.exp(-np.abs(x.astype(np.float64)))),
                            1 - 1 / (1 + np.exp(-np.abs(x.astype(np.float64)))))
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-38)
    z = on(backend, nn.activations.get("log_sigmoid"), x)
    assert z[1] == np.float32(-100) and z[0] == np.float32(-1e4) and z[-1] == 0
    assert z[3] == pytest.approx(-math.log(2), rel=1e-7)


@pytest.mark.parametrize("backend", BACKENDS)
def test_tanh_is_within_two_units_in_the_last_place(backend):
    x = np.concatenate([np.linspace(-20, 20, 40001), np.geomspace(1e-30, 1, 500),
                        [np.inf, -np.inf, np.nan]]).astype(np.float32)
    y, exact = on(backend, cr.tanh, x), np.tanh(x.astype(np.float64))
    known = ~np.isnan(exact)
    ulps = np.abs(y[known] - exact[known]) / np.spacing(np.abs(exact[known]).astype(np.float32))
    limit = 2 if backend != "xla" else 8
    assert ulps.max() <= limit
    assert np.abs(y[known] - exact[known]).max() <= 1e-7 * (limit / 2)
    assert y[0] == -1 and y[40000] == 1 and np.isnan(y[-1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_softmax_sums_to_one_and_does_not_see_shifts(backend):
    x = np.random.default_rng(0).normal(size=(40, 9)).astype(np.float32) * 5
    y = on(backend, lambda t: cr.softmax(t, axis=-1), x)
    np.testing.assert_allclose(y.sum(-1), 1, atol=1e-6)
    whole = np.round(x)  # so that adding 10,000 rounds nothing
    np.testing.assert_allclose(on(backend, lambda t: cr.softmax(t, axis=0), whole + np.float32(1e4)),
                               on(backend, lambda t: cr.softmax(t, axis=0), whole), atol=1e-7)


@pytest.mark.parametrize("slope", [0.01, 0.2, 1.0])
def test_slopes_of_leaky_relu(slope):
    torch = pytest.importorskip("torch")
    x = np.linspace(-50, 50, 401)
    np.testing.assert_allclose(nn.LeakyReLU(slope)(x).numpy(),
                               torch.nn.functional.leaky_relu(torch.tensor(x), slope).numpy(), rtol=1e-12)


def test_the_slope_of_prelu_is_learnt():
    x = np.random.default_rng(0).normal(size=(12, 5)) + 0.01
    check_gradient(lambda x, a: cr.sum(cr.where(x > 0, x, a * x) ** 2), x, np.full(5, 0.25))
    layer = nn.PReLU(dtype="float64")
    layer(x)
    found = cr.gradients(cr.sum(layer(x) ** 2), layer)["weight"].numpy()
    np.testing.assert_allclose(found, (2 * 0.25 * np.minimum(x, 0) ** 2).sum(0), rtol=1e-10)


ZOO = {
    "mlp": (lambda: models.mlp(3, (16, 8)), (6,)), "cnn": (lambda: models.cnn(4, (12, 12, 1)), (12, 12, 1)),
    "lenet": (lambda: models.lenet5(10), (28, 28, 1)),
    "residual": (lambda: models.resnet_cifar(8, 5), (16, 16, 3)),
    "lstm": (lambda: nn.Sequential([nn.LSTM(8), nn.Dense(3)]), (7, 4)),
    "vgg": (lambda: models.vgg(4, (16, 16, 3), (8, 12), 1), (16, 16, 3)),
    "clip": (lambda: models.clip_network(3, (4, 6)), (4, 8, 8, 3)),
    "gpt": (lambda: models.gpt(11, 8, 16, 2, 2), (8, "words")),
    "llama": (lambda: models.llama(11, 8, 16, 2, 2), (8, "words")),
    "bert": (lambda: models.BERT(11, 8, 16, 2, 2), (8, "words")),
    "classifier": (lambda: models.sequence_classifier(3, 11, 8, 6), (7, "words")),
    "tagger": (lambda: models.sequence_tagger(3, 11, 8, 6, kind="lstm", both_ways=True), (7, "words")),
    "attention": (lambda: nn.Sequential([nn.Dense(8), nn.TransformerEncoderLayer(2, 16), nn.GlobalAvgPool1D(),
                                         nn.Dense(3)]), (6, 5)),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ZOO)
def test_a_model_compiled_is_the_model(name, backend):
    make, shape = ZOO[name]
    model, rng = make(), np.random.default_rng(0)
    x = rng.integers(1, 11, (3, shape[0])) if shape[-1] == "words" else rng.normal(size=(3, *shape)).astype(np.float32)

    def run(t):
        y = model(t)
        return y[0] if isinstance(y, tuple) else y
    eager = run(x).numpy()
    np.testing.assert_allclose(on(backend, run, x), eager, rtol=1e-4, atol=1e-5)
    compiled = cr.compile(run, backend=backend)
    np.testing.assert_allclose(np.concatenate([compiled(x[i:i + 1]).numpy() for i in range(3)]), eager, rtol=1e-4,
                               atol=1e-5)
