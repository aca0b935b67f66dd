# SPDX-License-Identifier: Apache-2.0
"""Axes with names, and broadcasting that refuses to guess. Oracles: NumPy with the axes put in order by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import AxisError, ShapeError

RNG = np.random.default_rng(0)


def test_named_arrays_meet_by_name() -> None:
    a, b, c = RNG.normal(size=(3, 4)), RNG.normal(size=(4, 2)), RNG.normal(size=3)
    x, y, z = cr.named(a, "batch feature"), cr.named(b, ["feature", "unit"]), cr.named(c, "batch")
    np.testing.assert_allclose((x * y + 2).tensor("batch feature unit").numpy(), a[:, :, None] * b[None] + 2)
    np.testing.assert_allclose((1 - z / x).tensor("feature batch").numpy(), (1 - c[:, None] / a).T)
    np.testing.assert_allclose(x.dot(y, "feature").tensor("batch unit").numpy(), a @ b)
    np.testing.assert_allclose(x.dot(z, "batch").tensor("feature").numpy(), c @ a)
    np.testing.assert_allclose(x.dot(x, "feature").tensor("batch").numpy(), (a * a).sum(1))
    np.testing.assert_array_equal((x > z).tensor("batch feature").numpy(), a > c[:, None])
    normal = (x - x.mean("batch")) / x.std("batch")
    np.testing.assert_allclose(normal.tensor("batch feature").numpy(), (a - a.mean(0)) / a.std(0))
    assert (
        x.rename(feature="pixel").axes == ("batch", "pixel")
        and x.max().shape == ()
        and (-x).map(cr.tanh).axes == x.axes
    )
    assert repr(x) == "Named(batch 3, feature 4; float64)"


def test_the_order_of_the_axes_never_matters() -> None:
    a, b = RNG.normal(size=(2, 3, 4)), RNG.normal(size=(4, 3, 5))
    wanted = np.einsum("abc,cbd->abd", a, b)
    for p, q in itertools.product(itertools.permutations(range(3)), repeat=2):
        x = cr.named(a.transpose(p), ["abc"[i] for i in p])
        y = cr.named(b.transpose(q), ["cbd"[i] for i in q])
        np.testing.assert_allclose(x.dot(y, "c").tensor("a b d").numpy(), wanted)


def test_names_are_transparent_to_derivatives_and_compilation() -> None:
    def loss(a: cr.Tensor, b: cr.Tensor) -> cr.Tensor:
        x, w = cr.named(a, "batch feature"), cr.named(b, "unit feature")
        return x.dot(w, "feature").map(cr.tanh).mean().tensor("")
    a, b = RNG.normal(size=(5, 3)), RNG.normal(size=(2, 3))
    plain = lambda a, b: cr.mean(cr.tanh(a @ b.mT))
    np.testing.assert_allclose(cr.grad(loss, 1)(a, b).numpy(), cr.grad(plain, 1)(a, b).numpy())
    np.testing.assert_allclose(cr.compile(loss)(a, b).numpy(), plain(a, b).numpy(), rtol=1e-12)


def test_what_does_not_meet_is_told() -> None:
    x, y = cr.named(np.ones((3, 4)), "batch feature"), cr.named(np.ones(3), "feature")
    for call, kind, words in ((lambda: x + y, ShapeError, "different extents along 'feature'"),
                              (lambda: x + np.ones(4), ShapeError, "give it names"),
                              (lambda: np.ones(4) * x, ShapeError, "give it names"),
                              (lambda: x.sum("featrue"), AxisError, "did you mean 'feature'"),
                              (lambda: x.tensor("batch"), AxisError, "name each axis once"),
                              (lambda: cr.named(np.ones((2, 2)), "a a"), ShapeError, "different names"),
                              (lambda: x.map(cr.sum), ShapeError, "not elementwise")):
        with pytest.raises(kind, match=words):
            call()


def test_strict_broadcasting() -> None:
    column, row, matrix = np.ones((3, 1)), np.ones(3), np.ones((3, 3))
    assert (cr.asarray(column) - row).shape == (3, 3)  # what everybody has done once
    with cr.strict_broadcasting():
        for call in (lambda: cr.asarray(column) - row, lambda: cr.asarray(matrix) + row,
                     lambda: cr.where(cr.asarray(row) > 0, matrix, 0.0)):
            with pytest.raises(ShapeError, match="different numbers of axes"):
                call()
        assert (cr.asarray(matrix) * 2 + cr.asarray(column)).shape == (3, 3)
        assert (cr.asarray(matrix) + cr.asarray(2.0)).shape == (3, 3)
        assert (cr.asarray(matrix) + cr.broadcast_to(row, (3, 3))).shape == (3, 3)
        assert cr.nn.Dense(2)(np.ones((4, 3), np.float32)).shape == (4, 2)  # layers know what they do
        with pytest.raises(ShapeError, match="different numbers of axes"):
            cr.compile(lambda a, b: a + b)(column, row)
    assert (cr.asarray(column) - row).shape == (3, 3)


def test_losses_refuse_to_broadcast() -> None:
    outputs, targets = np.zeros((4, 1), np.float32), np.zeros(4, np.float32)
    for name in ("mean_squared_error", "mean_absolute_error", "huber", "binary_cross_entropy"):
        with pytest.raises(ShapeError) as caught:
            cr.losses.get(name)(outputs, targets)
        assert "fix" in str(caught.value)
