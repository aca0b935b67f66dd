# SPDX-License-Identifier: Apache-2.0
"""Second derivatives of functions of singular values, where values are repeated or zero. Oracle: the same function
without them."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from singular_matrices import C, loss, rebuilt, rebuilt_otherwise, with_singular_values

import chainrule as cr
from chainrule import linalg
from chainrule.testing import check_gradient

RNG = np.random.default_rng(3)
RNG.normal(size=C.shape)  # the next ones are not those of C
of_values = partial(with_singular_values, rng=RNG)

MATRICES = {
    "distinct": of_values(4, 3, [3, 2, 1]), "repeated": of_values(4, 4, [2, 2, 1, 1]), "identity": np.eye(4),
    "one zero": of_values(4, 4, [3, 2, 1, 0]), "three zeros": of_values(5, 5, [2, 1, 0, 0, 0]),
    "repeated and zeros": of_values(4, 4, [2, 2, 0, 0]), "exact zeros": np.diag([2.0, 2.0, 0.0, 0.0]),
    "all zeros": np.zeros((3, 3)), "all zeros, tall": np.zeros((4, 2)), "a vector of zeros": np.zeros((3, 1)),
    "a number": np.zeros((1, 1)),
    "tall": of_values(5, 3, [2, 2, 0]), "tall, one zero": of_values(5, 3, [3, 2, 0]),
    "tall, two zeros": of_values(5, 3, [1, 0, 0]),
    "tall, equal": of_values(5, 3, [2, 2, 2]), "tall, exact zero": np.diag([2.0, 2.0, 0.0, 0.0])[:, :3],
    "wide": of_values(3, 5, [2, 2, 0]),
    "wide, one zero": of_values(3, 5, [3, 2, 0]), "wide, two zeros": of_values(3, 5, [2, 0, 0]),
    "almost zero": of_values(4, 4, [2, 1, 1e-10, 3e-11]),
}


def squares(x):
    return cr.sum(linalg.svdvals(x) ** 2)


def logarithms(x):
    return cr.sum(cr.log1p(linalg.svd(x).S ** 2))


def log_determinant(x):
    return linalg.slogdet(np.eye(x.shape[1]) + x.mT @ x).logabsdet


def gram(x):
    u, s, _ = linalg.svd(x, full_matrices=False)
    return loss((u * s * s) @ u.mT)


def cube(x):
    u, s, vh = linalg.svd(x, full_matrices=False)
    return loss((u * s ** 3) @ vh)


def penalised(x):
    u, s, vh = linalg.svd(x, full_matrices=False)
    return loss((u * s) @ vh) + cr.sum(s * s)


DIRECT = {rebuilt: loss, rebuilt_otherwise: loss, squares: lambda x: cr.sum(x * x), logarithms: log_determinant,
          gram: lambda x: loss(x @ x.mT), cube: lambda x: loss(x @ x.mT @ x),
          penalised: lambda x: loss(x) + cr.sum(x * x)}


def second(function, x: np.ndarray) -> np.ndarray:
    """The Hessian times a direction."""
    direction = np.random.default_rng(1).normal(size=x.shape)
    return cr.grad(lambda x: cr.sum(cr.grad(function)(x) * direction))(x).numpy()


@pytest.mark.parametrize("function", [rebuilt, rebuilt_otherwise, squares, logarithms], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", MATRICES)
def test_repeated_and_zero_values(name, function) -> None:
    x = MATRICES[name]
    np.testing.assert_allclose(second(function, x), second(DIRECT[function], x), rtol=1e-8, atol=1e-8)
    compiled = cr.compile(lambda x: cr.grad(lambda x: cr.sum(cr.grad(function)(x) * x))(x), backend="reference")
    direct = cr.grad(lambda x: cr.sum(cr.grad(DIRECT[function])(x) * x))(x)
    np.testing.assert_allclose(compiled(x), direct, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("function", [gram, cube], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", ["distinct", "one zero", "three zeros", "tall, one zero", "tall, two zeros",
                                  "all zeros"])
def test_zeros_of_other_functions(name, function) -> None:
    x = MATRICES[name]
    np.testing.assert_allclose(second(function, x), second(DIRECT[function], x), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", MATRICES)
def test_a_loss_of_the_product_and_of_the_values(name) -> None:
    x = MATRICES[name]
    np.testing.assert_allclose(cr.grad(penalised)(x), cr.grad(DIRECT[penalised])(x), rtol=1e-8, atol=1e-8)


def test_in_single_precision() -> None:
    for x in (value.astype("float32") for value in MATRICES.values()):
        np.testing.assert_allclose(second(rebuilt, x), second(loss, x), rtol=2e-3, atol=2e-3)


def test_batches() -> None:
    x = np.stack([MATRICES[name] for name in ("repeated", "one zero", "exact zeros", "almost zero")])
    def batch(x):
        u, s, vh = linalg.svd(x)
        return cr.sum(cr.sin((u * s[:, None, :]) @ vh))
    np.testing.assert_allclose(second(batch, x), second(lambda x: cr.sum(cr.sin(x)), x), atol=1e-10)


@pytest.mark.parametrize("name", ["repeated", "identity", "distinct", "tall, equal"])
def test_the_nuclear_norm(name) -> None:
    check_gradient(lambda x: linalg.matrix_norm(x, ord="nuc"), MATRICES[name], order=2)


@pytest.mark.parametrize("name", MATRICES)
def test_the_nuclear_norm_has_finite_derivatives_where_it_has_a_corner(name) -> None:
    """A subgradient W of the norm has no singular value above 1, and <W, x> is the norm."""
    x = MATRICES[name]
    nuclear = lambda x: linalg.matrix_norm(x, ord="nuc")
    g = cr.grad(nuclear)(x).numpy()
    assert np.linalg.svd(g, compute_uv=False).max() <= 1 + 1e-12
    assert (g * x).sum() == pytest.approx(nuclear(x).item(), abs=1e-9)
    assert np.isfinite(second(nuclear, x)).all()


@pytest.mark.parametrize("name", ["repeated", "identity", "distinct", "tall, equal", "one zero", "wide, two zeros",
                                  "tall, two zeros"])
def test_the_pseudo_inverse_among_matrices_of_its_rank(name) -> None:
    x = MATRICES[name]
    rank = int(linalg.matrix_rank(x, rtol=1e-8).item())
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    check_gradient(lambda b, c: linalg.pinv(b @ c), u[:, :rank] * s[:rank], vh[:rank], order=2, rtol=1e-5)


@pytest.mark.parametrize("name", ["repeated", "identity"])
def test_the_logarithm_of_the_determinant(name) -> None:
    check_gradient(lambda x: linalg.slogdet(x).logabsdet, MATRICES[name], order=2)


def eigen(x):
    w, v = linalg.eigh(x @ x.mT)
    return loss((v * w) @ v.mT)


@pytest.mark.parametrize("name", MATRICES)
def test_eigenvectors(name) -> None:
    x = MATRICES[name]
    np.testing.assert_allclose(second(eigen, x), second(DIRECT[gram], x), rtol=1e-8, atol=1e-8)


SQUARE = [name for name, x in MATRICES.items() if x.shape[0] == x.shape[1]]


@pytest.mark.parametrize("name", [*SQUARE, "two by two of zeros"])
def test_determinants_of_any_rank(name) -> None:
    """Oracle: the sum over permutations."""
    x = MATRICES.get(name, np.zeros((2, 2)))
    np.testing.assert_allclose(second(linalg.det, x), second(by_minors, x), rtol=1e-8, atol=1e-8)


def by_minors(x):
    """The determinant by its first row."""
    n = x.shape[0]
    if n == 1:
        return x[0, 0]
    columns = [[k for k in range(n) if k != j] for j in range(n)]
    return sum(((-1) ** j * x[0, j] * by_minors(cr.take(x[1:], np.array(columns[j]), axis=1)) for j in range(n)),
               cr.asarray(0.0, dtype="float64"))
