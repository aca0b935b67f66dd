# SPDX-License-Identifier: Apache-2.0
"""Products with Hessians and their largest eigenvalues. Oracle: dense Hessians and numpy.linalg.eigh."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import curvature, losses, nn, optim
from chainrule.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 6)).astype("float32"), RNG.integers(0, 4, 40)


@pytest.fixture(scope="module")
def trained():
    cr.random.seed(1)
    model = nn.Sequential([nn.Dense(16, activation="tanh", input_shape=(6,)), nn.Dense(4)])
    optimizer = optim.SGD(0.5)
    loss = lambda: losses.cross_entropy(model(X), Y)
    @cr.compile
    def step():
        value = loss()
        optimizer.update(model, cr.gradients(value, model))
        return value
    for _ in range(60):
        step()
    dense = curvature.hessian(loss, model)
    return model, loss, dense


def test_sharpness_is_the_largest_eigenvalue_of_the_dense_hessian(trained) -> None:
    model, loss, dense = trained
    assert dense.shape == (180, 180)
    np.testing.assert_allclose(dense, dense.T, atol=1e-6)
    values = np.linalg.eigvalsh(dense)[::-1]
    assert curvature.sharpness(loss, model) == pytest.approx(values[0], rel=1e-4)
    np.testing.assert_allclose(curvature.spectrum(loss, model, 4).values, values[:4], rtol=1e-4)
    product = curvature.hessian_vector_product(loss, model)
    value, vector = curvature.power_iteration(product, 180, tolerance=1e-4)
    assert value == pytest.approx(values[0], rel=1e-4)
    assert np.linalg.norm(product(vector) - value * vector) < 1e-3


def test_the_dense_hessian_is_that_of_torch(trained) -> None:
    torch = pytest.importorskip("torch")
    model, _, dense = trained
    arrays = [torch.tensor(v.numpy(), dtype=torch.float64) for v in model.parameters().values()]
    sizes = [a.numel() for a in arrays]
    def loss(flat):
        w1, b1, w2, b2 = (part.reshape(a.shape) for part, a in zip(flat.split(sizes), arrays, strict=True))
        hidden = torch.tanh(torch.tensor(X, dtype=torch.float64) @ w1 + b1)
        return torch.nn.functional.cross_entropy(hidden @ w2 + b2, torch.tensor(Y))
    wanted = torch.autograd.functional.hessian(loss, torch.cat([a.ravel() for a in arrays])).numpy()
    np.testing.assert_allclose(dense, wanted, atol=2e-6)


def test_the_product_reads_the_weights_anew() -> None:
    w = cr.Variable(np.array([1.0, 2.0]))
    product = curvature.hessian_vector_product(lambda: cr.sum(w.value**3), [w])
    np.testing.assert_allclose(product(np.ones(2)), [6.0, 12.0])
    w.assign(np.array([3.0, 0.0]))
    np.testing.assert_allclose(product(np.ones(2)), [18.0, 0.0])


@pytest.mark.parametrize("k", [1, 3, 30])
def test_lanczos_on_a_matrix(k) -> None:
    a = RNG.normal(size=(30, 30))
    a = a + a.T
    found = curvature.lanczos(lambda v: a @ v, 30, k, tolerance=1e-12)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(a)[::-1][:k], atol=1e-9)
    np.testing.assert_allclose(a @ found.vectors, found.vectors * found.values, atol=1e-8)


def test_degenerate_matrices() -> None:
    assert curvature.lanczos(lambda v: 0 * v, 5).values == pytest.approx([0.0])
    assert curvature.lanczos(lambda v: 2 * v, 5).values == pytest.approx([2.0])
    assert curvature.lanczos(lambda v: -np.arange(1.0, 6.0) * v, 5).values == pytest.approx([-1.0])
    assert curvature.power_iteration(lambda v: -np.arange(1.0, 6.0) * v, 5)[0] == pytest.approx(-5.0)
    with pytest.raises(ArgumentError, match="so many"):
        curvature.lanczos(lambda v: v, 3, 4)


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ArgumentError, match="not built yet"):
        curvature.sharpness(lambda: cr.asarray(0.0), nn.Dense(3))
    with pytest.raises(ArgumentError, match="Variables"):
        curvature.sharpness(lambda: cr.asarray(0.0), [cr.ones(3)])
    w = cr.Variable(np.ones(2))
    with pytest.raises(ShapeError, match="vector"):
        curvature.hessian_vector_product(lambda: cr.sum(w.value**2), w)(np.ones(3))


# ---- cr.hvp

def test_hvp_is_the_hessian_times_the_vector() -> None:
    a = RNG.normal(size=(4, 4))
    function = lambda x: cr.sum(cr.exp(x @ a) * cr.sin(x))
    x, v = RNG.normal(size=4), RNG.normal(size=4)
    np.testing.assert_allclose(cr.hvp(function, (x,), (v,))[0], cr.hessian(function)(x).numpy() @ v, rtol=1e-12)
    np.testing.assert_allclose(cr.compile(lambda x, v: cr.hvp(function, (x,), (v,))[0])(x, v),
                               cr.hessian(function)(x).numpy() @ v, rtol=1e-10)


def test_hvp_of_several_arguments_and_structures() -> None:
    function = lambda p, y: cr.sum(p["a"] ** 2 * y) + cr.sum(p["b"]) ** 3
    p = {"a": np.array([1.0, 2.0]), "b": np.array([0.5])}
    v = {"a": np.array([1.0, 0.0]), "b": np.array([2.0])}
    found, other = cr.hvp(function, (p, np.array([3.0, 4.0])), (v, np.array([0.0, 1.0])))
    np.testing.assert_allclose(found["a"], [6.0, 4.0])
    np.testing.assert_allclose(found["b"], [6.0])
    np.testing.assert_allclose(other, [2.0, 0.0])
    with pytest.raises(ShapeError, match="look like"):
        cr.hvp(lambda x: cr.sum(x * x), (np.ones(3),), (np.ones(2),))


def test_forward_over_reverse_is_reverse_over_reverse() -> None:
    function = lambda x: cr.sum(cr.tanh(x) * cr.exp(x[::-1]))
    x, v = RNG.normal(size=5), RNG.normal(size=5)
    np.testing.assert_allclose(cr.jvp(cr.grad(function), (x,), (v,))[1], cr.hvp(function, (x,), (v,))[0], rtol=1e-12)
