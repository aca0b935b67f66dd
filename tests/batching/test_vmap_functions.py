# SPDX-License-Identifier: Apache-2.0
"""Functions built from the primitives under `vmap`: matrices, positions, densities, derivatives. Oracle: a loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tables.sentences import ROWS

import chainrule as cr
from chainrule import distributions as d
from chainrule import linalg, nn
from chainrule.foundations import tree

RNG = np.random.default_rng(0)
A, V = RNG.normal(size=(4, 3, 3)), RNG.normal(size=(4, 3))
S = A @ A.transpose(0, 2, 1) + np.eye(3)
I = RNG.integers(0, 3, (4, 2))

# fmt: off
CASES: dict[str, tuple[Callable[..., Any], tuple[np.ndarray, ...]]] = {
    **{name: (getattr(linalg, name), (S,)) for name in
       ("det", "inv", "pinv", "slogdet", "matrix_norm", "svdvals", "eigvalsh", "cholesky", "trace")},
    "solve":        (linalg.solve, (A, V)),
    "matrix power": (lambda a: linalg.matrix_power(a, 3), (A,)),
    "outer":        (lambda v: linalg.outer(v, v), (V,)),
    "einsum":       (lambda a, v: cr.einsum("ij,j->i", a, v), (A, V)),
    "slices":       (lambda a: a[1:, ::-1], (A,)),
    "rows":         (lambda a, i: a[i], (A, I)),
    "along":        (lambda a, i: cr.take_along_axis(a, i[None], axis=1), (A, I)),
    "searchsorted": (lambda a, v: cr.searchsorted(cr.sort(a), v), (V, V + 0.1)),
    "largest two":  (lambda v: cr.sort(v, descending=True)[:2], (V,)),
    "products":     (cr.cumulative_prod, (V,)),
    "differences":  (cr.diff, (V,)),
    "triangle":     (cr.tril, (A,)),
    "roll":         (lambda v: cr.roll(v, 1), (V,)),
    "repeat":       (lambda v: cr.repeat(v, 2), (V,)),
    "trapezoid":    (cr.trapezoid, (V,)),
    "normal":       (lambda m, x: d.Normal(m, 1.0).log_prob(x), (V, V + 1)),
    "normal vectors": (lambda m, c, x: d.MultivariateNormal(m, c).log_prob(x), (V, S, V + 1)),
    "divergence":   (lambda m: d.Normal(m, 1.0).kl(d.Normal(0.0, 2.0)), (V,)),
    "gamma":        (lambda m: d.Gamma(cr.exp(m), 1.0).log_prob(2.0), (V,)),
    "hvp":          (lambda x: cr.hvp(lambda v: cr.sum(cr.sin(v) ** 2), (x,), (x,))[0], (V,)),
    "vjp":          (lambda x: cr.vjp(cr.tanh, x)[1](x)[0], (V,)),
}
# fmt: on


@pytest.mark.parametrize("name", CASES)
def test_a_mapped_function_is_a_loop(name: str) -> None:
    function, arrays = CASES[name]
    found = tree.flatten(cr.vmap(function)(*arrays))[0]
    loop = [tree.flatten(function(*(cr.asarray(x[i]) for x in arrays)))[0] for i in range(4)]
    for k, value in enumerate(found):
        np.testing.assert_allclose(value.numpy(), np.stack([row[k].numpy() for row in loop]), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ROWS)
def test_a_mapped_sentence_is_a_loop(name: str) -> None:
    """Every function of the table of those that are composed; also its gradient."""
    row, rng = ROWS[name], np.random.default_rng(3)
    arrays = [rng.uniform(row.low, row.high, (4, *row.shape)) for _ in range(row.arity)]
    found = cr.vmap(row.function)(*arrays)
    np.testing.assert_array_equal(found, np.stack([row.function(*(cr.asarray(x[i]) for x in arrays)).numpy()
                                                   for i in range(4)]))
    if row.order:
        slope = cr.grad(lambda *xs: cr.sum(row.function(*xs)))
        np.testing.assert_allclose(cr.vmap(slope)(*arrays),
                                   np.stack([slope(*(cr.asarray(x[i]) for x in arrays)).numpy() for i in range(4)]),
                                   rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", sorted(nn.activations.FUNCTIONS))
def test_a_mapped_activation_is_a_loop(name: str) -> None:
    function, x = nn.activations.get(name), RNG.normal(size=(4, 3, 6))
    np.testing.assert_allclose(cr.vmap(function)(x), np.stack([function(cr.asarray(row)).numpy() for row in x]),
                               rtol=1e-14)


def test_samples() -> None:
    """Each example draws its own: of the shape that one example asks for."""
    drawn = cr.vmap(lambda m: d.Normal(m, 1.0).rsample((2,)))(V)
    assert drawn.shape == (4, 2, 3)
    assert cr.vmap(lambda m: d.Gamma(cr.exp(m), 1.0).sample((2,)))(V).shape == (4, 2, 3)
    assert cr.vmap(lambda m: d.Categorical(logits=m).sample((5,)))(V).shape == (4, 5)
    orders = cr.vmap(lambda v: cr.random.permutation(20))(V).numpy()
    assert all(sorted(order) == list(range(20)) for order in orders) and len({order.tobytes() for order in orders}) == 4
    slope = cr.vmap(cr.grad(lambda m: cr.sum(d.Normal(m, 1.0).rsample((2,)))))(V).numpy()
    np.testing.assert_allclose(slope, 2.0)
