# SPDX-License-Identifier: Apache-2.0
"""Many steps in one call; oracle: the same run with one step per call, bit by bit."""

from __future__ import annotations

import hashlib
import os
import signal

import numpy as np
import pytest

import chainrule as cr
from chainrule import augment, errors, nn, optim, train
from chainrule.train import stretch

LENGTH = 5


class EachStep(train.Callback):
    """Asks for every step, so that nothing is stretched."""

    def __init__(self):
        self.steps = []

    def after_step(self, run):
        self.steps.append(run.step_number)


@pytest.fixture(autouse=True)
def lengths(monkeypatch):
    """Stretches of fixed length from the second step on; what is noted: the lengths of the calls that were made."""
    made = []
    run = stretch.Stretch.__call__

    def observe(self, steps, seconds):
        self.length = LENGTH if self.possible else 1

    def call(self, chosen):
        found = run(self, chosen)
        made.append(found[0] if found else None)
        return found

    monkeypatch.setattr(stretch.Stretch, "observe", observe)
    monkeypatch.setattr(stretch.Stretch, "__call__", call)
    return made


def data(n=203, features=6, classes=3):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(n, features)).astype(np.float32)
    return (x, (x @ generator.normal(size=(features, classes))).argmax(-1),
            generator.uniform(0.5, 2, n).astype(np.float32))


def network():
    return nn.Sequential([nn.Dense(16, activation="relu"), nn.BatchNorm(), nn.Dropout(0.3), nn.Dense(3)])


def run(model, arrays, **options):
    settings = {"loss": "cross_entropy", "optimizer": optim.Adam(1e-2, clip_norm=1.0), "epochs": 3, "batch_size": 8,
                "progress": False,
                "metrics": ["accuracy"], "backend": "native"}
    return cr.fit(model, arrays, **(settings | options))


def bits(model):
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.variables().values())).hexdigest()


def rows(history):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def both(make, arrays, **options):
    """(model, history) of a stretched run, and of one with a call for each step."""
    found = []
    for callbacks in ([], [EachStep()]):
        model = make()
        found.append((model, run(model, arrays,
                                 **(options | {"callbacks": [*callbacks, *options.get("callbacks", [])]}))))
    return found


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_bits_of_single_steps(lengths, monkeypatch, threads):
    monkeypatch.setenv("CHAINRULE_THREADS", threads)
    (one, stretched), (two, single) = both(network, data())
    assert bits(one) == bits(two)
    assert rows(stretched) == rows(single)
    assert max(lengths) == LENGTH
    assert sum(lengths) > 60  # of 78, with 3 smaller ones


def test_large_weights_on_one_and_two_threads(lengths, monkeypatch):
    found = set()
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((320, 784), np.float32), generator.integers(0, 10, 320)
    for threads in ("1", "2"):
        monkeypatch.setenv("CHAINRULE_THREADS", threads)
        for callbacks in ([], [EachStep()]):
            model = nn.Sequential([nn.Dense(128, activation="relu"), nn.Dense(10)])
            run(model, (x, y), batch_size=32, callbacks=callbacks)
            found.add(bits(model))
    assert len(found) == 1
    assert lengths.count(LENGTH) >= 8


def test_data_that_cannot_be_gathered_in_place_has_the_same_bits(lengths):
    x, y, _ = data()
    wide = np.repeat(x, 2, axis=1)[:, ::2]
    models = [network(), network()]
    for model, inputs in zip(models, (x, wide), strict=True):
        run(model, (inputs, y))
    assert bits(models[0]) == bits(models[1])
    assert lengths.count(None) == 1  # one attempt, then single steps


def test_other_backends_and_augmentation_take_one_step_per_call(lengths):
    x, y, _ = data()
    run(network(), (x, y), backend="reference", epochs=1)
    assert lengths == [None]
    images = np.random.default_rng(0).uniform(size=(40, 4, 4, 1)).astype(np.float32)
    model = nn.Sequential([nn.Flatten(), nn.Dense(3)])
    run(model, (images, np.arange(40) % 3), augment=augment.Compose([augment.Flip()]), epochs=1)
    assert lengths == [None]


def test_callbacks_are_called_when_they_ask(lengths, tmp_path):
    every = EachStep()
    run(network(), data(), epochs=1, callbacks=[every, train.Checkpoint(tmp_path / "c", every_steps=3)])
    assert every.steps == list(range(1, 27))
    assert not lengths

    class Saves(train.Checkpoint):
        saved = []

        def after_step(self, run):
            super().after_step(run)
            self.saved.append(run.step_number)

        def steps_apart(self, run):
            return super().steps_apart(run)

    run(network(), data(), epochs=1, callbacks=[Saves(tmp_path / "d", every_steps=7)])
    assert {7, 14, 21} <= set(Saves.saved)
    assert max(lengths) == LENGTH


@pytest.mark.parametrize("every", [3, 7])
def test_a_run_resumed_in_the_middle_ends_with_the_same_bits(tmp_path, every):
    whole, kept, resumed = network(), network(), network()
    history = run(whole, data())
    run(kept, data(), epochs=1, callbacks=[train.Checkpoint(tmp_path / "c", every=100, every_steps=every)])
    again = run(resumed, data(), resume=tmp_path / "c", callbacks=[train.Checkpoint(tmp_path / "d", every=100)])
    assert bits(resumed) == bits(whole)
    assert rows(again) == rows(history)


def test_an_interrupted_run_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    whole, resumed = network(), network()
    history = run(whole, data())
    real, calls = stretch.Stretch.__call__, [0]

    def call(self, chosen):
        calls[0] += 1
        if calls[0] == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, chosen)

    monkeypatch.setattr(stretch.Stretch, "__call__", call)
    stopped = run(network(), data(), checkpoint=tmp_path / "c")
    assert stopped.interrupted
    monkeypatch.setattr(stretch.Stretch, "__call__", real)
    again = run(resumed, data(), resume=tmp_path / "c")
    assert bits(resumed) == bits(whole)
    assert rows(again) == rows(history)


class Broken(nn.Module):
    """Divides by a feature, which is zero once."""

    def __init__(self):
        self.dense = nn.Dense(3)

    def forward(self, x, training=False):
        return self.dense(1.0 / x)


@pytest.mark.parametrize("spoil", [lambda x: x.__setitem__((50, 2), np.nan), lambda x: x.__setitem__((50, 2), 0.0)])
def test_a_step_that_is_not_finite_is_named_and_changes_nothing(spoil):
    x, y, _ = data()
    spoil(x)
    said, kept = [], []
    for callbacks in ([], [EachStep()]):
        model = Broken()
        with pytest.raises(errors.NonFiniteError) as info:
            run(model, (x, y), callbacks=callbacks)
        said.append(str(info.value))
        kept.append(bits(model))
    assert said[0] == said[1]
    assert "step" in said[0]
    assert kept[0] == kept[1]


def test_batches_without_weight_are_passed_over(lengths):
    x, y, weights = data()
    weights[40:120] = 0
    (one, stretched), (two, single) = both(network, (x, y, weights), shuffle=False)
    assert bits(one) == bits(two)
    assert rows(stretched) == rows(single)
    assert 1 in lengths  # a step that is not finite ends its stretch


def test_an_index_out_of_bounds_is_reported_as_before():
    x = np.arange(160).reshape(80, 2) % 20
    x[57, 1] = 20
    said = []
    for callbacks in ([], [EachStep()]):
        model = nn.Sequential([nn.Embedding(20, 4), nn.Flatten(), nn.Dense(3)])
        with pytest.raises(errors.BoundsError) as info:
            run(model, (x, np.arange(80) % 3), callbacks=callbacks)
        said.append((str(info.value), bits(model)))
    assert said[0] == said[1]


class Lookup(nn.Module):
    """A loop over the steps of a sequence that looks up a row of a table in each."""

    def __init__(self):
        self.table, self.last = nn.Embedding(20, 4), nn.Dense(3)

    def forward(self, ids, training=False):
        def body(state, index):
            return cr.tanh(state * 0.5 + self.table(index)), None
        state, _ = cr.scan(body, cr.zeros((ids.shape[0], 4)), cr.permute_dims(ids, (1, 0)))
        return self.last(state)


def test_a_loop_that_looks_up_by_index(lengths):
    ids = np.random.default_rng(0).integers(0, 20, (203, 5))
    (one, stretched), (two, single) = both(Lookup, (ids, ids.sum(axis=1) % 3))
    assert bits(one) == bits(two)
    assert rows(stretched) == rows(single)
    assert max(lengths) == LENGTH
    model = Lookup()
    run(model, (ids, ids.sum(axis=1) % 3), backend="reference")
    for name, v in model.variables().items():
        np.testing.assert_allclose(one.variables()[name].numpy(), v.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


def test_an_index_out_of_bounds_in_a_loop_is_reported_as_before():
    ids = np.random.default_rng(0).integers(0, 20, (80, 5))
    ids[57, 3] = 20
    said = []
    for callbacks in ([], [EachStep()]):
        model = Lookup()
        with pytest.raises(errors.BoundsError) as info:
            run(model, (ids, np.arange(80) % 3), callbacks=callbacks)
        said.append((str(info.value), bits(model)))
    assert said[0] == said[1]


def test_the_length_follows_the_time(monkeypatch):
    monkeypatch.undo()
    made = stretch.Stretch(None, None, outputs=False, possible=True)
    for _ in range(10):
        made.observe(made.length, made.length * 1e-4)
    assert made.length == int(stretch.SECONDS / 1e-4)
    made.observe(made.length, made.length * 1e-2)
    assert made.length == 2
    made.observe(made.length, made.length * 1.0)
    assert made.length == 1
