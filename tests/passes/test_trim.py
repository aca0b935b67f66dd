# SPDX-License-Identifier: Apache-2.0
"""Loops hand out only what is used, and their derivative reads back products instead of repeating them."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import passes
from chainrule.compiler.compile import optimise
from chainrule.ir import Graph, Tensor, Type
from chainrule.ir.graph import close, input_node, interpret
from chainrule.ir.trace import tracing
from chainrule.ops.scan import scan

SHAPES = ((3, 4), (5, 3, 4), (4, 4))  # start, steps, weight


def loop(h, xs, w):
    """The states of a recurrent network, and the last one."""
    def body(carry, x, fixed):
        after = cr.tanh(carry[0] @ fixed[0] + x[0])
        return [after], [after]
    return scan(body, [h], [xs], [w])


def arrays():
    generator = np.random.default_rng(0)
    return [generator.normal(size=shape) for shape in SHAPES]


def graph_of(function):
    with tracing():
        symbols = [input_node(Type(shape, np.dtype("float64"))) for shape in SHAPES]
        result = function(*map(Tensor, symbols))
    return close(symbols, [x.node for x in result])


def gradients(h, xs, w):
    last, states = loop(h, xs, w)
    loss = cr.sum(last[0]) + cr.sum(cr.square(states[0]))
    return cr.gradients(loss, [h, xs, w])


def scans(graph: Graph):
    return [node for node in graph.nodes if node.op.name == "scan"]


def test_unused_results_go():
    graph = graph_of(lambda *x: loop(*x)[0])
    (before,), (after,) = scans(graph), scans(passes.trim(graph))
    assert [len(before.attrs["body"].outputs), len(after.attrs["body"].outputs)] == [3, 1]


@pytest.mark.parametrize("function", [lambda *x: loop(*x)[0], lambda *x: loop(*x)[1], gradients])
def test_values_stay_bit_for_bit(function):
    graph = graph_of(function)
    expected, found = (interpret(g, arrays()) for g in (graph, passes.trim(passes.erase(graph))))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(expected, found, strict=True))


def test_the_derivative_repeats_no_product():
    graph = optimise(graph_of(gradients))
    backwards = next(node for node in scans(graph) if node.attrs["reverse"])
    products = [node for node in backwards.attrs["body"].nodes if node.op.name == "contract"]
    assert len(products) == 2  # into the carry and into the weight; forward would be the third


def test_the_derivative_of_gates_reads_the_gates_and_not_their_product():
    def gated(h, xs, w):
        def body(carry, x, fixed):
            z = cr.tanh(carry[0] @ fixed[0] + x[0])
            after = 0.5 * carry[0] + z[:, ::-1] * z
            return [after], []
        last, _ = scan(body, [h], [xs], [w])
        return cr.gradients(cr.sum(last[0]), [h, xs, w])

    graph = optimise(graph_of(gated))
    backwards = next(node for node in scans(graph) if node.attrs["reverse"])
    body = backwards.attrs["body"]
    assert [node.op.name for node in body.nodes].count("tanh") == 0
    assert backwards.attrs["sequences"] == 2  # the carry for the gradient of the weight, and the gates; not the steps


def test_gradients_equal_an_unrolled_loop():
    h, xs, w = map(cr.asarray, arrays())

    def unrolled(h, xs, w):
        total = 0.0
        for t in range(xs.shape[0]):
            h = cr.tanh(h @ w + xs[t])
            total = total + cr.sum(cr.square(h))
        return cr.sum(h) + total

    expected = cr.grad(unrolled, argnums=(0, 1, 2))(h, xs, w)
    for a, b in zip(gradients(h, xs, w), expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-12)
