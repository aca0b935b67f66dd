# SPDX-License-Identifier: Apache-2.0
"""A run's randomness is its own; states of recurrent layers, a last batch of one, and products that do not depend on
threads."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule import data, nn, optim
from chainrule.errors import ArgumentError, ShapeError

GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.normal(size=(40, 6)).astype(np.float32), GENERATOR.integers(0, 2, 40)


def fit(model, xy=(X, Y), **options):
    settings = {"loss": "cross_entropy", "epochs": 2, "batch_size": 8, "progress": False, "backend": "reference"}
    cr.fit(model, xy, **(settings | options))
    return np.concatenate([v.numpy().ravel() for v in model.parameters().values()])


NOISE = [lambda: nn.Dropout(0.5), lambda: nn.GaussianNoise(0.3), lambda: nn.AlphaDropout(0.4)]


@pytest.mark.parametrize("noise", NOISE)
def test_the_seed_is_that_of_the_noise_of_a_built_model_too(noise):
    base = nn.Sequential([nn.Dense(8), noise(), nn.Dense(2)])
    base(X)
    runs = {seed: fit(copy.deepcopy(base), shuffle=False, seed=seed) for seed in (0, 1, 2)}
    assert len({values.tobytes() for values in runs.values()}) == 3
    used = copy.deepcopy(base)
    for _ in range(3):
        used(X, training=True)  # draws
    cr.random.normal((7,))
    np.testing.assert_array_equal(fit(used, shuffle=False, seed=1), runs[1])


# ---- stateful layers

def sequences(n=32):
    x = GENERATOR.normal(size=(n, 5, 3)).astype(np.float32)
    return x, (x[:, 0, 0] > 0).astype(np.int64)


@pytest.mark.parametrize("layer", [nn.SimpleRNN, nn.LSTM, nn.GRU])
def test_stateful_layers_train_as_by_hand(layer):
    x, y = sequences(24)

    def make():
        cr.random.seed(0)
        model = nn.Sequential([layer(4, stateful=True), nn.Dense(2)])
        model.trace(cr.ir.Type((8, 5, 3), np.dtype("float32")))
        return model

    fitted, by_hand, optimizer = make(), make(), optim.SGD(0.1)
    cr.fit(fitted, (x, y), loss="cross_entropy", optimizer=optim.SGD(0.1), epochs=2, batch_size=8, shuffle=False,
           progress=False, backend="reference", validation=(x[:5], y[:5]), keep_best=False)
    for _ in range(2):
        by_hand.reset_states()
        for start in range(0, 24, 8):
            loss = cr.losses.cross_entropy(by_hand(x[start:start + 8], training=True), y[start:start + 8])
            optimizer.update(by_hand, cr.gradients(loss, by_hand))
    for a, b in zip(fitted.parameters().values(), by_hand.parameters().values(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


def test_a_stateful_model_is_built_for_the_batches_of_fit_and_measured_in_them():
    x, y = sequences()
    model = nn.Sequential([nn.LSTM(4, stateful=True), nn.Dense(2)])
    history = cr.fit(model, (x, y), loss="cross_entropy", batch_size=8, shuffle=False, validation=(x[:5], y[:5]),
                     progress=False)
    assert np.isfinite(history["validation_loss"]).all()
    assert cr.predict(model, x).shape == (32, 2)
    assert np.isfinite(cr.evaluate(model, (x, y), loss="cross_entropy")["loss"].value)


def test_a_last_batch_of_another_size_is_refused_before_training():
    x, y = sequences(30)
    with pytest.raises(ArgumentError, match=r"(?s)the last one of 6.*batch_size=6"):
        cr.fit(nn.Sequential([nn.GRU(4, stateful=True), nn.Dense(2)]), (x, y), loss="cross_entropy", batch_size=8,
               shuffle=False, progress=False)


@pytest.mark.parametrize("layer", [nn.SimpleRNN, nn.LSTM, nn.GRU])
def test_stateful_layers_are_refused_with_shuffled_samples(layer):
    x, y = sequences()
    make = lambda: nn.Sequential([nn.Residual([layer(3, stateful=True, return_sequences=True)]),
                                  layer(4, stateful=True), nn.Dense(2)])
    with pytest.raises(ArgumentError, match=r"(?s)shuffled.*shuffle=False"):
        cr.fit(make(), (x, y), loss="cross_entropy", batch_size=8, progress=False)
    # a single batch comes after no other
    cr.fit(make(), (x, y), loss="cross_entropy", batch_size=32, progress=False, backend="reference")


def test_a_stateful_run_resumes_in_the_middle(tmp_path):
    x, y = sequences()
    make = lambda: nn.Sequential([nn.LSTM(4, stateful=True), nn.Dense(2)])
    options = {"xy": (x, y), "shuffle": False}
    whole = fit(make(), **options)
    fit(make(), **options, callbacks=[cr.train.Until(steps=6)], checkpoint=tmp_path / "c")
    np.testing.assert_array_equal(fit(make(), **options, resume=tmp_path / "c"), whole)


# ---- a last batch of one

@pytest.mark.parametrize("backend", ["reference", "native"])
def test_a_last_batch_of_one_joins_the_one_before(backend):
    x, y = np.concatenate([X, X])[:33], np.concatenate([Y, Y])[:33]
    make = lambda: nn.Sequential([nn.Dense(5), nn.BatchNorm(), nn.Dense(2)])
    cr.random.seed(0)
    fitted = make()
    fitted(x)
    by_hand, optimizer = copy.deepcopy(fitted), optim.SGD(0.1)
    cr.fit(fitted, (x, y), loss="cross_entropy", optimizer=optim.SGD(0.1), batch_size=16, shuffle=False, progress=False,
           backend=backend)
    for part in (slice(0, 16), slice(16, 33)):
        optimizer.update(by_hand, cr.gradients(cr.losses.cross_entropy(by_hand(x[part], training=True), y[part]),
                                               by_hand))
    for a, b in zip(fitted.variables().values(), by_hand.variables().values(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-4, atol=1e-6)


def test_single_images_and_other_layers_are_batches_of_their_own():
    images = GENERATOR.normal(size=(9, 4, 4, 1)).astype(np.float32)
    for model, x in ((nn.Sequential([nn.Conv2D(2, 3), nn.BatchNorm(), nn.Flatten(), nn.Dense(2)]), images),
                     (nn.Sequential([nn.Dense(2)]), X[:9])):
        steps = cr.train.Until(steps=99)
        seen = []

        class Count(cr.train.Callback):
            def after_step(self, run, seen=seen):
                seen.append(run.step_number)

        fit(model, (x, Y[:9]), callbacks=[steps, Count()], epochs=1)
        assert seen == [1, 2]


def test_one_sample_in_all_is_still_refused():
    with pytest.raises(ShapeError, match="more than one value per channel"):
        fit(nn.Sequential([nn.BatchNorm(), nn.Dense(2)]), (X[:1], Y[:1]))


@pytest.mark.parametrize(("size", "batch"), [(33, 16), (17, 16), (16, 16), (34, 16), (3, 2), (1, 4)])
@pytest.mark.parametrize("most", [1, 2, 9])
def test_joined_batches_hold_every_sample_once(size, batch, most):
    batches, sizes, seen = data.Batches(size, batch, least=2), [], []
    order = batches.order(0)
    while batches.step < len(batches):
        block = batches.block(order, most)
        batches.advance(len(block))
        sizes += [block.shape[1]] * len(block)
        seen += block.ravel().tolist()
    assert sorted(seen) == list(range(size)) and len(sizes) == len(batches)
    assert min(sizes) >= min(2, size)


# ---- L-BFGS

LBFGS = """
import numpy as np, chainrule as cr
from chainrule import optim
w = cr.Variable(np.zeros(60_000, "f8"))
c = np.random.default_rng(0).normal(size=60_000)
optim.LBFGS().minimize(lambda: cr.sum((w - c) ** 4 + (w * c) ** 2), [w], iterations=6)
import hashlib; print(hashlib.sha256(w.numpy().tobytes()).hexdigest())
"""


def test_lbfgs_has_the_same_bits_on_any_number_of_threads():
    run = lambda threads: subprocess.run([sys.executable, "-c", LBFGS], env=os.environ
                                         | {"CHAINRULE_THREADS": threads, "OPENBLAS_NUM_THREADS": threads,
                                                                                         "OMP_NUM_THREADS": threads},
                                         capture_output=True, text=True, check=True).stdout
    assert run("1") == run("2") != ""
