# SPDX-License-Identifier: Apache-2.0
"""How derivatives and matrix functions are called: keyword arguments, several arguments at once, and what wrong calls
are told."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import distributions, linalg
from chainrule.errors import ArgumentError, BoundsError, ShapeError

X, Y = np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0])


def test_keyword_arguments_are_constants() -> None:
    def loss(x, *, scale=1.0):
        return scale * cr.sum(x * x)
    np.testing.assert_array_equal(cr.grad(loss)(X, scale=3.0), 6 * X)
    np.testing.assert_array_equal(cr.value_and_grad(loss)(X, scale=2.0)[1], 4 * X)
    np.testing.assert_array_equal(cr.hessian(loss)(X, scale=2.0), 4 * np.eye(2))
    np.testing.assert_array_equal(cr.jacobian(lambda x, power: x**power)(X, power=2), np.diag(2 * X))


@pytest.mark.parametrize("run", [lambda f: f, lambda f: cr.compile(f, backend="reference")], ids=["eager", "compiled"])
def test_jacobians_with_respect_to_several_arguments(run) -> None:
    def outer(x, y):
        return x[:, None] * y
    by_x, by_y = run(cr.jacobian(outer, (0, 1)))(cr.asarray(X), cr.asarray(Y))
    np.testing.assert_array_equal(by_x, np.einsum("ik,j->ijk", np.eye(2), Y))
    np.testing.assert_array_equal(by_y, np.einsum("i,jk->ijk", X, np.eye(3)))
    (alone,) = cr.jacobian(outer, (1,))(X, Y)
    np.testing.assert_array_equal(alone, by_y)
    scalar = cr.jacobian(lambda x, y: cr.sum(x) * cr.sum(y), (0, 1))(X, Y)
    assert [j.shape for j in scalar] == [(2,), (3,)]
    nothing = cr.jacobian(lambda x, y: x[:0] * 1.0, (0, 1))(X, Y)
    assert [j.shape for j in nothing] == [(0, 2), (0, 3)]


def test_arguments_counted_from_the_last() -> None:
    function = lambda x, y, z: cr.sum(x * y**2) + cr.sum(z**3)
    np.testing.assert_array_equal(cr.grad(function, argnums=-1)(X, X, Y), 3 * Y**2)
    first, last = cr.grad(function, argnums=(0, -1))(X, X, Y)
    np.testing.assert_array_equal(first, X**2)
    np.testing.assert_array_equal(last, 3 * Y**2)


@pytest.mark.parametrize(("call", "error", "words"), [
    (lambda: cr.grad(lambda x: cr.sum(x), argnums=2)(X), ArgumentError, "argnums=2 of 1"),
    (lambda: cr.grad(lambda x: cr.sum(x), argnums=-2)(X), ArgumentError, "argnums=-2 of 1"),
    (lambda: cr.grad(3.0), ArgumentError, "got +float"),
    (lambda: cr.jacobian(cr.asarray(X)), ArgumentError, "a function"),
    (lambda: cr.hessian(cr.sum, (0, 1)), ArgumentError, "one argument"),
    (lambda: cr.jvp(lambda x: x * x, (X,), (Y,)), ShapeError, r"tangents.*\(3,\).*\(2,\)"),
    (lambda: cr.integrate(3, 0, 1), ArgumentError, "lambda"),
    (lambda: distributions.expectation(lambda x: x, 3), ArgumentError, "a distribution"),
    (lambda: linalg.solve(np.eye(3), np.ones(4)), ShapeError, r"\(3, 3\) and \(4,\)"),
    (lambda: linalg.solve(np.ones((3, 2)), np.ones(3)), ShapeError, "lstsq"),
    (lambda: linalg.inv(np.ones((3, 2))), ShapeError, "pinv"),
    (lambda: linalg.det(np.ones(3)), ShapeError, r"x\[:, None\]"),
    (lambda: linalg.matrix_power(np.eye(2), 0.5), ArgumentError, "whole number"),
    (lambda: linalg.matrix_power(np.ones((2, 3)), 2), ShapeError, "square"),
    (lambda: linalg.vector_norm(X, ord="fro"), ArgumentError, "matrix_norm"),
    (lambda: cr.PCA(1).fit(np.array([[1.0, 2.0], [np.nan, 0.0], [0.0, 1.0]])), BoundsError,
     r"nan at position \(1, 0\)"),
    (lambda: cr.einsum("ij,jk->ik", np.ones((2, 3)), np.ones((4, 2))), ShapeError, "3 and 4"),
])
def test_what_does_not_fit_is_told(call, error, words) -> None:
    with pytest.raises(error, match=f"(?s){words}"):
        call()


def test_matrices_without_elements_have_gradients() -> None:
    for shape in ((0, 3), (3, 0), (0, 0), (2, 0, 3)):
        assert cr.grad(lambda x: cr.sum(linalg.svd(x, full_matrices=False).S))(np.ones(shape)).shape == shape
        assert cr.grad(lambda x: cr.sum(linalg.svdvals(x)))(np.ones(shape)).shape == shape
        assert cr.grad(lambda x: cr.sum(linalg.pinv(x)))(np.ones(shape)).shape == shape
