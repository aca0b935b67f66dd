# SPDX-License-Identifier: Apache-2.0
"""RMSprop about the mean of the gradients, where their variance vanishes."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import optim


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_gradient_has_no_variance_and_makes_no_nan(dtype: str) -> None:
    v, g = cr.Variable(np.zeros(3, dtype)), np.array([1.1, 0.3, 7.7], dtype)
    rule = optim.RMSprop(1e-4, centered=True)
    step = cr.compile(lambda: rule.update({"v": v}, {"v": cr.asarray(g)}))
    mean, variance, place = np.zeros(3), np.zeros(3), np.zeros(3)
    for _ in range(3000):
        step()
        variance = 0.99 * (variance + 0.01 * (g - mean) ** 2)
        mean = 0.99 * mean + 0.01 * g
        place -= 1e-4 * g / (np.sqrt(variance) + 1e-8)
    assert np.isfinite(np.asarray(v)).all()
    if dtype == "float64":  # in float32 the mean stops where its rounding begins
        np.testing.assert_allclose(v, place, rtol=1e-6)
