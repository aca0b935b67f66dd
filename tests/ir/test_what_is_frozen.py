# SPDX-License-Identifier: Apache-2.0
"""What a compiled function takes for constant: nothing that changes later without its notice. Oracle: the function
itself."""

from __future__ import annotations

import argparse
import array
import collections
import copy
import dataclasses
import enum
import functools
import gc
import types
import weakref

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.errors import TraceError

X = np.ones(3, "float32")
SCALE, TABLE = 2.0, {"rate": 3.0, "list": [1.0]}


@dataclasses.dataclass
class Batch:
    a: object
    b: object = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    a: object
    b: object = None


Pair = collections.namedtuple("Pair", "a b")


class Plain:
    def __init__(self, a, b):
        self.a, self.b = a, b


# ---- arguments

CONTAINERS = [Batch, Frozen, Pair, lambda a, b: types.SimpleNamespace(a=a, b=b),
              lambda a, b: argparse.Namespace(a=a, b=b)]
MAPPINGS = [dict, collections.OrderedDict, lambda d: collections.defaultdict(list, d), types.MappingProxyType,
            collections.UserDict]


@pytest.mark.parametrize("make", CONTAINERS)
def test_containers_are_read_by_structure(make) -> None:
    f = cr.compile(lambda p, more: {"sum": cr.sum(p.a + p.b[0]), "back": more[0]}, backend="reference")
    for k in (1, 10):
        found = f(make(k * X, [X]), [make(k * X, {"n": X})])
        assert found["sum"].item() == 3 * k + 3
        assert type(found["back"]) is type(make(1, 1))
        np.testing.assert_array_equal(found["back"].a, k * X)
        np.testing.assert_array_equal(found["back"].b["n"], X)
    assert len(f.entries) == 1


@pytest.mark.parametrize("make", MAPPINGS)
def test_mappings_are_read_by_structure(make) -> None:
    f = cr.compile(lambda p: cr.sum(p["a"] + p["b"]["c"]), backend="reference")
    for k in (1, 10):
        assert f(make({"a": k * X, "b": make({"c": X})})).item() == 3 * k + 3
    assert len(f.entries) == 1


@pytest.mark.parametrize("make", [Batch, lambda a, b: types.SimpleNamespace(a=a, b=b)])
def test_a_changed_attribute_is_seen(make) -> None:
    f = cr.compile(lambda p: cr.sum(p.a * p.b), backend="reference")
    p = make(X, 2)
    assert f(p).item() == 6
    p.a, p.b = 2 * X, 3
    assert f(p).item() == 18
    p.b = 0.5
    assert f(p).item() == 3


def test_a_deque_is_a_sequence() -> None:
    f = cr.compile(lambda items: cr.sum(items[0] + items[1]), backend="reference")
    items = collections.deque([X, X])
    assert f(items).item() == 6
    items.append(5 * X)
    items.popleft()
    assert f(items).item() == 18


def test_objects_with_arrays_are_refused_by_name_and_others_are_taken_by_value() -> None:
    f = cr.compile(lambda p: X * p.a, backend="reference")
    for held in (X, cr.asarray(X), [X], {"k": X}):
        with pytest.raises(TraceError, match="Plain"):
            f(Plain(1.0, held))
    p = Plain(2.0, "word")
    assert f(p).tolist() == [2.0] * 3
    p.a = 3.0
    assert f(p).tolist() == [3.0] * 3

    class Slots:
        __slots__ = ("a",)
    with pytest.raises(TraceError, match="Slots"):
        f(Slots())


def test_unhashable_values_are_compared_by_value() -> None:
    f = cr.compile(lambda x, names: x * len(names), backend="reference")
    names = {"a"}
    assert f(X, names).tolist() == [1] * 3
    names.add("b")
    assert f(X, names).tolist() == [2] * 3
    g = cr.compile(lambda x, part: cr.sum(x[part]), backend="reference")
    assert (g(X, slice(0, 1)).item(), g(X, slice(0, 2)).item()) == (1, 2)


def test_functions_classes_and_words_of_many_kinds_are_arguments() -> None:
    class Colour(enum.Enum):
        RED = 1
    f = cr.compile(lambda x, what: x * 2, backend="reference")
    values = [cr.exp, np.exp, len, int, Colour.RED, np.dtype("int8"), nn.Dense(2), losses.get("hinge"), optim.SGD(0.1),
              functools.partial(cr.sum, axis=0),
              cr.Variable(X), np, range(3), "word", None, 1 + 2j, Frozen(1, "a"), f]
    for value in values:
        for _ in range(2):
            f(X, value)
    assert len(f.entries) == len(values)


@pytest.mark.parametrize("name", ["array", "torch", "pandas", "jax.numpy", "dlpack", "memoryview"])
def test_arrays_of_other_libraries_are_arrays(name) -> None:
    if name == "array":
        make = lambda a: array.array("f", a)
    elif name == "dlpack":
        class OnlyDlpack:
            def __init__(self, a):
                self.held = a.copy()

            def __dlpack__(self, **options):
                return self.held.__dlpack__(**options)

            def __dlpack_device__(self):
                return 1, 0
        make = OnlyDlpack
    elif name == "memoryview":
        make = lambda a: memoryview(a.copy())
    else:
        module = pytest.importorskip(name)
        make = {"torch": "tensor", "pandas": "Series", "jax.numpy": "asarray"}[name]
        make = getattr(module, make)
    f = cr.compile(lambda v, data: cr.sum(cr.asarray(v) * data["w"]), backend="reference")
    for k in range(4):
        assert f(make(k * X), {"w": make(X)}).item() == 3 * k
    assert len(f.entries) == 1


def test_a_table_is_an_array_and_words_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    f = cr.compile(lambda v: cr.sum(cr.asarray(v), axis=0), backend="reference")
    frame = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    assert f(frame).tolist() == [3, 7]
    frame.loc[0, "a"] = 100.0
    assert f(frame).tolist() == [102, 7]
    with pytest.raises(TraceError, match="no numbers"):
        f(pandas.DataFrame({"a": ["x", "y"]}))


def test_a_tensor_that_cannot_be_read_says_why() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TraceError, match="requires grad"):
        cr.compile(lambda v: v * 2, backend="reference")(torch.ones(3, requires_grad=True))


# ---- attributes and names

def test_replaced_variables_layers_and_settings_of_layers_are_seen() -> None:
    model = nn.Sequential([nn.Dense(4), nn.Dropout(0.9), nn.Dense(2)])
    x = np.ones((4, 3), "float32")
    model(x)
    f = cr.compile(lambda a: model(a, training=True), backend="reference")
    f(x)
    model[0].weight = cr.Variable(np.full((3, 4), 9.0, "float32"))
    assert (f(x).numpy() != model(x).numpy()).any()
    model[1].rate = 0.0
    np.testing.assert_allclose(f(x), model(x), rtol=1e-5)
    model[1].rate = 0.9
    assert (f(x).numpy() != model(x).numpy()).any()
    assert len(f.entries) + len(f._outdated) == 3


def test_changes_while_a_layer_is_built_in_the_call_are_no_reason_to_trace_again() -> None:
    model, calls = nn.Sequential([nn.Dense(4), nn.BatchNorm(), nn.Dense(2)]), []

    @cr.compile(backend="reference")
    def f(a):
        calls.append(1)
        return model(a, training=True)
    for _ in range(5):
        f(np.ones((4, 3), "float32"))
    assert len(calls) == 1
    nn.Dense(3)(np.ones((1, 2), "float32"))
    f(np.ones((4, 3), "float32"))
    assert len(calls) == 1
    model[0].weight = cr.Variable(np.full((3, 4), 9.0, "float32"))
    f(np.ones((4, 3), "float32"))
    assert len(calls) == 2


@pytest.mark.parametrize("name", ["weight_decay", "clip_norm", "learning_rate", "schedule"])
def test_settings_of_an_optimiser_are_seen(name) -> None:
    found = []
    for compiled in (False, True):
        v, o = cr.Variable(np.ones(2, "float32")), optim.SGD(0.1)
        step = lambda v=v, o=o: o.update({"v": v}, {"v": np.ones(2, "float32")})
        step = cr.compile(step, backend="reference") if compiled else step
        step()
        if name == "schedule":
            o.learning_rate = lambda t: 0.5 + 0 * t
        else:
            setattr(o, name, 0.25)
        step()
        found.append(v.numpy())
    np.testing.assert_allclose(*found, rtol=1e-6)


def test_names_of_enclosing_functions_and_globals_are_seen(monkeypatch) -> None:
    factor, items, where = 2.0, [1.0, 2.0], types.SimpleNamespace(bias=1.0, other=0)

    def helper(x):
        return x * SCALE * TABLE["rate"]

    f = cr.compile(lambda x: helper(x) * factor + sum(items) + where.bias + TABLE["list"][0], backend="reference")
    plain = lambda: X * SCALE * TABLE["rate"] * factor + sum(items) + where.bias + TABLE["list"][0]
    check = lambda: np.testing.assert_allclose(f(X), plain())
    check()
    factor = 3.0
    check()
    items.append(4.0)
    check()
    where.bias = 7.0
    check()
    monkeypatch.setitem(globals(), "SCALE", 5.0)
    check()
    monkeypatch.setitem(TABLE, "rate", -1.0)
    check()
    number = len(f.entries) + len(f._outdated)
    factor = 2.0
    items.pop()
    where.other = 1
    for _ in range(3):
        check()
    assert len(f.entries) + len(f._outdated) == number + 1
    factor = 3.0
    items.append(4.0)
    check()  # a program that was there before
    assert len(f.entries) + len(f._outdated) == number + 1


def test_functions_and_models_that_are_defined_again_are_seen(monkeypatch) -> None:
    space = {"cr": cr, "np": np, "__name__": "__main__"}
    exec("def inner(x):\n    return x * 2\ndef outer(x):\n    return inner(x) + w.value\nw = cr.Variable(np.ones(3, "
         "'float32'))", space)
    f = cr.compile(space["outer"], backend="reference")
    assert f(X).tolist() == [3] * 3
    exec("def inner(x):\n    return x * 10", space)
    assert f(X).tolist() == [11] * 3
    exec("w = cr.Variable(np.zeros(3, 'float32'))", space)
    assert f(X).tolist() == [10] * 3


def test_what_tracing_itself_changes_is_traced_once_per_signature() -> None:
    calls, count = [], 0

    @cr.compile(backend="reference")
    def f(x):
        nonlocal count
        count += 1
        calls.append(count)
        return x * 2
    for _ in range(3):
        for n in range(1, 5):
            f(np.ones(n, "float32"))
    assert len(calls) <= 5


# ---- methods

class Trainer:
    def __init__(self, factor):
        self.factor, self.w, self.steps = factor, cr.Variable(X), 0

    @cr.compile
    def step(self, x, *, k=1.0):
        return cr.sum(x * self.w * self.factor * k)

    @cr.compile(backend="reference")
    def double(self, x):
        return self.step(x) * 2

    @staticmethod
    @cr.compile
    def still(x):
        return x * 2


def test_methods_belong_to_their_objects() -> None:
    a, b = Trainer(1.0), Trainer(2.0)
    for _ in range(2):
        assert [a.step(X).item(), b.step(X).item(), b.step(X, k=0.5).item(), a.double(X).item(),
                Trainer.step(b, X).item()] == [3, 6, 3, 6, 6]
    a.factor = 5.0
    assert a.step(X).item() == 15
    a.w = cr.Variable(np.zeros(3, "float32"))
    assert a.step(X).item() == 0
    assert a.step is a.step and a.still(X).tolist() == [2] * 3
    c = copy.copy(b)
    c.factor = 7.0
    assert (c.step(X).item(), b.step(X).item()) == (21, 6)
    assert cr.grad(b.step)(X).tolist() == [2] * 3
    gone = weakref.ref(a)
    del a
    gc.collect()
    assert gone() is None
    assert len(Trainer.step._methods) == 2


def test_a_compiled_forward_is_a_layers_method() -> None:
    class Net(nn.Module):
        def __init__(self):
            self.dense, self.scale = nn.Dense(2), 1.0

        @cr.compile
        def forward(self, x):
            return self.dense(x) * self.scale
    net = Net()
    x = np.ones((2, 3), "float32")
    y = net(x)
    net.scale = 3.0
    np.testing.assert_allclose(net(x), 3 * y.numpy(), rtol=1e-6)
    assert np.abs(cr.gradients(cr.sum(net(x)), net)["dense.weight"].numpy()).min() > 0


@pytest.mark.parametrize("held, change", [
    ({"scale": 1.0}, lambda held: held.update(scale=2.0)), ([1.0], lambda held: held.__setitem__(0, 2.0)),
    ({"deep": [1.0]}, lambda held: held.update(deep=[2.0])),
], ids=["dict", "list", "replaced"])
def test_a_container_that_an_enclosing_function_holds_may_change(held, change) -> None:
    last = next(iter(held)) if isinstance(held, dict) else 0
    plain = not isinstance(held[last], list)
    # which name nothing but what they enclose
    function = (lambda x: x * held[last]) if plain else (lambda x: x * held[last][0])
    assert not function.__code__.co_names
    compiled = cr.compile(function, backend="reference")
    assert float(compiled(3.0)) == 3
    change(held)
    assert float(compiled(3.0)) == 6
