# SPDX-License-Identifier: Apache-2.0
"""EMA and SWA: averages by hand, swapping in and out, resuming with the same bits, statistics computed anew."""

from __future__ import annotations

import signal

import numpy as np
import pytest

import chainrule as cr
from chainrule import errors, nn, optim, train
from chainrule.train.averaging import recompute_statistics

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((90, 5)).astype(np.float32)
Y = (X @ GENERATOR.standard_normal((5, 3))).argmax(-1)


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order():
    cr.random.seed(0)
    GENERATOR.bit_generator.state = np.random.default_rng(1).bit_generator.state


def network(norm=False, dropout=0.0):
    extra = [*([nn.BatchNorm()] if norm else []), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential([nn.Dense(8, activation="tanh"), *extra, nn.Dense(3)])


def fit(model, callbacks, **options):
    settings = {"loss": "cross_entropy", "optimizer": optim.SGD(0.5), "epochs": 6, "batch_size": 32, "progress": False,
                "backend": "reference"}
    return cr.fit(model, (X, Y), callbacks=callbacks, **(settings | options))


class Record(train.Callback):
    def __init__(self):
        self.steps, self.epochs = [], []

    def after_step(self, run):
        self.steps.append({name: v.numpy() for name, v in run.model.variables().items()})

    def after_epoch(self, run, row):
        self.epochs.append({name: v.numpy() for name, v in run.model.variables().items()})


def test_ema_is_its_recursion_and_ends_in_the_model():
    model, record, ema = network(), Record(), train.EMA(0.9)
    fit(model, [record, ema])
    for name, variable in model.variables().items():
        average = record.steps[0][name].astype(np.float64)
        for t, weights in enumerate(record.steps[1:], 2):
            decay = min(0.9, (1 + t) / (10 + t))
            average = decay * average + (1 - decay) * weights[name]
        np.testing.assert_allclose(variable.numpy(), average, atol=1e-6)
        assert np.abs(variable.numpy() - record.steps[-1][name]).max() > 0


def test_swa_is_the_mean_of_the_late_epochs():
    model, record = network(), Record()
    fit(model, [record, train.SWA(start=3, every=2)])
    for name, variable in model.variables().items():
        np.testing.assert_allclose(variable.numpy(), np.mean([record.epochs[i][name] for i in (2, 4)], axis=0),
                                   atol=1e-6)


def test_averages_are_measured_and_swapped_out_again():
    plain, watched = network(), network()
    first = fit(plain, [], validation=(X[:40], Y[:40]), metrics=["accuracy"])
    ema = train.EMA(0.8, apply=False)
    second = fit(watched, [ema], validation=(X[:40], Y[:40]), metrics=["accuracy"])
    for a, b in zip(plain.variables().values(), watched.variables().values(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert first["validation_loss"] == second["validation_loss"]
    before = watched.variables()["0.weight"].numpy()
    with ema.swapped(watched):
        measured = cr.evaluate(watched, (X[:40], Y[:40]), loss="cross_entropy", metrics=["accuracy"],
                               backend="reference")
        assert not np.array_equal(watched.variables()["0.weight"].numpy(), before)
    np.testing.assert_array_equal(watched.variables()["0.weight"].numpy(), before)
    assert second["ema_validation_loss"][-1] == pytest.approx(measured["loss"], rel=1e-6)
    assert second["ema_validation_accuracy"][-1] == measured["accuracy"].value


class KillAt(train.Callback):
    def __init__(self, step):
        self.step = step

    def after_step(self, run):
        if run.step_number == self.step:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("step", [2, 3, 11, 16])
@pytest.mark.parametrize("make", [lambda: train.EMA(0.9), lambda: train.SWA(3)], ids=["ema", "swa"])
def test_a_resumed_run_has_the_same_bits(tmp_path, make, step):
    whole, resumed = network(norm=True, dropout=0.2), network(norm=True, dropout=0.2)
    fit(whole, [make(), train.Callback()])
    fit(network(norm=True, dropout=0.2), [make(), KillAt(step)], checkpoint=tmp_path / "run")
    fit(resumed, [make(), train.Callback()], resume=tmp_path / "run")
    for a, b in zip(whole.variables().values(), resumed.variables().values(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_statistics_belong_to_the_averaged_weights():
    model = network(norm=True)
    fit(model, [train.SWA(2)], batch_size=90)
    hidden = np.tanh(X @ model.layers[0].weight.numpy() + model.layers[0].bias.numpy())
    norm = model.layers[1]
    np.testing.assert_allclose(norm.running_mean.numpy(), hidden.mean(0), atol=1e-5)
    np.testing.assert_allclose(norm.running_variance.numpy(), hidden.var(0, ddof=1), rtol=1e-4)


def test_recomputing_changes_nothing_else():
    model = network(norm=True, dropout=0.5)
    fit(model, [])
    before = {name: v.numpy() for name, v in model.variables().items()}
    recompute_statistics(model, X, 30, backend="reference")
    for name, v in model.variables().items():
        assert np.array_equal(v.numpy(), before[name]) == ("running" not in name), name
    assert model.layers[1].momentum == nn.BatchNorm().momentum
    hidden = np.tanh(X @ before["0.weight"] + before["0.bias"])
    np.testing.assert_allclose(model.layers[1].running_mean.numpy(), hidden.mean(0), atol=1e-5)


def test_an_interrupted_run_keeps_its_own_weights(tmp_path):
    model, record = network(), Record()
    fit(model, [record, train.EMA(0.9), KillAt(7)])
    np.testing.assert_array_equal(model.variables()["0.weight"].numpy(), record.steps[-1]["0.weight"])


def test_mistakes_are_named():
    for make in (lambda: train.EMA(1.0), lambda: train.SWA(0), lambda: train.SWA(every=0)):
        with pytest.raises(errors.ArgumentError):
            make()
