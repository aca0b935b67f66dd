# SPDX-License-Identifier: Apache-2.0
"""`chainrule.linalg`. Oracle: numpy.linalg; what is unique only up to signs is checked by what defines it."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import linalg
from chainrule.errors import ArgumentError, ShapeError
from chainrule.testing import check_gradient

RNG = np.random.default_rng(8)
SHAPES = [(3, 3), (5, 2), (2, 5), (2, 3, 4, 4), (1, 1), (2, 4, 3)]


def close(found, wanted, tolerance=1e-9) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), rtol=tolerance, atol=tolerance)


def matrices(*shape) -> np.ndarray:
    return RNG.normal(size=shape)


def positive(*shape) -> np.ndarray:
    a = matrices(*shape)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("full", [True, False])
def test_svd_rebuilds_the_matrix_from_orthonormal_vectors(shape, full) -> None:
    x = matrices(*shape)
    u, s, vh = map(np.asarray, linalg.svd(cr.asarray(x), full_matrices=full))
    assert [a.shape for a in (u, s, vh)] == [a.shape for a in np.linalg.svd(x, full_matrices=full)]
    k = s.shape[-1]
    close((u[..., :k] * s[..., None, :]) @ vh[..., :k, :], x)
    close(np.swapaxes(u, -1, -2) @ u, np.broadcast_to(np.eye(u.shape[-1]), (*shape[:-2], u.shape[-1], u.shape[-1])))
    close(vh @ np.swapaxes(vh, -1, -2),
          np.broadcast_to(np.eye(vh.shape[-2]), (*shape[:-2], vh.shape[-2], vh.shape[-2])))
    close(linalg.svdvals(cr.asarray(x)), s)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["reduced", "complete"])
def test_qr_rebuilds_the_matrix(shape, mode) -> None:
    x = matrices(*shape)
    q, r = map(np.asarray, linalg.qr(cr.asarray(x), mode=mode))
    assert [a.shape for a in (q, r)] == [a.shape for a in np.linalg.qr(x, mode=mode)]
    close(q @ r, x)
    close(np.swapaxes(q, -1, -2) @ q, np.broadcast_to(np.eye(q.shape[-1]), (*shape[:-2], q.shape[-1], q.shape[-1])))
    close(np.tril(r, -1), 0)


def test_cholesky_and_symmetric_eigenvalues() -> None:
    x = positive(2, 4, 4)
    close(linalg.cholesky(cr.asarray(x)), np.linalg.cholesky(x))
    close(linalg.cholesky(cr.asarray(x), upper=True), np.swapaxes(np.linalg.cholesky(x), -1, -2))
    w, v = linalg.eigh(cr.asarray(x))
    close(np.asarray(v) * np.asarray(w)[..., None, :] @ np.swapaxes(v, -1, -2), x)
    close(linalg.eigvalsh(cr.asarray(x)), np.linalg.eigvalsh(x))
    check_gradient(lambda a: linalg.cholesky(a @ a.mT + cr.eye(3, dtype=cr.float64)), matrices(3, 3))
    check_gradient(lambda a: linalg.eigvalsh(a + a.mT), matrices(4, 4))


def test_solving_and_determinants() -> None:
    a, b = matrices(2, 1, 4, 4), matrices(3, 4, 2)
    close(linalg.solve(cr.asarray(a), cr.asarray(b)), np.linalg.solve(a, b))
    close(linalg.solve(cr.asarray(a[0, 0]), cr.asarray(b[0, :, 0])), np.linalg.solve(a[0, 0], b[0, :, 0]))
    close(linalg.inv(cr.asarray(a)), np.linalg.inv(a))
    close(linalg.det(cr.asarray(a)), np.linalg.det(a))
    close(linalg.slogdet(cr.asarray(a)).logabsdet, np.linalg.slogdet(a).logabsdet)
    close(linalg.slogdet(cr.asarray(a)).sign, np.linalg.slogdet(a).sign)
    check_gradient(linalg.solve, a, b)
    check_gradient(linalg.det, matrices(3, 3))
    with pytest.raises(ShapeError, match="square"):
        linalg.inv(cr.zeros((2, 3)))


@pytest.mark.parametrize("shape", SHAPES)
def test_pseudo_inverse_and_rank(shape) -> None:
    x = matrices(*shape)
    close(linalg.pinv(cr.asarray(x)), np.linalg.pinv(x))
    x[..., 0] = 0
    np.testing.assert_array_equal(linalg.matrix_rank(cr.asarray(x)), np.linalg.matrix_rank(x))
    close(linalg.pinv(cr.asarray(x), rtol=1e-3), np.linalg.pinv(x, rcond=1e-3))
    check_gradient(linalg.pinv, matrices(4, 2))


@pytest.mark.parametrize("n", [-3, -1, 0, 1, 2, 5])
def test_powers(n) -> None:
    x = matrices(2, 3, 3)
    close(linalg.matrix_power(cr.asarray(x), n), np.linalg.matrix_power(x, n))


@pytest.mark.parametrize("offset", [-9, -2, -1, 0, 1, 2, 9])
@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (2, 3, 3), (0, 3), (1, 5)])
def test_diagonals(offset, shape) -> None:
    x = matrices(*shape)
    if offset < -shape[-2] or offset > shape[-1]:
        assert linalg.diagonal(cr.asarray(x), offset=offset).shape == (*shape[:-2], 0)
        return
    np.testing.assert_array_equal(linalg.diagonal(cr.asarray(x), offset=offset), np.linalg.diagonal(x, offset=offset))
    close(linalg.trace(cr.asarray(x), offset=offset), np.linalg.trace(x, offset=offset))


def test_diagonals_are_differentiable() -> None:
    check_gradient(lambda x: linalg.diagonal(x, offset=1), matrices(2, 3, 4))


def test_outer_and_cross() -> None:
    a, b = matrices(2, 3), matrices(4, 1, 3)
    close(linalg.outer(cr.asarray(a[0]), cr.asarray(b[0, 0])), np.outer(a[0], b[0, 0]))
    close(linalg.cross(cr.asarray(a), cr.asarray(b)), np.cross(a, b))
    close(linalg.cross(cr.asarray(a.T), cr.asarray(a.T), axis=0), np.cross(a.T, a.T, axis=0))
    check_gradient(linalg.cross, a, b)
    with pytest.raises(ShapeError, match="three"):
        linalg.cross(cr.zeros(2), cr.zeros(2))


@pytest.mark.parametrize("ord", [0, 1, 2, 3, 0.5, -1, math.inf, -math.inf])
@pytest.mark.parametrize("axis", [None, 1, (0, 2)])
def test_vector_norms(ord, axis) -> None:
    x = matrices(2, 3, 4)
    if axis == 1:
        close(linalg.vector_norm(cr.asarray(x), axis=axis, ord=ord), np.linalg.vector_norm(x, axis=axis, ord=ord))
    close(linalg.vector_norm(cr.asarray(x), axis=axis, ord=ord, keepdims=True),
          np.linalg.vector_norm(x, axis=axis, ord=ord, keepdims=True))


@pytest.mark.parametrize("ord", ["fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf])
def test_matrix_norms(ord) -> None:
    x = matrices(2, 3, 4)
    close(linalg.matrix_norm(cr.asarray(x), ord=ord), np.linalg.matrix_norm(x, ord=ord))
    close(linalg.matrix_norm(cr.asarray(x), ord=ord, keepdims=True), np.linalg.matrix_norm(x, ord=ord, keepdims=True))
    check_gradient(lambda x: linalg.matrix_norm(x, ord=ord), x)


def test_the_norm_of_zero_has_gradient_zero() -> None:
    np.testing.assert_array_equal(cr.grad(linalg.vector_norm)(np.zeros(3)), np.zeros(3))


def test_integers_become_float32() -> None:
    assert linalg.inv(cr.asarray([[2, 0], [0, 4]])).dtype == cr.float32


@pytest.mark.parametrize(("call", "word"), [
    (lambda: linalg.qr(cr.eye(2), mode="raw"), "mode"), (lambda: linalg.matrix_norm(cr.eye(2), ord=3), "norm"),
    (lambda: linalg.det(cr.ones(3)), "matrices"), (lambda: linalg.outer(cr.eye(2), cr.ones(2)), "vectors"),
    (lambda: linalg.diagonal(cr.ones(2)), "matrices"),
])
def test_what_does_not_fit_is_told(call, word) -> None:
    with pytest.raises((ArgumentError, ShapeError), match=word):
        call()
