# SPDX-License-Identifier: Apache-2.0
"""Gradients of matrix functions, also where textbook formulas divide by zero. Oracle: finite differences in float64."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import singular_matrices
from singular_matrices import C, loss, rebuilt, rebuilt_otherwise

import chainrule as cr
from chainrule import linalg
from chainrule.errors import DTypeError, ShapeError, TraceError
from chainrule.testing import check_gradient

RNG = np.random.default_rng(3)
RNG.normal(size=C.shape)  # the next ones are not those of C
with_singular_values = partial(singular_matrices.with_singular_values, rng=RNG)

HARD = {
    "distinct": with_singular_values(4, 3, [3, 2, 1]),
    "repeated": with_singular_values(4, 4, [2, 2, 1, 1]),
    "identity": np.eye(4),
    "one zero": with_singular_values(4, 4, [3, 2, 1, 0]),
    "repeated and zeros": with_singular_values(4, 4, [2, 2, 0, 0]),
    "the same, exact": np.diag([2.0, 2.0, 0.0, 0.0]),
    "nothing but zeros": np.zeros((3, 3)),
    "tall": with_singular_values(5, 3, [2, 2, 0]),
    "tall, two zeros": with_singular_values(5, 3, [1, 0, 0]),
    "tall, all equal": with_singular_values(5, 3, [2, 2, 2]),
    "wide": with_singular_values(3, 5, [2, 2, 0]),
    "almost repeated": with_singular_values(4, 4, [2, 2 + 3e-9, 1, 1 - 2e-7]),
}


def gram(x):
    u, s, _ = linalg.svd(x, full_matrices=False)
    return loss((u * s * s) @ u.mT)


def symmetric(x):
    w, v = linalg.eigh(x @ x.mT)
    return loss((v * w) @ v.mT)


def exponential(x):
    w, v = linalg.eigh(x @ x.mT)
    return loss((v * cr.exp(-w)) @ v.mT)


@pytest.mark.parametrize("function", [rebuilt, rebuilt_otherwise, gram, symmetric, exponential],
                         ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", HARD)
def test_what_does_not_depend_on_the_choice_of_vectors_has_its_gradient(name, function) -> None:
    check_gradient(function, HARD[name], order=1, rtol=1e-6)


@pytest.mark.parametrize("name", HARD)
def test_the_gradient_through_svd_is_the_gradient_without_it(name) -> None:
    x = HARD[name]
    direct, tolerance = cr.grad(loss)(x).numpy(), 1e-7 if name == "almost repeated" else 1e-9
    for function in (rebuilt, rebuilt_otherwise):
        np.testing.assert_allclose(cr.grad(function)(x), direct, rtol=tolerance, atol=tolerance)
    step = cr.compile(cr.grad(rebuilt), backend="native")
    np.testing.assert_allclose(step(cr.asarray(x)), direct, rtol=tolerance, atol=tolerance)


def test_batches_of_hard_matrices() -> None:
    x = np.stack([HARD["repeated"], HARD["one zero"], HARD["the same, exact"]])
    def both(x):
        u, s, vh = linalg.svd(x)
        return cr.sum(cr.sin((u * s[:, None, :]) @ vh) * np.arange(1.0, 4.0)[:, None, None])
    np.testing.assert_allclose(cr.grad(both)(x), np.cos(x) * np.arange(1.0, 4.0)[:, None, None], atol=1e-12)


def test_float32() -> None:
    for x in HARD.values():
        x = x.astype(np.float32)
        np.testing.assert_allclose(cr.grad(rebuilt)(x), cr.grad(loss)(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("name", "wanted"), [("square root", lambda w: 0.5 / np.sqrt(w)), ("polar", None)])
def test_functions_of_a_matrix_at_the_identity(name, wanted) -> None:
    """f(1 + t E) = f(1) + t f'(1) E for symmetric E; the polar factor of 1 + t E is 1 for symmetric E."""
    x = 4 * np.eye(3)
    def function(x):
        if wanted is None:
            u, _, vh = linalg.svd(x)
            return cr.sum(u @ vh * C[:3, :3])
        w, v = linalg.eigh(x)
        return cr.sum((v * cr.sqrt(w)) @ v.mT * C[:3, :3])
    g = cr.grad(function)(x).numpy()
    half = 0.5 * (C[:3, :3] + C[:3, :3].T)
    np.testing.assert_allclose(0.5 * (g + g.T), half * wanted(4.0) if wanted else 0 * half, atol=1e-12)


# ---- determinants

def adjugate(x: np.ndarray) -> np.ndarray:
    """Transposed cofactors, by minors."""
    n = len(x)
    minor = lambda i, j: np.linalg.det(np.delete(np.delete(x, i, 0), j, 1))
    return np.array([[(-1) ** (i + j) * minor(i, j) for i in range(n)] for j in range(n)])


SQUARE = {**{k: v for k, v in HARD.items() if v.shape[0] == v.shape[1]}, "1 x 1, zero": np.zeros((1, 1)),
          "nearly singular": with_singular_values(4, 4, [3, 2, 1, 1e-10]), "reflection": np.diag([1.0, 1.0, -1.0])}


@pytest.mark.parametrize("name", SQUARE)
def test_the_gradient_of_the_determinant_is_the_adjugate(name) -> None:
    x = SQUARE[name]
    np.testing.assert_allclose(cr.grad(linalg.det)(x), adjugate(x).T if x.size > 1 else [[1.0]], atol=1e-10)
    check_gradient(linalg.det, x, order=1)


@pytest.mark.parametrize("name", ["repeated", "one zero", "identity", "nearly singular", "reflection"])
def test_second_derivatives_of_the_determinant(name) -> None:
    check_gradient(linalg.det, SQUARE[name], order=2)


def test_determinants_of_batches_with_singular_members() -> None:
    x = np.stack([HARD["repeated"], HARD["one zero"], np.ones((4, 4))])
    np.testing.assert_allclose(cr.grad(lambda x: cr.sum(linalg.det(x)))(x), [adjugate(a).T for a in x], atol=1e-10)
    assert cr.grad(lambda x: cr.sum(linalg.det(x)))(np.zeros((2, 0, 0))).shape == (2, 0, 0)


def test_log_likelihood_of_a_gaussian() -> None:
    stats = pytest.importorskip("scipy.stats")
    a = RNG.normal(size=(4, 4))
    covariance, mean, x = a @ a.T + np.eye(4), RNG.normal(size=4), RNG.normal(size=(7, 4))
    def log_density(x, mean, covariance):
        d = x - mean
        squared = cr.sum(d * linalg.solve(covariance, d.mT).mT, axis=-1)
        return -0.5 * (squared + linalg.slogdet(covariance).logabsdet + 4 * np.log(2 * np.pi))
    found = log_density(*map(cr.asarray, (x, mean, covariance)))
    np.testing.assert_allclose(found, stats.multivariate_normal(mean, covariance).logpdf(x), rtol=1e-10)
    check_gradient(log_density, x, mean, covariance)


# ---- solving

def regular(*shape) -> np.ndarray:
    return RNG.normal(size=shape) + 3 * np.eye(shape[-1])


@pytest.mark.parametrize(("function", "arrays"), [
    (linalg.solve, (regular(2, 3, 3), RNG.normal(size=(3, 2)))), (linalg.inv, (regular(3, 3),)),
    (lambda x: linalg.slogdet(x).logabsdet, (regular(2, 3, 3),)), (linalg.pinv, (RNG.normal(size=(4, 2)),)),
    (linalg.pinv, (RNG.normal(size=(2, 2, 4)),)), (lambda x: linalg.pinv(x, rtol=1e-3), (RNG.normal(size=(3, 4)),)),
    (linalg.lstsq, (RNG.normal(size=(5, 3)), RNG.normal(size=5))),
    (linalg.lstsq, (RNG.normal(size=(2, 4)), RNG.normal(size=(2, 3)))),
    (lambda b, c: linalg.pinv(b @ c), (RNG.normal(size=(4, 2)), RNG.normal(size=(2, 3)))),
    (lambda b, c: linalg.lstsq(b @ c, np.arange(4.0)), (RNG.normal(size=(4, 1)), RNG.normal(size=(1, 3)))),
    (lambda x: linalg.cholesky(x @ x.mT + np.eye(3)), (RNG.normal(size=(3, 3)),)),
    (lambda x: linalg.qr(x).Q * linalg.qr(x).R, (RNG.normal(size=(3, 3)),)),
    (linalg.cond, (regular(3, 3),)), (lambda x: linalg.cond(x, ord="fro"), (regular(3, 3),)),
    (lambda x: linalg.matrix_power(x, 3), (regular(3, 3),)), (lambda x: linalg.matrix_power(x, -2), (regular(3, 3),)),
    (lambda x: linalg.matrix_norm(x, ord="nuc"), (RNG.normal(size=(3, 4)),)),
    (linalg.svdvals, (RNG.normal(size=(3, 4)),)),
])
def test_gradients_to_order_two(function, arrays) -> None:
    check_gradient(function, *arrays, order=2)


def test_least_squares_of_any_rank_is_numpys() -> None:
    for shape, rank in [((5, 3), 3), ((3, 5), 3), ((5, 4), 2), ((4, 4), 1), ((3, 3), 0)]:
        a = RNG.normal(size=(shape[0], rank)) @ RNG.normal(size=(rank, shape[1]))
        b = RNG.normal(size=(shape[0], 2))
        np.testing.assert_allclose(linalg.lstsq(a, b), np.linalg.lstsq(a, b, rcond=None)[0], atol=1e-10)
        np.testing.assert_allclose(linalg.lstsq(a, b[:, 0]), np.linalg.lstsq(a, b[:, 0], rcond=None)[0], atol=1e-10)
        np.testing.assert_allclose(linalg.pinv(a), np.linalg.pinv(a, rcond=1e-14), atol=1e-10)
    with pytest.raises(ShapeError, match="right-hand side"):
        linalg.lstsq(np.ones((3, 2)), np.ones(2))


def test_solve_of_a_hilbert_matrix_is_as_good_as_lapack() -> None:
    i = np.arange(8)
    a, b = 1 / (i[:, None] + i + 1.0), np.ones(8)
    found, lapack = linalg.solve(a, b).numpy(), np.linalg.solve(a, b)
    assert np.abs(a @ found - b).max() <= 2 * np.abs(a @ lapack - b).max() + 1e-12


def test_ridge_regression_in_closed_form() -> None:
    sklearn = pytest.importorskip("sklearn.linear_model")
    x, y = RNG.normal(size=(30, 4)), RNG.normal(size=30)
    found = linalg.solve(cr.asarray(x.T @ x + 0.7 * np.eye(4)), cr.asarray(x.T @ y))
    np.testing.assert_allclose(found, sklearn.Ridge(alpha=0.7, fit_intercept=False).fit(x, y).coef_, rtol=1e-9)


@pytest.mark.parametrize("ord", [2, "fro", 1])
def test_condition_numbers(ord) -> None:
    x = regular(2, 3, 3)
    np.testing.assert_allclose(linalg.cond(x, ord=ord), np.linalg.cond(x, p=ord), rtol=1e-10)


# ---- eigenvalues of matrices that are not symmetric

def similar(values) -> np.ndarray:
    v = regular(len(values), len(values))
    return v @ np.diag(values) @ np.linalg.inv(v)


def test_eig_of_real_spectra() -> None:
    x = np.stack([similar([3.0, -1.0, 0.5]), np.triu(RNG.normal(size=(3, 3)))])
    w, v = map(np.asarray, linalg.eig(x))
    np.testing.assert_allclose(x @ v, v * w[:, None, :], atol=1e-10)
    np.testing.assert_allclose(w, np.sort(np.linalg.eigvals(x), axis=-1), atol=1e-10)
    np.testing.assert_allclose(linalg.eigvals(x), w)


def test_gradients_of_eig() -> None:
    x = similar([3.0, -1.0, 0.5, 2.0])
    check_gradient(linalg.eigvals, x)
    check_gradient(lambda x: linalg.eig(x).eigenvectors ** 2, x)


def test_what_eig_refuses() -> None:
    with pytest.raises(DTypeError, match="complex"):
        linalg.eig(np.array([[0.0, 1.0], [-1.0, 0.0]]))
    with pytest.raises(TraceError, match="compiled"):
        cr.compile(linalg.eigvals)(cr.eye(2))
    with pytest.raises(ShapeError, match="square"):
        linalg.eig(np.ones((2, 3)))


# ---- what LAPACK refuses

@pytest.mark.parametrize("run", [lambda f: f, lambda f: cr.compile(f, backend="native")], ids=["eager", "native"])
@pytest.mark.parametrize(("call", "array", "words"), [
    (linalg.inv, np.ones((2, 2)), "singular matrix.*pinv"), (linalg.cholesky, -np.eye(2), "positive definite.*eigh"),
    (linalg.svd, np.full((2, 2), np.nan), "NaN or infinity"),
])
def test_failures_say_what_to_do(run, call, array, words) -> None:
    with pytest.raises(np.linalg.LinAlgError, match=f"(?s){words}"):
        run(call)(cr.asarray(array))


def test_the_gradient_of_the_upper_factor():
    a, w = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.2], [0.5, -0.2, 2.0]]), np.arange(9.0).reshape(3, 3) - 3
    g = np.asarray(cr.grad(lambda a: cr.sum(cr.linalg.cholesky(a, upper=True) * w))(a))
    for i, j in ((0, 0), (0, 1), (1, 2), (0, 2)):
        d = np.zeros((3, 3))
        d[i, j] = d[j, i] = 1e-6
        slope = ((np.linalg.cholesky(a + d) - np.linalg.cholesky(a - d)).T * w).sum() / 2e-6
        np.testing.assert_allclose(g[i, j] + (g[j, i] if i != j else 0), slope, rtol=1e-6)
