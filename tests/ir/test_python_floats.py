# SPDX-License-Identifier: Apache-2.0
"""A Python float keeps its digits where the computation is float64. Oracle: closed forms, NumPy's float64."""

from __future__ import annotations

import numpy as np

import chainrule as cr


def test_limits_of_integrals() -> None:
    for a, b in ((0, 0.1), (0.1, 0.7), (0.7, 0.1)):
        assert abs(float(cr.integrate(lambda x: 1 + 0 * x, a, b)) - (b - a)) < 1e-14


def test_parameters_of_random_numbers_in_float64() -> None:
    def draws(low, high, mean, std):
        cr.random.seed(3)
        return (cr.random.uniform(5, low, high, dtype="float64"), cr.random.normal(5, mean, std, dtype="float64"),
                cr.random.exponential(5, std, dtype="float64"))
    for a, b in zip(draws(0.1, 0.3, 0.1, 0.7), draws(*map(np.float64, (0.1, 0.3, 0.1, 0.7))), strict=True):
        np.testing.assert_array_equal(a, b)
