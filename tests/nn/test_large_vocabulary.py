# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy by chunks is cross-entropy: values and gradients, with less memory."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses
from chainrule.errors import ArgumentError, BoundsError, ShapeError
from chainrule.train.largest_batch import bytes_of

GENERATOR = np.random.default_rng(0)
X, W, B = (GENERATOR.normal(size=shape).astype(np.float32) for shape in ((6, 7, 8), (8, 50), (50,)))
LABELS = GENERATOR.integers(0, 50, (6, 7))


@pytest.mark.parametrize("backend", [None, "reference", "native", "xla"])
@pytest.mark.parametrize("ignored", [None, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_chunks_are_the_whole(backend, ignored, bias):
    if backend == "xla":
        pytest.importorskip("jax")
    y = np.where(GENERATOR.random((6, 7)) < 0.3, 3, LABELS)
    parts = (X, W, B) if bias else (X, W)

    def fused(*arrays):
        return losses.linear_cross_entropy(arrays, y, chunk=5, ignore_label=ignored)

    def plain(x, w, *b):
        return losses.cross_entropy(x @ w + b[0] if b else x @ w, y, ignore_label=ignored)
    found, expected = (cr.value_and_grad(f, argnums=tuple(range(len(parts)))) for f in (fused, plain))
    found = found if backend is None else cr.compile(found, backend=backend)
    (value, grads), (other, others) = found(*map(cr.asarray, parts)), expected(*map(cr.asarray, parts))
    assert value.item() == pytest.approx(other.item(), rel=1e-5)
    for a, b in zip(grads, others, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)


def test_the_logits_are_never_there_at_once():
    x, w, y = np.zeros((2048, 16), np.float32), np.zeros((16, 4000), np.float32), np.zeros(2048, np.int64)
    run = [cr.compile(cr.grad(f, argnums=1), backend="native").lower(x, w) for f in
           (lambda x, w: losses.linear_cross_entropy((x, w), y, chunk=128),
            lambda x, w: losses.cross_entropy(x @ w, y))]
    assert bytes_of(run[0]) < 0.35 * bytes_of(run[1])


def test_mistakes_are_told():
    with pytest.raises(ShapeError, match="do not fit"):
        losses.linear_cross_entropy((X, W), LABELS[:3])
    with pytest.raises(ArgumentError, match="at least one row"):
        losses.linear_cross_entropy((X, W), LABELS, chunk=0)
    with pytest.raises(BoundsError, match="50"):
        losses.linear_cross_entropy((X, W), np.full((6, 7), 50))
    with pytest.raises(ShapeError, match="x, weight, bias"):
        losses.linear_cross_entropy(X, LABELS)
