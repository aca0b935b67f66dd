# SPDX-License-Identifier: Apache-2.0
"""Dropout's chance: the mean is kept, the bits are those of the seed on every backend, and recomputation draws the same
mask."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

X = np.random.default_rng(0).normal(size=(64, 50)).astype(np.float32)


def layer(seed=3, rate=0.4):
    cr.random.seed(seed)
    made = nn.Dropout(rate)
    made(X, training=True)
    made.random.seed(seed)
    return made


def test_the_mean_is_kept_within_three_deviations():
    kept = layer()(np.ones((400, 1000), np.float32), training=True).numpy()
    deviation = np.sqrt(0.4 / 0.6 / kept.size)
    assert abs(kept.mean() - 1) < 3 * deviation
    assert set(np.unique(kept)) == {np.float32(0), np.float32(1) * np.float32(1 / 0.6)}
    np.testing.assert_array_equal(layer()(X, training=False).numpy(), X)


@pytest.mark.parametrize("backend", ["reference", "native", "xla"])
def test_the_same_seed_drops_the_same_on_every_backend(backend):
    if backend == "xla":
        pytest.importorskip("jax")
    expected = layer()(X, training=True).numpy()
    made = layer()
    run = cr.compile(lambda x: made(x, training=True), backend=backend)
    np.testing.assert_array_equal(run(X).numpy(), expected)
    assert not np.array_equal(run(X).numpy(), expected)  # the next draw is another


@pytest.mark.parametrize("compiled", [False, True])
def test_recomputed_activations_drop_the_same(compiled):
    def gradient(remember):
        made = layer()
        inner = lambda w, x: cr.tanh(made(x @ w, training=True))
        run = inner if remember else cr.checkpoint(inner)
        slope = cr.grad(lambda w, x: cr.sum(run(w, x) ** 2))
        slope = cr.compile(slope, backend="reference") if compiled else slope
        return slope(np.eye(50, dtype=np.float32), X).numpy()
    np.testing.assert_allclose(gradient(True), gradient(False), rtol=1e-6, atol=1e-6)


def test_recomputed_normalisation_moves_its_statistics_once():
    def statistics(remember):
        norm = nn.BatchNorm()
        norm(X)
        run = (
            (lambda w, x: norm(x @ w, training=True))
            if remember
            else cr.checkpoint(lambda w, x: norm(x @ w, training=True))
        )
        g = cr.grad(lambda w, x: cr.sum(run(w, x) ** 3))(np.eye(50, dtype=np.float32), X).numpy()
        return g, *(v.numpy() for v in norm.variables().values())
    for a, b in zip(statistics(True), statistics(False), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
