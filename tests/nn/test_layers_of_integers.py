# SPDX-License-Identifier: Apache-2.0
"""A layer gives the same for integers as for the same numbers as float32, or says that it needs floats."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from tests.tables.layers import LAYERS

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    kind, rng = np.dtype(dtype), np.random.default_rng(0)
    if kind.kind == "b":
        return rng.random(shape) < 0.5
    low, high = max(np.iinfo(kind).min, -2**17), min(np.iinfo(kind).max, 2**17)
    return rng.integers(low, high, shape, endpoint=True).astype(kind)


@pytest.mark.parametrize("name", [name for name in LAYERS if "embedding" not in name])
def test_integers_are_the_same_numbers(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make()
    for dtype in DTYPES:
        inputs = [numbers(one, dtype) for one in (shape if isinstance(shape, list) else [shape])]
        expected = np.asarray(layer(*(x.astype("float32") for x in inputs)), "float64")
        try:
            got = np.asarray(layer(*inputs), "float64")
        except cr.errors.DTypeError:
            continue
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(expected).max()),
                                   err_msg=dtype)


def test_sequences_of_which_nothing_counts() -> None:
    x, mask = np.ones((2, 3, 1), "float32"), np.array([[True, True, False], [False] * 3])
    for layer in (nn.GlobalAvgPool1D(), nn.GlobalMaxPool1D()):
        np.testing.assert_array_equal(layer(x, mask=mask), [[1.0], [0.0]])
        np.testing.assert_array_equal(cr.compile(lambda x, mask, layer=layer: layer(x, mask=mask))(x, mask),
                                      [[1.0], [0.0]])


@pytest.mark.parametrize("padding", [2, (0, 3)])
def test_windows_of_nothing_but_padding_are_refused(padding: int) -> None:
    with pytest.raises(cr.errors.ArgumentError, match="padding"):
        nn.MaxPool2D(2, padding=padding)(np.ones((1, 4, 4, 1), "float32"))
