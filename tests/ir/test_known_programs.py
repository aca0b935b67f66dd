# SPDX-License-Identifier: Apache-2.0
"""Programs are found again by the structure of their graphs, and by nothing less."""

from __future__ import annotations

import gc
import itertools
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.compiler import compile as stages
from chainrule.compiler.known import MOST, key_of, known
from chainrule.errors import BoundsError
from chainrule.ir import Tensor
from chainrule.ir.graph import interpret
from chainrule.testing.programs import random_graph

X = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
Y = np.arange(12) % 3
BACKENDS = ["native", "xla"]


@pytest.fixture
def lowered(monkeypatch):
    """How often a graph was given to a backend."""
    seen, real = [], stages.lower
    monkeypatch.setattr(stages, "lower", lambda graph, backend: (seen.append(backend), real(graph, backend))[1])
    return seen


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "xla":
        pytest.importorskip("jax")
    return request.param


def network(*between, activation="relu"):
    cr.random.seed(1)
    return nn.Sequential([nn.Dense(4, activation=activation), *between, nn.Dense(3)])


def learn(model, optimizer, backend="native", **options):
    cr.fit(model, (X, Y), loss="cross_entropy", optimizer=optimizer, batch_size=4, epochs=2, progress=False,
           backend=backend, **options)
    return [v.numpy() for v in model.variables().values()]


def test_a_fresh_optimiser_and_a_fresh_model_take_the_program_over(lowered, backend):
    model = network()
    first = learn(model, "adam", backend)
    made = len(lowered)
    learn(model, "adam", backend)
    again = learn(network(), optim.Adam(), backend)
    assert len(lowered) == made
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_estimators_take_programs_over(lowered):
    pytest.importorskip("sklearn")
    fit = lambda: cr.estimators.Classifier((4,), epochs=2, random_state=0).fit(X, Y).predict_proba(X)
    first = fit()
    made = len(lowered)
    np.testing.assert_array_equal(fit(), first)
    assert len(lowered) == made


# ---- what differs in one setting is another program

SETTINGS = {
    "adam": lambda: optim.Adam(1e-2),
    "rate": lambda: optim.Adam(2e-2),
    "beta1": lambda: optim.Adam(1e-2, beta1=0.8),
    "beta2": lambda: optim.Adam(1e-2, beta2=0.9),
    "epsilon": lambda: optim.Adam(1e-2, epsilon=1e-2),
    "decay": lambda: optim.Adam(1e-2, weight_decay=0.1),
    "decay apart": lambda: optim.AdamW(1e-2, weight_decay=0.1),
    "more decay apart": lambda: optim.AdamW(1e-2, weight_decay=0.2),
    "clipped": lambda: optim.Adam(1e-2, clip_norm=1e-3, epsilon=1e-2),
    "clipped by value": lambda: optim.Adam(1e-2, clip_value=1e-3, epsilon=1e-2),
    "groups": lambda: optim.groups({"0.*": optim.Adam(1e-2), "*": optim.Adam(3e-2)}),
    "groups the other way": lambda: optim.groups({"0.*": optim.Adam(3e-2), "*": optim.Adam(1e-2)}),
    "schedule": lambda: optim.Adam(optim.schedules.cosine(1e-2, 10)),
    "another schedule": lambda: optim.Adam(optim.schedules.cosine(1e-2, 11)),
    "momentum": lambda: optim.SGD(1e-2, momentum=0.9),
    "less momentum": lambda: optim.SGD(1e-2, momentum=0.5),
    "ahead": lambda: optim.SGD(1e-2, momentum=0.9, nesterov=True),
}
MODELS = {
    "another activation": lambda: network(activation="tanh"),
    "frozen": lambda: _changed(network(), lambda m: m[0].freeze()),
    "bias frozen": lambda: _changed(network(), lambda m: setattr(m[1].bias, "trainable", False)),
    "statistics": lambda: network(nn.BatchNorm()),
    "statistics frozen": lambda: _changed(network(nn.BatchNorm()), lambda m: m[1].freeze()),
    "epsilon of a layer": lambda: network(nn.BatchNorm(epsilon=0.5)),
    "dropout": lambda: network(nn.Dropout(0.5)),
    "more dropout": lambda: network(nn.Dropout(0.6)),
}
OPTIONS = {
    "penalty": {"penalty": optim.penalties.l2(0.1)},
    "larger penalty": {"penalty": optim.penalties.l2(0.2)},
    "weights of classes": {"class_weight": {0: 3.0}},
}


def _changed(model, change):
    model(X)
    change(model)
    return model


CASES = {f"optimiser: {name}": (network, make, {}) for name, make in SETTINGS.items()}
CASES |= {f"model: {name}": (make, SETTINGS["adam"], {}) for name, make in MODELS.items()}
CASES |= {f"options: {name}": (network, SETTINGS["adam"], options) for name, options in OPTIONS.items()}


def test_each_setting_counts_whatever_was_compiled_before():
    """A program of another setting would give its numbers."""
    first, again = ({name: learn(CASES[name][0](), CASES[name][1](), **CASES[name][2]) for name in order}
                    for order in (CASES, reversed(CASES)))
    same = lambda a, b: len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert [name for name in CASES if not same(first[name], again[name])] == []
    assert [pair for pair in itertools.combinations(CASES, 2) if same(first[pair[0]], first[pair[1]])] == []


@pytest.mark.parametrize("seed", range(40))
def test_equal_keys_mean_equal_functions(seed):
    """Random programs, and each with one of its constants or attributes changed."""
    graph, arrays = random_graph(seed)
    key = key_of(graph, "native", "float32")
    assert key is not None and key == key_of(random_graph(seed)[0], "native", "float32")
    for other in range(seed + 1, seed + 6):
        another, _ = random_graph(other)
        if key_of(another, "native", "float32") == key:
            for a, b in zip(interpret(graph, arrays), interpret(another, arrays), strict=True):
                np.testing.assert_array_equal(a, b)


PAIRS = {
    "a constant": (lambda x: x * 2.0, lambda x: x * 3.0),
    "sign of zero": (lambda x: x * 0.0, lambda x: x * -0.0),
    "not a number": (lambda x: x + np.float32(np.nan), lambda x: x + np.float32(np.inf)),
    "an axis": (lambda x: cr.sum(x[:5], axis=0), lambda x: cr.sum(x[:5], axis=1)),
    "order of operands": (lambda x: x - x[::-1], lambda x: x[::-1] - x),
    "order of results": (lambda x: (x, x + 1.0), lambda x: (x + 1.0, x)),
    "an integer and a boolean": (lambda x: x + cr.asarray(np.int32(1)), lambda x: x + cr.asarray(np.int16(1))),
    "content of an array": (lambda x: x + np.arange(5, dtype=np.float32),
                            lambda x: x + np.arange(5, dtype=np.float32)[::-1].copy()),
    "a body": (lambda x: cr.scan(lambda c, v: (c + v, c * v), x[0], x)[1],
               lambda x: cr.scan(lambda c, v: (c + v, c - v), x[0], x)[1]),
    "a direction": (lambda x: cr.scan(lambda c, v: (c + v, c), x[0], x)[1],
                    lambda x: cr.scan(lambda c, v: (c + v, c), x[0], x, reverse=True)[1]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_what_differs_in_one_thing_is_another_program(name, backend):
    for first, second in (PAIRS[name], PAIRS[name][::-1]):
        for function in (first, second, first):
            wanted = cr.compile(function, backend="reference")(X)
            got = cr.compile(function, backend=backend)(X)
            for a, b in zip(*([x] if isinstance(x, Tensor) else x for x in (got, wanted)), strict=True):
                np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)
                if name != "a body":
                    np.testing.assert_array_equal(np.signbit(a.numpy()), np.signbit(b.numpy()))


def test_a_constant_that_is_written_into_spoils_no_other_program(backend):
    table = np.arange(5, dtype=np.float32)

    def function(x):
        return x + table
    cr.compile(function, backend=backend)(X)
    table += 100
    table2 = np.arange(5, dtype=np.float32)

    def another(x):
        return x + table2
    np.testing.assert_allclose(cr.compile(another, backend=backend)(X).numpy(), X + np.arange(5), rtol=1e-6)


# ---- a program that was taken over speaks for itself

def test_errors_name_the_layer_and_line_of_their_own_trace(backend, lowered):
    def first(x):
        return cr.take(x, cr.asarray([0, 1]), axis=0)[:, cr.astype(x[0, :2], "int64")]  # the first function's line

    def second(x):
        return cr.take(x, cr.asarray([0, 1]), axis=0)[:, cr.astype(x[0, :2], "int64")]  # the second function's line
    good, bad = np.zeros((4, 5), np.float32), np.full((4, 5), 9.0, np.float32)
    for function, words in ((first, "the first function's line"), (second, "the second function's line")):
        compiled = cr.compile(function, backend=backend)
        compiled(good)
        with pytest.raises(BoundsError, match=words):
            compiled(bad)
        np.testing.assert_array_equal(compiled(good).numpy(), np.zeros((2, 2)))
    assert len(lowered) == 1


def test_layers_are_told_by_their_own_path(backend, lowered):
    small, words = nn.Embedding(7, 4), []
    large = nn.Sequential([nn.Embedding(7, 4)])
    for model in (small, large):
        compiled = cr.compile(lambda x, model=model: model(x), backend=backend)
        compiled(np.array([1, 2]))
        with pytest.raises(BoundsError) as caught:
            compiled(np.array([1, 9]))
        words.append(str(caught.value).splitlines()[0])
    assert len(lowered) == 1
    assert words[0].startswith("Embedding") and words[1].startswith("model[0] Embedding"), words


def test_showing_a_program_that_was_taken_over(lowered, capsys):
    texts = []
    for _ in range(2):
        function = cr.compile(lambda x: cr.tanh(x @ x.T), backend="native")
        function(X)
        texts.append([function.show(stage) for stage in ("graph", "passes", "kernels", "llvm", "asm")])
    assert len(lowered) == 1
    assert texts[0][2:] == texts[1][2:]
    entry = next(iter(function.entries.values()))
    assert entry.program.profile([X])[0][0].startswith("0 ")


def test_repeated_and_derived_programs_that_were_taken_over():
    def step():
        w = cr.Variable(np.ones(5, np.float32))
        f = cr.compile(lambda x: cr.sum(cr.tanh(x * w)), backend="native")
        return cr.gradients(f(X), [w])[0].numpy()
    np.testing.assert_array_equal(step(), step())


# ---- what is kept

def test_known_programs_keep_nobody_alive(backend):
    model, optimizer = network(), optim.Adam()
    learn(model, optimizer, backend)
    kept = [weakref.ref(v) for v in (*model.variables().values(), *optimizer.variables().values())]
    assert len(known)
    del model, optimizer
    gc.collect()
    alive = [ref() for ref in kept if ref() is not None]
    assert not alive


def test_few_programs_are_kept_and_none_with_large_constants():
    for i in range(MOST + 5):
        cr.compile(lambda x, i=i: x + np.float32(i), backend="native")(X)
    assert len(known) == MOST
    known.clear()
    large = np.random.default_rng(0).normal(size=(600, 600))
    cr.compile(lambda x: x + large, backend="native")(large)
    assert len(known) == 0


def test_programs_that_share_code_run_at_the_same_time():
    functions = [cr.compile(lambda x: cr.tanh(x @ x.T) @ x, backend="native") for _ in range(4)]
    arrays = [np.random.default_rng(i).normal(size=(30, 20)).astype(np.float32) for i in range(4)]
    alone = [f(x).numpy() for f, x in zip(functions, arrays, strict=True)]
    ready = threading.Barrier(4)

    def run(i):
        ready.wait(30)
        return [functions[i](arrays[i]).numpy() for _ in range(100)]
    with ThreadPoolExecutor(4) as pool:
        for i, found in enumerate(pool.map(run, range(4))):
            assert all(np.array_equal(y, alone[i]) for y in found)


def test_a_loss_with_demands_of_other_numbers():
    """What is checked is part of the program."""
    for classes, bad in ((3, 3), (5, 5), (3, 4)):
        outputs = np.zeros((4, classes), np.float32)
        compiled = cr.compile(lambda o, t: losses.cross_entropy(o, t), backend="native")
        compiled(outputs, np.array([0, 1, 2, classes - 1]))
        with pytest.raises(BoundsError, match=str(bad)):
            compiled(outputs, np.array([0, 1, 2, bad]))
