# SPDX-License-Identifier: Apache-2.0
"""Functions made of primitives against the formulas of NumPy and SciPy, their derivatives, and the compiled programs.
"""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from tables.sentences import ROWS, Sentence

import chainrule as cr
from chainrule.ops import compose as c
from chainrule.ops import reduce as r
from chainrule.testing import available, check_gradient, compare_backends


def arguments(name: str, row: Sentence, dtype: str = "float64") -> list[np.ndarray]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [rng.uniform(row.low, row.high, row.shape).astype(dtype) for _ in range(row.arity)]


@pytest.mark.parametrize("name", ROWS)
def test_the_value_is_the_formula(name: str) -> None:
    row = ROWS[name]
    values = arguments(name, row)
    found = row.function(*map(cr.asarray, values))
    np.testing.assert_allclose(found, row.oracle(*values), rtol=row.rtol, atol=1e-13 if row.rtol else 0)
    assert found.dtype == np.float64


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.corners])
def test_corners_are_right_and_float32_keeps_its_range(name: str) -> None:
    row = ROWS[name]
    grid = [x.reshape(-1) for x in np.meshgrid(*[np.array(row.corners)] * row.arity)]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(row.function(*map(cr.asarray, grid)), row.oracle(*grid), rtol=1e-9, atol=1e-300)
        narrow = [x.astype("float32") for x in grid]
        found = row.function(*map(cr.asarray, narrow))
        assert found.dtype == np.float32
        wanted = row.oracle(*(x.astype(np.float64) for x in narrow)).astype("float32")
        near_overflow = np.isinf(wanted) & ~np.isinf(sum(narrow))
        np.testing.assert_allclose(found.numpy()[~near_overflow], wanted[~near_overflow], rtol=2e-5, atol=1e-37)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.order])
def test_derivatives_agree_with_finite_differences(name: str) -> None:
    check_gradient(ROWS[name].function, *arguments(name, ROWS[name]), order=ROWS[name].order, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["native", "xla"])
def test_compiled_programs_give_the_same(backend: str) -> None:
    if not available(backend):
        pytest.skip(f"the {backend} backend is not available here")
    # its mean of 1e6 is too much for float32
    rows = {name: row for name, row in ROWS.items() if name != "var correction"}

    def everything(*tensors: cr.Tensor) -> list[cr.Tensor]:
        rest = iter(tensors)
        return [row.function(*(next(rest) for _ in range(row.arity))) for row in rows.values()]
    values = [x for name, row in rows.items() for x in arguments(name, row, "float32")]
    compare_backends(everything, *values, backends=[backend], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.order and row.corners])
def test_gradients_in_the_tails_are_finite(name: str) -> None:
    """Where the function is finite and smooth, so is its gradient: no 0 * inf inside."""
    row = ROWS[name]
    with np.errstate(all="ignore"):
        points = [x for x in (-1000.0, -88.0, -30.0, 30.0, 88.0, 1000.0)
                  if np.isfinite(row.oracle(*[np.float64(x)] * row.arity))]
    for x in points:
        g = cr.grad(row.function, tuple(range(row.arity)))(*[cr.asarray(np.float64(x))] * row.arity)
        assert all(np.isfinite(part.numpy()).all() for part in g), x


# ---- reductions of nothing, of integers, of truth

def test_reductions_of_no_elements() -> None:
    x = cr.asarray(np.zeros((0, 3), "float32"))
    assert r.sum(x, axis=0).tolist() == [0, 0, 0] and r.prod(x, axis=0).tolist() == [1, 1, 1]
    assert (
        np.isnan(r.mean(x, axis=0).numpy()).all()
        and r.any(x, axis=0).tolist() == [False] * 3
        and r.all(x, axis=0).tolist() == [True] * 3
    )
    assert r.prod(cr.asarray(np.zeros((0, 3))),
                  axis=1).shape == (0,) and r.prod(cr.asarray(np.zeros((3, 0))), axis=0).shape == (0,)
    with pytest.raises(cr.errors.ArgumentError, match="do not exist"):
        r.max(x, axis=0)


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int32", "uint32", "int64"])
def test_integers_are_added_up_in_64_bits(dtype: str) -> None:
    x = np.full((5, 100), 1).astype(dtype)
    x[0] = 100 if dtype != "bool" else 1
    assert r.sum(cr.asarray(x)).item() == int(x.astype(object).sum())
    assert r.sum(cr.asarray(x)).dtype == (np.uint64 if np.dtype(dtype).kind == "u" else np.int64)
    np.testing.assert_array_equal(r.cumulative_sum(cr.asarray(x), axis=1), np.cumsum(x, axis=1))


def test_logic_and_classes_of_numbers() -> None:
    x = np.array([0.0, -0.0, 1.5, np.inf, -np.inf, np.nan])
    for name in ("isnan", "isinf", "isfinite"):
        np.testing.assert_array_equal(getattr(c, name)(x), getattr(np, name)(x))
        np.testing.assert_array_equal(getattr(c, name)(np.arange(3)), getattr(np, name)(np.arange(3)))
    a, b = np.array([0, 1, 2, 0]), np.array([0.0, 0.0, 3.0, np.nan])
    for name in ("logical_and", "logical_or", "logical_xor"):
        np.testing.assert_array_equal(getattr(c, name)(a, b), getattr(np, name)(a, b))
    np.testing.assert_array_equal(c.logical_not(a), np.logical_not(a))
    for name in ("not_equal", "greater", "greater_equal"):
        np.testing.assert_array_equal(getattr(c, name)(x, 0.0), getattr(np, name)(x, 0.0))


def test_one_hot() -> None:
    labels = np.array([[0, 2], [1, 1]])
    np.testing.assert_array_equal(c.one_hot(labels, 3), np.eye(3)[labels])
    assert c.one_hot(labels.astype("uint8"), 3).dtype == np.float32


MATRICES = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((2, 3), (5, 3, 4)),
            ((5, 1, 2, 3), (6, 3, 4)),
            ((3,), (5, 3, 4)), ((5, 2, 3), (3,)), ((0, 3), (3, 4)), ((2, 0), (0, 4)), ((1, 2, 3), (7, 3, 1))]


@pytest.mark.parametrize(("a", "b"), MATRICES)
def test_matrix_products_follow_numpy(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(a), rng.standard_normal(b)
    np.testing.assert_allclose(c.matmul(x, y), np.matmul(x, y), rtol=1e-12)
    if x.size and y.size:
        check_gradient(c.matmul, x, y, order=2)


def test_joining_follows_numpy() -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.arange(6, 12).reshape(2, 3)
    np.testing.assert_array_equal(c.concat([a, b], axis=-1), np.concatenate([a, b], axis=-1))
    np.testing.assert_array_equal(c.concat([a, b], axis=None), np.concatenate([a, b], axis=None))
    for axis in (0, 1, 2, -1, -3):
        np.testing.assert_array_equal(c.stack([a, b], axis=axis), np.stack([a, b], axis=axis))
    check_gradient(lambda x: c.stack([x, x * x, c.concat([x[:, :1], x[:, 1:]], axis=1)], axis=1), a, order=2)
