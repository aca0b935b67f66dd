# SPDX-License-Identifier: Apache-2.0
"""Variance and normalisation of float32 numbers with a large mean. Oracle: float64 on the same float32 numbers.

Near 1e8 float32 knows multiples of 8 only, so numbers with mean 1e8 and variance 1 do not exist: they are all 1e8, and
their variance is 0. What the numbers hold is kept: the variance to 1e-4, the mean to its rounding.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

CASES = {"1e8 ± 1, all equal": (1e8, 1), "1e8 ± 24": (1e8, 24), "1e8 ± 1000": (1e8, 1000), "1e7 ± 3": (1e7, 3),
         "1e6 ± 1": (1e6, 1), "1e5 ± 1": (1e5, 1), "1e4 ± 1": (1e4, 1),
         "-1e6 ± 1": (-1e6, 1)}
BACKENDS = ["eager", "reference", "native", "xla"]


def drawn(name: str) -> np.ndarray:
    mean, std = CASES[name]
    return (mean + std * np.random.default_rng(0).normal(size=(500, 6))).astype(np.float32)


def run(backend: str, function, x: np.ndarray) -> np.ndarray:
    if backend == "xla":
        pytest.importorskip("jax")
    return (function if backend == "eager" else cr.compile(function, backend=backend))(cr.asarray(x)).numpy()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
def test_variance(name, backend) -> None:
    x = drawn(name)
    if name == "1e8 ± 1, all equal":
        assert (x == x[0, 0]).all()
    for axis, correction in ((0, 0), (1, 0), (0, 1), (None, 0)):
        found = run(backend, lambda x, a=axis, c=correction: cr.var(x, axis=a, correction=c), x)
        np.testing.assert_allclose(found, x.astype(float).var(axis=axis, ddof=correction), rtol=1e-4)
    np.testing.assert_allclose(run(backend, lambda x: cr.std(x, axis=0), x), x.astype(float).std(axis=0), rtol=1e-4)


LAYERS = {"batch": (nn.BatchNorm, 0), "layer": (nn.LayerNorm, 1), "group": (lambda: nn.GroupNorm(1), 1)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", LAYERS)
def test_normalisation(kind, name, backend) -> None:
    (make, axis), x = LAYERS[kind], drawn(name)
    layer, exact = make(), x.astype(float)
    layer(x)
    found = run(backend, (lambda x: layer(x, training=True)) if kind == "batch" else layer, x)
    d = exact - exact.mean(axis=axis, keepdims=True)
    deviation = np.sqrt((d * d).mean(axis=axis, keepdims=True) + 1e-5)
    rounding = np.spacing(np.abs(x).max()) / 2 if d.any() else 0.0
    assert (np.abs(found - d / deviation) <= 1e-4 + 1.01 * rounding / deviation).all()
    if name == "1e4 ± 1" and kind == "batch":
        np.testing.assert_allclose(found, d / deviation, atol=1e-3)


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_running_variance_of_batch_norm(backend) -> None:
    x, layer = drawn("1e6 ± 1"), nn.BatchNorm(momentum=0.0)
    layer(x)
    run(backend, lambda x: layer(x, training=True), x)
    np.testing.assert_allclose(layer.running_variance.numpy(), x.astype(float).var(axis=0, ddof=1), rtol=1e-4)


def test_the_derivatives_are_those_of_the_formula() -> None:
    """Also of second order at zero variance, where the Hessian is 2/n (1 - 1/n)."""
    for x in (np.random.default_rng(1).normal(size=5), np.full(5, 3.0)):
        h = cr.hessian(lambda x: cr.var(x))(x).numpy()
        np.testing.assert_allclose(h, 2 / 5 * (np.eye(5) - 1 / 5), atol=1e-12)
        np.testing.assert_allclose(cr.grad(lambda x: cr.var(x, correction=1))(x), 2 / 4 * (x - x.mean()), atol=1e-12)
