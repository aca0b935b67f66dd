# SPDX-License-Identifier: Apache-2.0
"""What `integrate`, `trapezoid` and `simpson` cannot use is refused with our own errors, argument by argument."""

from __future__ import annotations

import math

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ChainruleError

NO_NUMBER = ["x", [0.1, "x"], [[1.0], [1.0, 2.0]], object(), 1j, {}, b"1", np.array([object()]),
             np.ones(2, "complex64"), np.ones(2, "M8[D]")]
INTEGRAL, SAMPLES = {"f": cr.exp, "a": 0.0, "b": 1.0}, {"y": np.ones((3, 3))}
WRONG = {
    "f": [*NO_NUMBER, None, 1.0, float], "a": [*NO_NUMBER, None, math.nan, [0.0, 1.0]],
    "b": [*NO_NUMBER, None, math.nan, np.zeros((1, 1))],
    "rtol": [*NO_NUMBER, None, math.nan, math.inf, -1e-9, True],
    "atol": [*NO_NUMBER, None, math.nan, math.inf, -1e-9, [1e-9]], "limit": [*NO_NUMBER, 0, -1, 2.5, True, None],
    "points": [*NO_NUMBER, None, 0.5, [math.nan], [[0.1, 0.2]]], "y": [*NO_NUMBER, None, True],
    "x": [*NO_NUMBER, [0.0, 1.0], True], "dx": [*NO_NUMBER, None],
    "axis": [*NO_NUMBER, None, 2, -3, 0.5, (0, 1), True],
}


@pytest.mark.parametrize(("function", "base"),
                         [(cr.integrate, INTEGRAL), (cr.trapezoid, SAMPLES), (cr.simpson, SAMPLES)])
@pytest.mark.parametrize("name", WRONG)
def test_each_argument(function, base, name):
    names = ("y", "x", "dx", "axis") if base is SAMPLES else ("f", "a", "b", "rtol", "atol", "limit", "points")
    for value in WRONG[name] if name in names else ():
        with pytest.raises(ChainruleError):
            print(name, value, function(**{**base, name: value}))


@pytest.mark.parametrize("rule", [cr.trapezoid, cr.simpson])
def test_compiled_code_refuses_the_same(rule):
    for options in ({"axis": 0.5}, {"axis": 2}, {"dx": "x"}, {"x": [0.0, 1.0]}):
        with pytest.raises(ChainruleError):
            cr.compile(lambda y, options=options: rule(y, **options))(np.ones((3, 3)))


@pytest.mark.parametrize("rule", [cr.trapezoid, cr.simpson])
def test_booleans_are_zeros_and_ones(rule):
    inside = np.array([True, True, False, True])
    assert float(rule(inside)) == float(rule(inside.astype(float)))
