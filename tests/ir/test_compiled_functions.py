# SPDX-License-Identifier: Apache-2.0
"""Compiled functions: when they are traced again, what they do to Variables, and what they refuse. Oracle: eager
execution."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, GraphError, ShapeError, TraceError
from chainrule.ir import Tensor
from chainrule.ops import elementwise as e
from chainrule.testing import available

BACKENDS = pytest.mark.parametrize("backend", [name if available(name)
                                               else pytest.param(name, marks=pytest.mark.skip(reason="not available "
                                                                                                     "here"))
                                               for name in ("reference", "native", "xla")])


# ---- when a function is traced

def counted():
    calls = []

    @cr.compile(backend="reference")
    def function(x, *rest, **options):
        calls.append(1)
        return x * 2
    return function, calls


def test_the_same_signature_is_traced_once() -> None:
    function, calls = counted()
    for i in range(4):
        assert function(np.full(3, i, "float32")).tolist() == [2 * i] * 3
    assert len(calls) == 1


@pytest.mark.parametrize("other", [np.zeros(4, "float32"), np.zeros(3), np.zeros((3, 1), "float32"), np.float32(1)])
def test_another_shape_or_dtype_is_traced_again(other) -> None:
    function, calls = counted()
    function(np.zeros(3, "float32"))
    function(other)
    assert len(calls) == 2


def test_numbers_and_words_are_part_of_the_signature_and_floats_are_not() -> None:
    function, calls = counted()
    x = np.zeros(3, "float32")
    for _ in range(2):
        for options in ({"n": 1}, {"n": True}, {"n": 2}, {"n": "a"}, {"n": None}, {"m": 1}):
            function(x, **options)
    assert len(calls) == 6
    for value in (0.5, 1.5, 2.5):
        function(x, value)
    assert len(calls) == 7


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_a_float_is_as_exact_as_the_array_that_it_meets(backend, dtype) -> None:
    function = lambda x, scale: (x * scale, cr.where(x > scale, scale, x), scale)
    x = np.arange(4).astype(dtype)
    for found, wanted in zip(cr.compile(function, backend=backend)(x, 0.1)[:2], function(cr.asarray(x), 0.1)[:2],
                             strict=True):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)


def test_gradients_with_respect_to_a_float_flow_through_every_dtype() -> None:
    x = np.arange(3, dtype="float64")
    by_name = cr.compile(lambda scale: cr.gradients(cr.sum(x * scale) + cr.exp(scale), scale))
    by_place = cr.compile(cr.grad(lambda scale: cr.sum(x * scale) + cr.exp(scale)))
    for found in (by_name(0.5), by_place(0.5)):
        np.testing.assert_allclose(found, 3 + np.exp(0.5), rtol=1e-6)


def test_freezing_and_thawing_is_noticed() -> None:
    v, w = cr.Variable(np.ones(2, "float32"), name="v"), cr.Variable(np.ones(2, "float32"), name="w")
    calls = []

    @cr.compile
    def step(x):
        calls.append(1)
        some = [variable for variable in (v, w) if variable.trainable]
        for variable, g in zip(some, cr.gradients(cr.sum(x * v.value * w.value), some), strict=True):
            variable.assign(variable.value - g)

    x = np.full(2, 0.5, "float32")
    step(x)
    np.testing.assert_array_equal([*v.numpy(), *w.numpy()], [0.5] * 4)
    for _ in range(2):  # the programs of both states are kept
        v.trainable = False
        before = v.numpy()
        step(x)
        np.testing.assert_array_equal(v.numpy(), before)
        v.trainable = True
        step(x)
        assert np.all(v.numpy() != before)
    assert len(calls) == 2


def test_a_function_that_freezes_for_itself_is_compiled_once() -> None:
    v, calls = cr.Variable(np.ones(2, "float32")), []

    @cr.compile
    def function(x):
        calls.append(1)
        v.trainable = False
        y = x * v.value
        v.trainable = True
        return y

    for _ in range(3):
        function(np.ones(2, "float32"))
    assert len(calls) == 1


def test_structures_come_and_go() -> None:
    @cr.compile(backend="reference")
    def function(data, scale=1.0):
        return {"sum": data["a"] + data["b"][0], "name": "x", "rest": (data["b"][1] * scale, None, 3)}
    a = np.arange(3, dtype="float32")
    result = function({"a": a, "b": [a, a]}, scale=2.0)
    assert result["name"] == "x" and result["rest"][1:] == (None, 3)
    np.testing.assert_array_equal(result["sum"], 2 * a)
    np.testing.assert_array_equal(result["rest"][0], 2 * a)


def test_a_compiled_function_inside_another_is_part_of_it() -> None:
    inner = cr.compile(lambda x: e.exp(x), backend="reference")
    outer = cr.compile(lambda x: cr.sum(inner(x) + 1.0), backend="reference")
    assert outer(np.zeros(3, "float32")).item() == 6
    assert not inner.entries
    assert cr.grad(lambda x: cr.compile(lambda t: t * t, backend="reference")(x) * 1.0 if x.node.data is None else x
                   * x)(3.0).item() == 6


def test_many_programs_are_warned_of() -> None:
    function = cr.compile(lambda x, n: x + cr.ones(n["k"][1]), backend="reference")
    with pytest.warns(UserWarning, match=r"compiled 8 times, once for each value of n\['k'\]\[1\]"):
        for n in range(10):
            function(1.0, {"k": (0, n)})
    shapes = cr.compile(lambda x: x * 2, backend="reference")
    with pytest.warns(UserWarning, match="compiled 32 times"):
        for n in range(40):
            shapes(np.ones(n, "float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(1.0, {"k": (0, 3)})


# ---- Variables

@BACKENDS
def test_an_earlier_value_does_not_change_when_a_step_updates_in_place(backend: str) -> None:
    v = cr.Variable(np.arange(5, dtype="float32"), name="v")
    step = cr.compile(lambda: v.assign(v.value + 1.0), backend=backend)
    kept = [v.value]
    for _ in range(4):
        step()
        kept.append(v.value)
    for i, value in enumerate(kept):
        np.testing.assert_array_equal(value, np.arange(5) + i)


@BACKENDS
def test_results_of_earlier_steps_do_not_change(backend: str) -> None:
    v = cr.Variable(np.zeros(5, "float32"))

    @cr.compile(backend=backend)
    def step() -> Tensor:
        v.assign(v.value + 1.0)
        return v.value
    results = [step() for _ in range(4)]
    for i, value in enumerate(results):
        np.testing.assert_array_equal(value, np.full(5, i + 1))
    results[-1].numpy()
    np.testing.assert_array_equal(v.numpy(), np.full(5, 4))


@BACKENDS
def test_a_step_does_not_write_into_its_arguments(backend: str) -> None:
    v, x = cr.Variable(np.zeros(5, "float32")), np.ones(5, "float32")
    step = cr.compile(lambda x: v.assign(x), backend=backend)
    step(x)
    cr.compile(lambda: v.assign(v.value * 3.0), backend=backend)()
    np.testing.assert_array_equal(x, np.ones(5))
    np.testing.assert_array_equal(v.numpy(), np.full(5, 3))


@BACKENDS
def test_two_variables_may_change_places(backend: str) -> None:
    a, b = cr.Variable(np.zeros(3, "float32")), cr.Variable(np.ones(3, "float32"))

    @cr.compile(backend=backend)
    def swap() -> None:
        x, y = a.value, b.value
        a.assign(y)
        b.assign(x)
    for i in range(3):
        swap()
        np.testing.assert_array_equal(a.numpy(), np.full(3, (i + 1) % 2))
        np.testing.assert_array_equal(b.numpy(), np.full(3, i % 2))


@BACKENDS
def test_one_value_may_go_to_two_variables(backend: str) -> None:
    a, b = cr.Variable(np.ones(3, "float32")), cr.Variable(np.ones(3, "float32"))

    @cr.compile(backend=backend)
    def step() -> None:
        both = a.value + b.value
        a.assign(both)
        b.assign(both)
    add = cr.compile(lambda: a.assign(a.value + 1.0), backend=backend)
    step()
    add()
    np.testing.assert_array_equal(a.numpy(), np.full(3, 3))
    np.testing.assert_array_equal(b.numpy(), np.full(3, 2))


PROGRAMS = {
    "read after write": lambda v, w: (v.assign(v.value * 2.0), v.value + w.value)[1],
    "write twice": lambda v, w: (v.assign(v.value * 2.0), v.assign(v.value + 1.0), v.value)[2],
    "write unread": lambda v, w: (v.assign(w.value), w.value * 1.0)[1],
    "old and new": lambda v, w: (lambda old: (v.assign(old * 3.0), old - v.value)[1])(v.value),
    "gradient of a new value": lambda v, w: (v.assign(v.value * 2.0), cr.gradients(cr.sum(v.value * v.value), v))[1],
    "gradient of both": lambda v, w: (lambda old: (v.assign(old * 2.0),
                                                   cr.gradients(cr.sum(v.value * old), v))[1])(v.value),
    "read only": lambda v, w: v.value * w.value,
    "the variable itself": lambda v, w: v.value,
    "nothing changes": lambda v, w: (v.assign(v.value), v.value + 0.0)[1],
}


@BACKENDS
@pytest.mark.parametrize("name", PROGRAMS)
def test_variables_behave_as_they_do_eagerly(name: str, backend: str) -> None:
    def outcome(compiled: bool) -> list[np.ndarray]:
        v, w = cr.Variable(np.arange(3, dtype="float32"), name="v"), cr.Variable(np.full(3, 0.5, "float32"), name="w")
        function = lambda: PROGRAMS[name](v, w)
        run = cr.compile(function, backend=backend) if compiled else function
        found = [run().numpy() for _ in range(3)]
        return [*found, v.numpy(), w.numpy()]
    for found, wanted in zip(outcome(True), outcome(False), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_what_is_assigned_keeps_the_shape_and_dtype() -> None:
    v = cr.Variable(np.zeros(3, "float32"), name="bias")
    with pytest.raises(ShapeError, match="variable bias keeps its shape"):
        v.assign(np.zeros(4, "float32"))
    with pytest.raises(ArgumentError, match=r"cr\.astype"):
        cr.compile(lambda: v.assign(cr.astype(v.value, "float64")), backend="reference")()
    v.assign([1, 2, 3])
    assert v.numpy().tolist() == [1, 2, 3]


@BACKENDS
def test_a_failing_step_changes_nothing(backend: str) -> None:
    v = cr.Variable(np.zeros(3, "float32"))

    @cr.compile(backend=backend)
    def step(i: Tensor) -> Tensor:
        v.assign(v.value + 1.0)
        return cr.take(v.value, i, axis=0)
    step(np.array([1]))
    with pytest.raises(IndexError):
        step(np.array([7]))
    assert v.numpy().tolist() == [1, 1, 1]


# ---- what needs a value that is not there yet

@pytest.mark.parametrize("wanted", [bool, int, float, lambda x: x.item(), lambda x: x.numpy(), np.asarray,
                                    lambda x: x.tolist()])
def test_a_value_is_refused_while_compiling(wanted) -> None:
    def function(x: Tensor) -> Tensor:
        wanted(cr.sum(x))
        return x
    with pytest.raises(TraceError, match="is being compiled") as caught:
        cr.compile(function, backend="reference")(np.ones(1, "float32"))
    assert "test_compiled_functions.py" in str(caught.value)


def test_a_condition_names_the_remedy() -> None:
    with pytest.raises(TraceError, match=r"cr\.where"):
        cr.compile(lambda x: x if x > 0 else -x, backend="reference")(np.float32(1))


def test_assignment_into_a_traced_tensor_is_refused() -> None:
    def function(x: Tensor) -> Tensor:
        x[0] = 1.0
        return x
    with pytest.raises(TraceError, match=r"cr\.where"):
        cr.compile(function, backend="reference")(np.ones(3, "float32"))


def test_a_tensor_that_was_kept_is_refused() -> None:
    kept = []
    cr.compile(lambda x: kept.append(x * 2) or x, backend="reference")(np.ones(3, "float32"))
    with pytest.raises(TraceError, match="another compiled function") as caught:
        cr.compile(lambda x: x + kept[0], backend="reference")(np.ones(3, "float32"))
    assert "kept.append(x * 2)" in str(caught.value)
    with pytest.raises(TraceError, match="another compiled function"):
        cr.compile(lambda x: x, backend="reference")(kept[0])
    with pytest.raises(TraceError, match="is being compiled"):
        kept[0].numpy()


def test_an_error_while_tracing_leaves_nothing_behind() -> None:
    v = cr.Variable(np.zeros(3, "float32"))

    def function(x: Tensor) -> Tensor:
        v.assign(v.value + 1.0)
        raise GraphError("stop")
    with pytest.raises(GraphError):
        cr.compile(function, backend="reference")(1.0)
    assert cr.sum(v.value).item() == 0
    assert (cr.asarray(1.0) + 1).item() == 2


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ArgumentError, match="native"):
        cr.compile(lambda x: x, backend="cuda")
    with pytest.raises(ArgumentError, match="no such stage"):
        cr.compile(lambda x: x, backend="reference").show("ptx")
    with pytest.raises(ArgumentError, match="nothing is compiled yet"):
        cr.compile(lambda x: x, backend="reference").show("graph")


def test_threads_trace_on_their_own() -> None:
    results, ready = {}, threading.Barrier(4)

    def work(i: int) -> None:
        v = cr.Variable(np.full(3, i, "float32"))

        def step(x: Tensor) -> Tensor:
            ready.wait(10)
            v.assign(v.value + x)
            return cr.grad(lambda t: cr.sum(t * v.value))(x)
        results[i] = cr.compile(step, backend="reference")(np.ones(3, "float32")).numpy()
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {i: x.tolist() for i, x in results.items()} == {i: [i + 1.0] * 3 for i in range(4)}


def test_large_variables_begin_at_a_cache_line_and_stay_there():
    v = cr.Variable(np.arange(3000).reshape(3, 1000)[:, ::2], dtype="float32")
    double = cr.compile(lambda: v.assign(v.value * 2.0))
    place = lambda: v.take_array(write=True).__array_interface__["data"][0] % 64
    assert place() == 0
    kept = v.value
    double()
    np.testing.assert_array_equal(v.numpy(), 2 * np.arange(3000).reshape(3, 1000)[:, ::2])
    np.testing.assert_array_equal(kept.numpy(), np.arange(3000).reshape(3, 1000)[:, ::2])
    assert place() == 0
