# SPDX-License-Identifier: Apache-2.0
"""Run a function of tensors natively and by its meaning, and compare: the oracle of all tests of the native backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule import native
from chainrule.ir.graph import Graph, close, input_node, interpret
from chainrule.ir.node import Type
from chainrule.ir.tensor import Tensor
from chainrule.ir.trace import tracing


def graph_of(function: Callable[..., Any], arrays: Sequence[np.ndarray],
             aliases: tuple[tuple[int, int], ...] = ()) -> Graph:
    """The graph of a function of tensors, traced for arrays of these types."""
    with tracing():
        inputs = [Tensor(input_node(Type(x.shape, x.dtype))) for x in arrays]
        result = function(*inputs)
    outputs = result if isinstance(result, list | tuple) else [result]
    return close([x.node for x in inputs], [x.node for x in outputs], aliases)


def compare(graph: Graph, arrays: Sequence[np.ndarray], rtol: float = 2e-5, atol: float = 1e-5,
            threads: int = 1) -> native.Program:
    """Run the graph twice natively; both results must agree with its meaning."""
    expected = interpret(graph, [x.copy() for x in arrays])
    program = native.load(graph, threads)
    for _ in range(2):
        for got, want in zip(program([x.copy() for x in arrays]), expected, strict=True):
            assert got.shape == want.shape
            assert got.dtype == want.dtype
            same(got, want, rtol, atol)
    return program


def same(got: np.ndarray, want: np.ndarray, rtol: float, atol: float) -> None:
    """Equal, or close for floats, with NaN equal to NaN."""
    if want.dtype.kind == "f":
        np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
    else:
        np.testing.assert_array_equal(got, want)


def check(function: Callable[..., Any], *arrays: np.ndarray, **options: Any) -> native.Program:
    """Trace, run both ways, compare."""
    return compare(graph_of(function, arrays), arrays, **options)
