# SPDX-License-Identifier: Apache-2.0
"""Products of vectors and matrices, and what they are used for. Oracle: NumPy, SciPy, finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import linalg
from chainrule.testing import check_gradient

RNG = np.random.default_rng(11)
BROADCASTABLE = [((), (3,)), ((3,), (2, 1)), ((2, 3), (3,)), ((2, 1, 3), (4, 1)), ((1, 1), (2, 3)),
                 ((2, 3, 1, 2), (3, 4, 1)), ((0, 3), (1,)),
                 ((2, 1, 1, 3), (1, 4, 2, 1))]


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_a_long_dot_product_in_single_precision(backend) -> None:
    a, b = (RNG.uniform(0, 1, 10**6).astype("float32") for _ in range(2))
    exact = np.dot(a.astype(float), b.astype(float))
    for product in (linalg.vecdot, lambda a, b: a @ b, lambda a, b: cr.sum(a * b)):
        assert cr.compile(product, backend=backend)(a, b).item() == pytest.approx(exact, rel=1e-6)
    stacks = np.stack([a, b, a]), np.stack([b, b, a])
    wanted = np.einsum("ij,ij->i", *(x.astype(float) for x in stacks))
    for product in (linalg.vecdot, lambda x, y: cr.einsum("ij,ij->i", x, y)):
        np.testing.assert_allclose(cr.compile(product, backend=backend)(*stacks), wanted, rtol=1e-5)
    np.testing.assert_allclose(cr.compile(lambda x, y: x @ y, backend=backend)(stacks[0], b),
                               stacks[0].astype(float) @ b, rtol=1e-5)


@pytest.mark.parametrize(("a", "b"), [((4,), (4,)), ((2, 4), (4,)), ((3, 1, 4), (2, 4))])
def test_dot_products(a, b) -> None:
    x, y = RNG.normal(size=a), RNG.normal(size=b)
    np.testing.assert_allclose(linalg.vecdot(x, y), np.vecdot(x, y), rtol=1e-12)
    check_gradient(linalg.vecdot, x, y)


@pytest.mark.parametrize(("a", "b"), [pair for a, b in BROADCASTABLE for pair in ((a, b), (b, a))])
def test_hadamard_products(a, b) -> None:
    x, y = RNG.normal(size=a), RNG.normal(size=b)
    np.testing.assert_array_equal(cr.asarray(x) * cr.asarray(y), x * y)
    if x.size and y.size:
        check_gradient(lambda x, y: x * y, x, y)


@pytest.mark.parametrize(("a", "b"), [((3, 4), (4,)), ((4,), (4, 3)), ((2, 3, 4), (4,)), ((3, 4), (4, 5)),
                                      ((2, 1, 3, 4), (5, 4, 2)), ((0, 4), (4, 2)), ((3, 0), (0, 2))])
def test_matrix_products(a, b) -> None:
    x, y = RNG.normal(size=a), RNG.normal(size=b)
    np.testing.assert_allclose(cr.asarray(x) @ cr.asarray(y), x @ y, rtol=1e-12, atol=1e-14)
    if x.size and y.size:
        check_gradient(lambda x, y: x @ y, x, y)


def test_log_likelihood_of_an_invertible_layer() -> None:
    """x = A z + b with z standard normal has log p(x) = log p(z) - log |det A|, a Gaussian with covariance A A^T."""
    stats = pytest.importorskip("scipy.stats")
    a, b, x = RNG.normal(size=(4, 4)) + 2 * np.eye(4), RNG.normal(size=4), RNG.normal(size=(6, 4))
    def log_density(x, a, b):
        z = linalg.solve(a, (x - b).mT).mT
        return -0.5 * cr.sum(z * z, axis=-1) - 2 * np.log(2 * np.pi) - linalg.slogdet(a).logabsdet
    np.testing.assert_allclose(log_density(*map(cr.asarray, (x, a, b))),
                               stats.multivariate_normal(b, a @ a.T).logpdf(x), rtol=1e-10)
    check_gradient(log_density, x, a, b)


def test_regression_in_closed_form_is_where_gradient_descent_ends() -> None:
    x, noise = RNG.normal(size=(50, 3)), RNG.normal(size=50)
    y = x @ [1.0, -2.0, 0.5] + 0.1 * noise
    closed = linalg.lstsq(x, y).numpy()
    ridge = linalg.solve(cr.asarray(x.T @ x + 5 * np.eye(3)), cr.asarray(x.T @ y)).numpy()
    for penalty, wanted in ((0.0, closed), (5.0, ridge)):
        slope = cr.compile(cr.grad(lambda w, penalty=penalty: cr.sum((cr.asarray(x) @ w - y) ** 2) + penalty
                                   * cr.sum(w * w)))
        w = np.zeros(3)
        for _ in range(400):
            w = w - 0.005 * slope(w).numpy()
        np.testing.assert_allclose(w, wanted, atol=1e-6)


def test_truncated_svd_is_that_of_scipy() -> None:
    sparse = pytest.importorskip("scipy.sparse.linalg")
    a = RNG.normal(size=(12, 8))
    u, s, vh = map(np.asarray, linalg.svd(a, full_matrices=False))
    _, wanted, _ = sparse.svds(a, k=3)
    np.testing.assert_allclose(s[:3], np.sort(wanted)[::-1], rtol=1e-10)
    best = (u[:, :3] * s[:3]) @ vh[:3]
    others = [np.linalg.norm(a - RNG.normal(size=(12, 3)) @ RNG.normal(size=(3, 8))) for _ in range(10)]
    assert np.linalg.norm(a - best) == pytest.approx(np.sqrt((s[3:] ** 2).sum()))
    assert np.linalg.norm(a - best) < min(others)


def test_indexing_and_reshaping_are_differentiable() -> None:
    x = RNG.normal(size=(3, 4))
    for f in (lambda x: x.mT @ x, lambda x: cr.reshape(x, (2, 6)), lambda x: x[::-1, 1:3],
              lambda x: x[np.array([0, 2, 0])], lambda x: cr.concat([x, 2 * x], axis=1),
              lambda x: cr.stack([x[0], x[1]]), lambda x: 3 * x - x / 2):
        check_gradient(f, x)
