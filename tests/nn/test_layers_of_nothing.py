# SPDX-License-Identifier: Apache-2.0
"""Arrays without elements, along each axis of each layer: a result of finite numbers, the same compiled, or an error
that says what is missing;
and inputs that are no arrays, or of another rank, at each layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chainrule as cr
from tests.tables.layers import LAYERS


def drawn(name: str, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    return [np.ones(shape, "int64" if "embedding" in name else "float32") for shape in shapes]


@pytest.mark.parametrize("name", LAYERS)
def test_an_axis_without_elements(name: str) -> None:
    make, shape = LAYERS[name]
    shapes = shape if isinstance(shape, list) else [shape]
    for axis in range(len(shapes[0])):
        inputs, layer = drawn(name, [(*one[:axis], 0, *one[axis + 1:]) for one in shapes]), make()
        try:
            result = np.asarray(layer(*inputs))
        except cr.errors.ChainruleError as error:
            assert "does not take these arguments" not in str(error)
            continue
        assert np.isfinite(result).all()
        if axis < 2:
            np.testing.assert_array_equal(cr.compile(lambda *inputs, layer=layer: layer(*inputs))(*inputs), result)
        if "embedding" not in name:
            gradient = cr.grad(lambda x, layer=layer, inputs=inputs: cr.sum(layer(x, *inputs[1:])))(inputs[0])
            assert np.asarray(gradient).shape == inputs[0].shape


NO_INPUTS = ["abc", None, {"a": 1}, object(), np.array([["a"]]), np.ones((2, 3, 4, 5), "complex64"), [[1, 2], [3]],
             *(np.ones((2,) * rank, "float32") for rank in (0, 1, 2, 3, 5, 7))]


@pytest.mark.parametrize("built", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_inputs_that_do_not_fit(name: str, built: bool) -> None:
    make, shape = LAYERS[name]
    good: list[Any] = drawn(name, shape if isinstance(shape, list) else [shape])
    layer = make()
    if built:
        layer(*good)
    for i, bad in ((i, bad) for i in range(len(good)) for bad in NO_INPUTS):
        try:
            (layer if built else make())(*good[:i], bad, *good[i + 1:])
        except cr.errors.ChainruleError:
            pass  # anything else fails the test
