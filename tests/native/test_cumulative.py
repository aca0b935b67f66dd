# SPDX-License-Identifier: Apache-2.0
"""Running sums in machine code: NumPy's bits for every shape, axis and dtype, on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from native_check import check

import chainrule as cr

SHAPES = ((1,), (7,), (1000,), (3, 70), (9, 5), (8, 33), (17, 3, 5), (5, 4, 100), (2, 9, 300), (0, 3), (3, 0), (20, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "int64", "uint16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_have_one_order(shape: tuple[int, ...], dtype: str) -> None:
    x = (np.random.default_rng(0).standard_normal(shape) * 20).astype(dtype)
    for axis in range(len(shape)):
        program = check(lambda x, axis=axis: cr.cumulative_sum(x, axis=axis, dtype=dtype), x, rtol=0, atol=0,
                        threads=1 + axis)
        assert all(step.native for step in program.plan.steps)


def test_special_values() -> None:
    x = np.array([[-0.0, -0.0, 1, np.inf, 2, -np.inf, 3], [-0.0, 0.0, np.nan, 1, 1, 1, 1]], "float32")
    for axis, operand in ((1, x), (0, np.ascontiguousarray(x.T))):
        found = np.asarray(cr.compile(lambda x, axis=axis: cr.cumulative_sum(x, axis=axis))(operand))
        with np.errstate(all="ignore"):
            wanted = np.cumsum(operand, axis=axis)
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(np.signbit(found)[~np.isnan(wanted)], np.signbit(wanted)[~np.isnan(wanted)])
