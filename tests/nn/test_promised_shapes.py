# SPDX-License-Identifier: Apache-2.0
"""Shapes are known before anything is computed: what a symbol promises is what a batch gives, for every row of the
layers' table."""

from __future__ import annotations

import numpy as np
import pytest
from tables.layers import LAYERS

import chainrule as cr
from chainrule.foundations import tree
from chainrule.ir import Type

assert len(LAYERS) >= 150


def shapes_of(value: object) -> list[tuple[tuple[int, ...], np.dtype]]:
    return [(x.shape, x.dtype) for x in tree.flatten(value)[0] if isinstance(x, cr.Tensor)]


@pytest.mark.parametrize("name", LAYERS)
def test_a_symbol_promises_the_shape(name: str) -> None:
    make, shape = LAYERS[name]
    shapes = shape if isinstance(shape, list) else [shape]
    for count in (3, 5):
        layer = make()
        kind = np.dtype("int64" if np.dtype(layer.input_dtype).kind == "i" else "float32")
        batch = [(count, *s[1:]) for s in shapes]
        _, promised = layer.trace(*(Type(s, kind) for s in batch))
        given = layer(*(np.ones(s, kind) for s in batch))
        assert shapes_of(promised) == shapes_of(given)
