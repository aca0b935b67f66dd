# SPDX-License-Identifier: Apache-2.0
"""The language itself: printed form (golden), verifier, graphs, types and promotion. Oracles: golden text, NumPy, the
array API."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ChainruleError, DTypeError, GraphError, ShapeError
from chainrule.ir import (
    REGISTRY,
    Graph,
    Node,
    Tensor,
    Type,
    Variable,
    as_tensor,
    bind,
    graph_text,
    promote,
    tracing,
    verify,
)
from chainrule.ir.dtype import ALL, canonical
from chainrule.ir.graph import close, constant, inline, input_node, interpret, make, topological
from chainrule.ir.node import op
from chainrule.ops import compose as c
from chainrule.ops import elementwise as e
from chainrule.trace import capture, read_call

F = np.dtype("float32")


def captured(function, *args) -> Graph:
    return verify(capture(function, read_call(args, {})).graph)


# ---- the printed form

def test_a_graph_prints_as_expected() -> None:
    w = Variable(np.zeros((3, 2), "float32"), name="weight")

    def step(x: Tensor) -> Tensor:
        y = e.tanh(x @ w)
        w.assign(w.value * 0.5)
        return cr.sum(y, axis=1)
    assert graph_text(captured(step, np.zeros((4, 3), "float32"))) == """\
inputs  %0: float32[4, 3]  %1: float32[3, 2] = weight
%2: float32[4, 2] = contract(%0, %1) batch=((), ()) contracting=((1,), (0,))
%3: float32[4, 2] = tanh(%2)
%4: float32[4] = sum(%3) axes=(1,)
%5: float32[] = constant() value=0.5
%6: float32[3, 2] = broadcast(%5) shape=(3, 2)
%7: float32[3, 2] = mul(%1, %6)
%8: float32[3, 2] = custom_gradient(%7) rule=None
outputs %4  %8 -> %1"""


def test_several_results_layers_and_arrays_print() -> None:
    def function(x: Tensor) -> tuple[Tensor, Tensor]:
        with cr.errors.inside_layer("model[0] Dense"):
            w, _ = bind(REGISTRY["eigh"], x)
        return w + cr.asarray([1.0, 2.0]), w
    assert graph_text(captured(function, np.eye(2, dtype="float32"))) == """\
inputs  %0: float32[2, 2]
%1: (float32[2], float32[2, 2]) = eigh(%0)    # model[0] Dense
%2: float32[2] = output(%1) index=0    # model[0] Dense
%3: float32[2] = constant() value=<float32[2]>
%4: float32[2] = add(%2, %3)
outputs %4  %2"""


def test_a_program_shows_itself(capsys) -> None:
    function = cr.compile(lambda x: e.exp(x) * 1.0, backend="reference")
    text = function.show("graph", np.zeros(2, "float32"))
    assert text in capsys.readouterr().out and "exp(%0)" in text
    passes = function.show("passes")
    assert "--- after algebra: 2 nodes" in passes and "--- after erase: 5 nodes" in passes
    assert "interprets" in function.show("kernels")


# ---- the verifier

def sound() -> tuple[Node, Node, Graph]:
    x = input_node(Type((3,), F))
    y = make(REGISTRY["exp"], x)
    return x, y, Graph((x,), (y,))


def test_a_sound_graph_passes() -> None:
    assert verify(sound()[2]) is not None


def broken() -> dict[str, Graph]:
    x, y, _ = sound()
    other = input_node(Type((3,), F))
    wide = input_node(Type((4,), F))
    stranger = type(REGISTRY["exp"])("exp", REGISTRY["exp"].infer, REGISTRY["exp"].meaning, None)
    loop = {"carries": 1, "sequences": 0, "length": 2, "reverse": False, "history": False}
    body_in = input_node(Type((3,), F))
    bad_body = Graph((body_in,), (make(REGISTRY["cast"], body_in, dtype=np.dtype("float64")),))
    good_type = Graph((body_in,), (Node(REGISTRY["neg"],
                                        (make(REGISTRY["exp"],
                                              Node(REGISTRY["exp"], (body_in,), {}, Type((3,), F), np.zeros(3))),), {},
                                        Type((3,), F)),))
    return {
        "should have type": Graph((x,), (Node(REGISTRY["exp"], (x,), {}, Type((4,), F)),)),
        "not a declared input": Graph((x,), (make(REGISTRY["add"], x, other),)),
        "declared as an input": Graph((x, y), (make(REGISTRY["exp"], y),)),
        "listed twice": Graph((x, x), (y,)),
        "not in the registry": Graph((x,), (Node(stranger, (x,), {}, Type((3,), F)),)),
        "carries data": Graph((x,), (Node(REGISTRY["exp"], (x,), {}, Type((3,), F), np.zeros(3, F)),)),
        "cannot take over": Graph((x, wide), (y,), ((0, 1),)),
        "must return a carry": Graph((x,), (Node(REGISTRY["scan"], (x,), {"body": bad_body, **loop},
                                                 (Type((3,), F),)),)),
        "data inside": Graph((x,), (Node(REGISTRY["output"],
                                         (Node(REGISTRY["scan"], (x,), {"body": good_type, **loop}, (Type((3,), F),)),),
                                         {"index": 0}, Type((3,), F)),)),
    }


@pytest.mark.parametrize("words", broken())
def test_a_broken_graph_is_refused(words: str) -> None:
    with pytest.raises(ChainruleError, match=words):
        verify(broken()[words], after="a test")


def test_an_operation_is_declared_once() -> None:
    with pytest.raises(GraphError, match="declared twice"):
        op("exp", infer=None, meaning=None, vjp=None)


# ---- graphs

def test_dead_code_does_not_exist_and_order_is_topological() -> None:
    def function(x: Tensor) -> Tensor:
        e.sin(x)
        return e.exp(x) + e.cos(x)
    graph = captured(function, np.zeros(3, "float32"))
    assert [node.op.name for node in graph.nodes] == ["input", "exp", "cos", "add"]
    place = {node: i for i, node in enumerate(graph.nodes)}
    assert all(place[x] < place[node] for node in graph.nodes for x in node.inputs)
    assert [len(graph.users[node]) for node in graph.nodes] == [2, 1, 1, 0]


def test_a_deep_graph_needs_no_deep_stack() -> None:
    def function(x: Tensor) -> Tensor:
        for _ in range(5000):
            x = -x
        return cr.sum(x)
    graph = captured(cr.grad(function), np.ones(1, "float32"))
    assert interpret(graph, [np.ones(1, F)])[0].tolist() == [1]
    x = as_tensor(np.ones(1, F))
    assert cr.grad(function)(x).tolist() == [1]


def test_inlining_is_calling() -> None:
    graph = captured(lambda x, y: (x * y, x + y), np.zeros(3, "float32"), np.zeros(3, "float32"))
    a = input_node(Type((3,), F))
    outer = close([a], inline(graph, [a, a]))
    square, double = interpret(outer, [np.array([1, 2, 3], F)])
    assert square.tolist() == [1, 4, 9] and double.tolist() == [2, 4, 6]


def test_watching_sees_each_value() -> None:
    graph, seen = captured(lambda x: e.exp(x) * 2.0, np.zeros(2, "float32")), []
    interpret(graph, [np.zeros(2, F)], watch=lambda node, value: seen.append(node.op.name))
    assert seen == [node.op.name for node in graph.nodes if node.op.name != "input"]


def test_values_that_are_there_become_constants() -> None:
    known = e.exp(cr.asarray([0.0, 1.0]))
    graph = captured(lambda x: x + known, np.zeros(2, "float32"))
    assert [node.op.name for node in graph.nodes] == ["input", "constant", "add"]
    assert constant(3.0).type == Type((), np.dtype("float64"))
    assert topological(graph.outputs, graph.inputs) == graph.nodes


def test_an_eager_result_equals_its_traced_meaning() -> None:
    x = as_tensor(np.linspace(-1, 1, 12, dtype=F).reshape(3, 4))
    function = lambda x: c.softmax(e.tanh(x) @ c.matrix_transpose(x))
    with tracing():
        node = function(Tensor(symbol := input_node(x.node.type))).node
    np.testing.assert_array_equal(interpret(close([symbol], [node]), [x.numpy()])[0], function(x))


# ---- types

@pytest.mark.parametrize(("a", "b"), list(itertools.product(ALL, ALL)))
def test_promotion_is_symmetric_and_follows_the_standard(a: np.dtype, b: np.dtype) -> None:
    def outcome(x: np.dtype, y: np.dtype) -> object:
        try:
            return promote(x, y)
        except DTypeError:
            return DTypeError
    assert outcome(a, b) == outcome(b, a)
    if a.kind == b.kind or {a.kind, b.kind} == {"i", "u"}:
        wanted = np.promote_types(a, b)
        assert outcome(a, b) == (wanted if wanted.kind == a.kind or wanted.kind in "iu" else DTypeError)
    else:
        assert outcome(a, b) in (a, b)


def test_python_numbers_take_the_dtype_beside_them() -> None:
    for dtype in ("float32", "float64"):
        x = cr.asarray(np.ones(2, dtype))
        assert {(x + 1).dtype, (1.5 * x).dtype, (x ** 2).dtype, (True * x).dtype} == {np.dtype(dtype)}
    i = cr.asarray(np.ones(2, "int32"))
    assert (i + 1).dtype == np.int32 and (i + 1.5).dtype == np.float32 and (i + True).dtype == np.int32
    with pytest.raises(DTypeError, match="does not fit"):
        cr.asarray(np.ones(2, "uint8")) + 256


@pytest.mark.parametrize("wrong", ["float16", "complex64", "S3", object, "nonsense"])
def test_other_dtypes_are_refused(wrong: object) -> None:
    with pytest.raises(DTypeError, match="not supported"):
        canonical(wrong)


def test_mistakes_in_types_are_told() -> None:
    x = cr.asarray(np.ones((2, 3), "float32"))
    with pytest.raises(DTypeError, match="floating-point"):
        bind(REGISTRY["exp"], cr.asarray(np.ones(2, "int32")))
    with pytest.raises(DTypeError, match="integer operand"):
        e.bitwise_left_shift(cr.asarray([True]), cr.asarray([True]))
    with pytest.raises(DTypeError, match="same width"):
        e.bitcast(x, "int64")
    with pytest.raises(ShapeError, match="do not broadcast"):
        x + cr.asarray(np.ones(2, "float32"))
    with pytest.raises(ShapeError, match="equally long"):
        cr.asarray([[1, 2], [3]])


def test_a_tensor_is_a_good_citizen_of_numpy() -> None:
    x = cr.asarray(np.arange(6.0).reshape(2, 3))
    assert isinstance(np.ones((2, 3)) + x, Tensor) and isinstance(np.float64(2) * x, Tensor)
    array = np.asarray(x)
    assert array.dtype == np.float64 and not array.flags.writeable
    assert np.array(x).flags.writeable and np.array(x, dtype="float32").dtype == F
    np.testing.assert_array_equal(np.from_dlpack(x), array)
    assert (
        len(x) == 2
        and [row.shape for row in x] == [(3,), (3,)]
        and float(x[1, 2]) == 5
        and list(range(5))[cr.asarray(3)] == 3
    )
