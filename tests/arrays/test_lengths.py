# SPDX-License-Identifier: Apache-2.0
"""Lengths, norms and cosines over the whole range of a dtype, and their subgradients at 0."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim

SCALES = {"float32": (1e-45, 1e-40, 1e-30, 1e-20, 1.0, 1e19, 1e30, 1e37),
          "float64": (1e-318, 1e-300, 1e-200, 1.0, 1e200, 1e307)}
ORDERS = (0.5, 1, 1.5, 2, 3, 8, -1, -2, math.inf, -math.inf)
CASES = [(dtype, scale) for dtype, scales in SCALES.items() for scale in scales]


def tolerance(dtype: str, scale: float) -> float:
    """Subnormal numbers have fewer digits."""
    return 3e-6 if scale > 1e4 * np.finfo(dtype).tiny else 0.5


@pytest.mark.parametrize(("dtype", "scale"), CASES)
@pytest.mark.parametrize("order", ORDERS)
def test_a_norm_scales_with_its_vector(dtype: str, scale: float, order: float) -> None:
    x = np.array([[1, 2, -2], [2, -1, 2]], dtype)
    expected = np.linalg.norm(x.astype("float64"), ord=order, axis=-1)
    norm = lambda x: cr.linalg.vector_norm(x, ord=order, axis=-1)
    for function in (norm, cr.compile(norm)) if order in (2, 3) else (norm,):
        got = np.asarray(function(x * np.asarray(scale, dtype))).astype("float64")
        np.testing.assert_allclose(got / float(np.asarray(scale, dtype)), expected, rtol=tolerance(dtype, scale),
                                   atol=0.0 if scale > 1e-44 else 0.6)


@pytest.mark.parametrize(("dtype", "scale"), CASES)
def test_the_gradient_of_a_length_is_a_direction(dtype: str, scale: float) -> None:
    x = np.array([3, -4, 12], dtype) / 4
    got = np.asarray(cr.grad(cr.linalg.vector_norm)(x * np.asarray(scale, dtype)))
    np.testing.assert_allclose(got, np.array([3, -4, 12]) / 13, rtol=tolerance(dtype, scale))


@pytest.mark.parametrize("order", ORDERS)
def test_the_subgradient_at_zero_is_zero(order: float) -> None:
    gradient = np.asarray(cr.grad(lambda x: cr.linalg.vector_norm(x, ord=order))(np.zeros(3)))
    np.testing.assert_array_equal(gradient, np.zeros(3))
    assert np.isfinite(
        np.asarray(cr.grad(lambda x: cr.linalg.vector_norm(x, ord=order))(np.array([0.0, 1.0, -2.0])))
    ).all()


@pytest.mark.parametrize("scale", [1e-25, 1e-10, 1.0, 1e10, 1e20, 1e38])
def test_unit_vectors_and_cosines(scale: float) -> None:
    a, b = np.float32([[1, 2, 3]]) * np.float32(scale), np.float32([[1, 2, 3.1]]) * np.float32(scale)
    np.testing.assert_allclose(nn.UnitNorm(1e-30)(a), np.float32([[1, 2, 3]]) / np.sqrt(np.float32(14)), rtol=1e-6)
    np.testing.assert_allclose(losses.cosine_distance(a, b, epsilon=1e-30), 0.00012219, rtol=2e-3)


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1.0), ("float32", 1e19), ("float32", 5e37),
                                              ("float64", 1e200)])
@pytest.mark.parametrize("compiled", [False, True])
def test_gradients_are_clipped_however_long(dtype: str, scale: float, compiled: bool) -> None:
    v, w = cr.Variable(np.array([3, 4], dtype)), cr.Variable(np.array([1], dtype))
    rule = optim.SGD(1.0, clip_norm=1.0)
    step = lambda g, h: rule.update({"v": v, "w": w}, {"v": g, "w": h})
    (cr.compile(step) if compiled else step)(np.array([3, 4], dtype) * np.asarray(scale, dtype), np.array([0], dtype))
    np.testing.assert_allclose(np.array([3, 4]) - np.asarray(v), [0.6, 0.8], rtol=1e-5)
