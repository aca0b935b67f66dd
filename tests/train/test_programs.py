# SPDX-License-Identifier: Apache-2.0
"""Programs are remembered between calls, with the model; whatever a trace could have read is seen when it changes."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from dataclasses import dataclass

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim
from chainrule.compiler.compile import Compiled
from chainrule.train import programs
from chainrule.train.programs import look

X = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
Y = np.arange(6) % 2


@pytest.fixture
def compiled(monkeypatch):
    """How often a function was compiled."""
    seen, real = [], Compiled._compile
    monkeypatch.setattr(Compiled, "_compile",
                        lambda self, *a, **k: (seen.append(self.__name__), real(self, *a, **k))[1])
    return seen


def network():
    return nn.Sequential([nn.Dense(4, activation="relu"), nn.Dense(2)])


def test_nothing_is_compiled_twice(compiled):
    model = network()
    for _ in range(3):
        cr.predict(model, X)
    assert len(compiled) == 1
    for _ in range(3):
        cr.evaluate(model, (X, Y), loss="cross_entropy", metrics=["accuracy"])
    assert len(compiled) == 2
    optimizer = optim.SGD(0.1)
    for _ in range(3):
        cr.fit(model, (X, Y), loss="cross_entropy", optimizer=optimizer, validation=(X, Y), progress=False)
    assert len(compiled) == 4  # the step, and the loss of a mean


def test_what_a_call_says_is_part_of_it(compiled):
    model = network()
    wanted = [lambda: cr.predict(model, X), lambda: cr.predict(model, X, backend="reference"),
              lambda: cr.predict(model, X, precision="bfloat16"),
              lambda: cr.predict(model, X.astype(np.float64), backend="native"),
              lambda: cr.evaluate(model, (X, Y), loss="cross_entropy"),
              lambda: cr.evaluate(model, (X, Y), loss=lambda o, t: losses.cross_entropy(o, t, reduction="none"))]
    found = [call() for call in wanted]
    for call, before in zip(wanted, found, strict=True):
        after = call()
        np.testing.assert_array_equal(*(np.asarray(r.numpy() if hasattr(r, "numpy") else r["loss"].value)
                                        for r in (before, after)))


@dataclass
class Settings:
    scale: float = 1.0


class Own(nn.Module):
    """Reads settings of all kinds."""

    def __init__(self):
        self.rate, self.flag, self.name = 1.0, False, "a"
        self.settings, self.factors, self.layers = Settings(), {"gain": 1.0}, [nn.Dense(5), nn.Dense(5)]
        self.table, self.tensor = np.ones(5, np.float32), cr.ones((5,))
        self.offset = cr.Variable(np.zeros(5, np.float32))
        self.function = self.times(1.0)

    @staticmethod
    def times(factor):
        return lambda x: x * factor

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        x = x * self.rate * self.settings.scale * self.factors["gain"] * self.table * self.tensor + self.offset
        return self.function(-x if self.flag else x) + len(self.name)


CHANGES = {
    "number": lambda m: setattr(m, "rate", 2.0),
    "flag": lambda m: setattr(m, "flag", True),
    "text": lambda m: setattr(m, "name", "abc"),
    "object": lambda m: setattr(m.settings, "scale", 3.0),
    "mapping": lambda m: m.factors.update(gain=4.0),
    "array in place": lambda m: m.table.__setitem__(2, 7.0),
    "tensor in place": lambda m: m.tensor.__setitem__(1, 7.0),
    "closure": lambda m: setattr(m, "function", Own.times(5.0)),
    "another function": lambda m: setattr(m, "function", lambda x: x - 1),
    "layer in a list": lambda m: m.layers.__setitem__(1, nn.Dense(5)),
    "layer less": lambda m: m.layers.pop(),
    "another Variable": lambda m: setattr(m, "offset", cr.Variable(np.ones(5, np.float32))),
    "contents": lambda m: m.offset.assign(np.full(5, 9, np.float32)),
    "contents of a weight": lambda m: m.layers[0].weight.assign(m.layers[0].weight.numpy() * 2),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_seen(name):
    model = Own()
    before = cr.predict(model, X).numpy()
    CHANGES[name](model)
    after = cr.predict(model, X).numpy()
    assert not np.allclose(before, after)
    np.testing.assert_allclose(after, model(X).numpy(), rtol=1e-4, atol=1e-5)


def test_settings_of_layers_are_seen():
    model = nn.Sequential([nn.Dense(4), nn.LayerNorm(), nn.Dense(2)])
    model(X)
    before = cr.predict(model, X).numpy()
    model[1].epsilon = 10.0
    assert not np.allclose(before, cr.predict(model, X).numpy())
    optimizer, dropping = optim.SGD(0.0), nn.Sequential([nn.Dropout(0.0), nn.Dense(2)])
    fit = lambda: cr.fit(dropping, (X, Y), loss="cross_entropy", optimizer=optimizer, progress=False)["loss"]
    kept = fit()
    dropping[0].rate, dropping[0].random = 0.9, cr.random.Generator(3)
    assert fit() != kept
    optimizer.weight_decay = 0.5
    optimizer.learning_rate = 1.0
    weights = dropping[1].weight.numpy()
    fit()
    assert not np.array_equal(weights, dropping[1].weight.numpy())


def test_freezing_between_runs_is_seen():
    model, optimizer = network(), optim.SGD(0.5)
    fit = lambda: cr.fit(model, (X, Y), loss="cross_entropy", optimizer=optimizer, progress=False)
    fit()
    model[0].freeze()
    before = [layer.weight.numpy() for layer in model]
    fit()
    assert np.array_equal(before[0], model[0].weight.numpy()) and not np.array_equal(before[1], model[1].weight.numpy())


def test_a_model_and_an_optimiser_die_with_their_last_name():
    model, optimizer = network(), optim.Adam()
    gc.collect()
    gc.disable()
    try:
        cr.predict(model, X)
        cr.evaluate(model, (X, Y), loss="cross_entropy")
        cr.fit(model, (X, Y), loss="cross_entropy", optimizer=optimizer, validation=(X, Y), progress=False)
        gc.collect()
        kept = weakref.ref(model), weakref.ref(optimizer)
        del optimizer
        gc.collect()
        assert kept[1]() is None
        del model
        gc.collect(0)  # what was just left, but not what a collection of everything would find
        assert kept[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_remember_nothing(copied):
    model = network()
    cr.predict(model, X)
    other = copied(model)
    assert not (other._record.programs or programs.Programs()).kinds
    other[0].weight.assign(other[0].weight.numpy() * 3)
    np.testing.assert_allclose(cr.predict(other, X).numpy(), other(X).numpy(), rtol=1e-4, atol=1e-5)


def test_many_lengths_are_no_reason_to_warn():
    model = network()
    x = np.ones((50, 5), np.float32)
    for n in range(1, 50):
        assert cr.predict(model, x[:n], backend="reference").shape == (n, 2)
    steps = [step for _, step in model._record.programs.kinds["outputs"]]
    assert sum(len(step.entries) for step in steps) <= programs.MOST * programs.ENTRIES


def test_equal_is_not_the_same():
    assert look(1) != look(True) and look(1) != look(1.0) and look([1]) != look((1,))
    cycle = []
    cycle.append(cycle)
    assert look(cycle) == look(cycle)
