# SPDX-License-Identifier: Apache-2.0
"""Each pass keeps its law (the bits of every output) and does what it is for. Oracle: interpretation before and after.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.compiler.compile import optimise
from chainrule.ir import REGISTRY, Graph, Tensor, Type, bind, tracing, verify
from chainrule.ir.graph import close, input_node, interpret
from chainrule.ops import compose as c
from chainrule.ops import elementwise as e
from chainrule.ops import movement as m
from chainrule.ops.broadcast import broadcast_to, sum_over
from chainrule.ops.control import barrier, stop_gradient
from chainrule.ops.index import iota
from chainrule.passes import PASSES, algebra, erase, fold, loosen, nested, share
from chainrule.testing import random_graph

F = np.dtype("float32")


def traced(function, *shapes: tuple[int, ...], dtype: np.dtype = F) -> Graph:
    inputs = [input_node(Type(shape, dtype)) for shape in shapes]
    with tracing():
        found = function(*map(Tensor, inputs))
    return verify(close(inputs, [y.node for y in (found if isinstance(found, tuple) else (found,))]))


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes if node.op.name != "input"]


def same_bits(before: Graph, after: Graph, arrays: list[np.ndarray]) -> None:
    verify(after)
    for a, b in zip(interpret(before, arrays), interpret(after, arrays), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes() or np.array_equal(a, b, equal_nan=True)


# ---- the law, for any program

@pytest.mark.parametrize("name", [name for name, _ in PASSES])
def test_a_pass_keeps_the_bits(name: str) -> None:
    rewrite = dict(PASSES)[name]
    for seed in range(60):
        graph, arrays = random_graph(seed, size=15)
        same_bits(graph, rewrite(graph), arrays)


def test_all_passes_keep_the_bits_and_never_add_work() -> None:
    for seed in range(100, 200):
        graph, arrays = random_graph(seed, size=20, dtype="float64")
        after = optimise(graph)
        same_bits(graph, after, arrays)
        assert len(after.nodes) <= len(graph.nodes)
        assert len(optimise(after).nodes) <= len(after.nodes)


def test_special_values_survive() -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e38, 1e38], F)
    graph = traced(lambda x: (x * 1.0, 1.0 * x, x / 1.0, x - 0.0, x + 0.0, -(e.negative(x)), x * 0.0, 0.0 - x,
                              x - (-0.0)), (8,))
    same_bits(graph, optimise(graph), [x])
    for before, after in zip(interpret(graph, [x]), interpret(optimise(graph), [x]), strict=True):
        np.testing.assert_array_equal(np.signbit(before), np.signbit(after))


# ---- erase and loosen

def test_custom_gradients_are_erased_with_what_only_their_rule_needed() -> None:
    graph = traced(lambda x: stop_gradient(c.softplus(x)), (3,))
    assert names(graph).count("custom_gradient") == 2
    assert "custom_gradient" not in names(erase(graph))


def test_barriers_stay_until_the_end() -> None:
    graph = traced(lambda x: e.exp(barrier(x)) + e.exp(barrier(x)), (3,))
    for rewrite in (erase, algebra, fold, share):
        graph = rewrite(graph)
        assert names(graph).count("barrier") == 2
    assert names(loosen(graph)) == ["exp", "exp", "add"]
    assert names(optimise(graph)) == ["exp", "exp", "add"]


# ---- algebra

@pytest.mark.parametrize("function", [
    lambda x: x * 1.0, lambda x: 1.0 * x, lambda x: x / 1, lambda x: x - 0.0, lambda x: -e.negative(x),
    lambda x: m.reshape(m.reshape(x, (6,)), (2, 3)), lambda x: m.permute_dims(m.permute_dims(x, (1, 0)), (1, 0)),
    lambda x: m.reshape(sum_over(m.reshape(x, (2, 1, 3)), (1,)), (2, 3)),
    lambda x: x * broadcast_to(cr.asarray(1.0), (2, 3)),
], ids=range(9))
def test_what_changes_nothing_is_dropped(function) -> None:
    assert names(algebra(algebra(traced(function, (2, 3))))) == []


@pytest.mark.parametrize("function", [lambda x: x + 0.0, lambda x: x * 0.0, lambda x: 0.0 - x, lambda x: x - (-0.0),
                                      lambda x: x / 2,
                                      lambda x: 1 / x, lambda x: x * 1.0000001], ids=range(7))
def test_what_may_change_a_bit_is_kept(function) -> None:
    graph = traced(function, (2, 3))
    assert names(algebra(graph)) == names(graph)


def test_movements_in_a_row_become_one() -> None:
    assert names(algebra(traced(lambda x: m.reshape(m.reshape(x, (6,)), (3, 2)), (2, 3)))) == ["reshape"]
    assert names(algebra(traced(lambda x: m.permute_dims(m.permute_dims(x, (1, 2, 0)), (0, 2, 1)),
                                (2, 3, 4)))) == ["transpose"]
    assert names(algebra(traced(lambda x: broadcast_to(broadcast_to(x, (2, 3)), (4, 2, 3)), (3,)))) == ["broadcast"]
    x = np.arange(24, dtype=F).reshape(2, 3, 4)
    graph = traced(lambda x: m.permute_dims(m.permute_dims(x, (1, 2, 0)), (0, 2, 1)), (2, 3, 4))
    same_bits(graph, algebra(graph), [x])


# ---- fold

def test_what_depends_on_no_input_is_computed() -> None:
    graph = fold(traced(lambda x: x * (e.exp(cr.asarray([0.0, 1.0])) + 1.0), (2,)))
    assert names(graph) == ["constant", "mul"]
    np.testing.assert_array_equal(graph.nodes[1].attrs["value"], np.exp(np.array([0, 1], F)) + np.float32(1))


def test_a_large_value_stays_an_operation() -> None:
    assert "broadcast" in names(fold(traced(lambda x: x + broadcast_to(cr.asarray(1.0), (100, 100)), (100, 100))))
    assert "iota" in names(fold(traced(lambda x: x + e.astype(iota((2000,), 0), F), (2000,))))


def test_a_mistake_among_constants_is_left_to_fail_where_it_runs() -> None:
    graph = fold(traced(lambda x: x + cr.take(cr.asarray([1.0, 2.0]), cr.asarray([5]), axis=0), (1,)))
    assert "take" in names(graph)
    with pytest.raises(IndexError, match="out of bounds"):
        interpret(graph, [np.zeros(1, F)])


# ---- share

def test_equal_operations_are_one() -> None:
    graph = share(traced(lambda x: e.exp(x) * e.exp(x) + cr.sum(x, axis=0) * cr.sum(x, axis=0), (2, 2)))
    assert names(graph).count("exp") == 1 and names(graph).count("sum") == 1


def test_different_attributes_operands_or_constants_stay_apart() -> None:
    graph = share(traced(lambda x, y: (cr.sum(x, axis=0), cr.sum(x, axis=1), x - y, y - x, x + 0.0, x + -0.0, x + 1.0),
                         (2, 2), (2, 2)))
    assert len(set(graph.outputs)) == 7
    x = np.array([[1, 2], [3, 4]], F)
    graph = share(traced(lambda x: (x * cr.asarray(np.arange(200.0, dtype=F)[:2]), x * cr.asarray([0.0, 1.0]),
                                    x * cr.asarray([0.0, 2.0])), (2, 2)))
    assert len(set(graph.outputs)) == 2
    assert [y.tolist() for y in interpret(graph, [x])] == [[[0, 2], [0, 4]], [[0, 2], [0, 4]], [[0, 4], [0, 8]]]


# ---- loops

def loop_body() -> Graph:
    def body(carry: Tensor, x: Tensor) -> Tensor:
        return stop_gradient(e.tanh(carry * 1.0) + e.tanh(carry * 1.0) * barrier(x)) + e.exp(cr.asarray(0.0))
    return traced(body, (3,), (3,))


def test_passes_go_into_loops() -> None:
    body, attrs = loop_body(), {"carries": 1, "sequences": 1, "length": 4, "reverse": False, "history": False}

    def function(c: Tensor, xs: Tensor) -> Tensor:
        first = bind(REGISTRY["scan"], c, xs, body=body, **attrs)[0]
        return first + bind(REGISTRY["scan"], c, xs, body=body, **attrs)[0]
    graph = traced(function, (3,), (4, 3))
    after = optimise(graph)
    assert names(after).count("scan") == 1
    inner = next(node for node in after.nodes if node.op.name == "scan").attrs["body"]
    assert sorted(names(inner)) == ["add", "add", "broadcast", "constant", "mul", "tanh"]
    rng = np.random.default_rng(0)
    same_bits(graph, after, [rng.standard_normal(3).astype(F), rng.standard_normal((4, 3)).astype(F)])


def test_a_pass_keeps_its_name_and_its_input() -> None:
    graph = traced(lambda x: x * 1.0, (3,))
    assert nested(algebra).__name__ == "algebra"
    assert nested(algebra)(graph) is not graph and names(graph) == ["constant", "broadcast", "mul"]
