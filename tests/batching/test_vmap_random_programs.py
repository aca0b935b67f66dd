# SPDX-License-Identifier: Apache-2.0
"""Random programs under `vmap`, and their gradients, against the interpreter on each example. Also mapped twice."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.ir import Graph, Tensor, graph_text
from chainrule.ir.graph import inline, interpret
from chainrule.testing import random_graph
from chainrule.trace import capture, read_call

N = 3


def function_of(graph: Graph):
    return lambda *xs: [Tensor(node) for node in inline(graph, [x.node for x in xs])]


def loss_of(graph: Graph):
    return lambda *xs: sum((cr.sum(cr.tanh(y)) for y in function_of(graph)(*xs)), cr.asarray(0.0, dtype="float64"))


def examples(rng: np.random.Generator, arrays: list[np.ndarray],
             extent: int) -> tuple[list[np.ndarray], tuple[int | None, ...]]:
    """Batches of operands, and where each has its examples (None: all share it)."""
    axes = [int(rng.integers(x.ndim + 1)) if rng.random() < 0.75 else None for x in arrays]
    axes[int(rng.integers(len(axes)))] = 0
    whole = [x if axis is None else np.moveaxis(rng.standard_normal((extent, *x.shape)), 0, axis)
             for x, axis in zip(arrays, axes, strict=True)]
    return whole, tuple(axes)


def one(arrays: list[np.ndarray], axes: tuple[int | None, ...], i: int) -> list[np.ndarray]:
    return [x if axis is None else np.asarray(np.take(x, i, axis=axis)) for x, axis in zip(arrays, axes, strict=True)]


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_a_mapped_program_is_a_loop(first: int) -> None:
    for seed in range(first, first + 20):
        graph, arrays = random_graph(seed, size=16, dtype="float64")
        batch, axes = examples(np.random.default_rng(seed), arrays, N)
        found = cr.vmap(function_of(graph), in_axes=axes)(*batch)
        loop = [interpret(graph, one(batch, axes, i)) for i in range(N)]
        for k, value in enumerate(found):
            wanted = np.stack([outputs[k] for outputs in loop])
            np.testing.assert_allclose(value.numpy(), wanted, rtol=1e-9, atol=1e-11,
                                       err_msg=f"seed {seed} {axes}\n{graph_text(graph)}")


@pytest.mark.parametrize("first", range(200, 230, 10))
def test_gradients_of_mapped_programs(first: int) -> None:
    for seed in range(first, first + 10):
        graph, arrays = random_graph(seed, size=12, dtype="float64")
        batch, axes = examples(np.random.default_rng(seed), arrays, N)
        gradient = cr.grad(loss_of(graph), (0, 1, 2))
        single = capture(gradient, read_call(tuple(arrays), {})).graph
        loop = [interpret(single, one(batch, axes, i)) for i in range(N)]
        inside = cr.vmap(gradient, in_axes=axes)(*batch)
        total = lambda *xs, graph=graph, axes=axes: cr.sum(cr.vmap(loss_of(graph), in_axes=axes)(*xs))
        outside = cr.grad(total, (0, 1, 2))(*map(cr.asarray, batch))
        for k, axis in enumerate(axes):
            each = np.stack([gradients[k] for gradients in loop])
            close = {"rtol": 1e-8, "atol": 1e-10, "err_msg": f"seed {seed} {axes}\n{graph_text(graph)}"}
            np.testing.assert_allclose(inside[k].numpy(), each, **close)
            np.testing.assert_allclose(outside[k].numpy(), each.sum(0) if axis is None else np.moveaxis(each, 0, axis),
                                       **close)


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_mapped_twice_and_compiled(backend: str) -> None:
    if not cr.testing.available(backend):
        pytest.skip(f"the {backend} backend is not available here")
    for seed in range(300, 310):
        graph, arrays = random_graph(seed, size=12, dtype="float64")
        rng = np.random.default_rng(seed)
        twice = cr.vmap(cr.vmap(function_of(graph), in_axes=(0, None, None)), in_axes=(None, 0, 0))
        operands = [rng.standard_normal((N if k == 0 else 2, *x.shape)) for k, x in enumerate(arrays)]
        found = cr.compile(twice, backend=backend)(*operands)
        for i in range(2):
            for j in range(N):
                wanted = interpret(graph, [operands[0][j], operands[1][i], operands[2][i]])
                for value, expected in zip(found, wanted, strict=True):
                    np.testing.assert_allclose(value.numpy()[i, j], expected, rtol=1e-9, atol=1e-11,
                                               err_msg=f"seed {seed}\n{graph_text(graph)}")
