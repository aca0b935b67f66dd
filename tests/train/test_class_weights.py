# SPDX-License-Identifier: Apache-2.0
"""`class_weight=` against sums by hand, for any batch size; imbalance is said; the best weights are kept with
validation data."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, train
from chainrule.errors import ArgumentError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(24, 4)).astype(np.float32)
Y = (np.arange(24) % 6 == 0).astype(np.int64)
WEIGHTS = {0: 0.5, 1: 3.0}


def built():
    cr.random.seed(0)
    model = nn.Sequential([nn.Dense(3, activation="tanh"), nn.Dense(2)])
    model(X)
    return model


def fit(model, xy=(X, Y), **options):
    settings = {"loss": "cross_entropy", "optimizer": optim.SGD(0.3), "progress": False, "backend": "native",
                "shuffle": False}
    return cr.fit(model, xy, **(settings | options))


def by_hand(model, batch_size, factors, own=None):
    optimizer, own = optim.SGD(0.3), np.ones(24, np.float32) if own is None else own
    for start in range(0, 24, batch_size):
        part = slice(start, start + batch_size)
        values = cr.losses.cross_entropy(model(X[part], training=True), Y[part], reduction="none")
        loss = cr.sum(values * (own * factors)[part]) / own[part].sum()
        optimizer.update(model, cr.gradients(loss, model))
    return model


def close(a, b):
    for p, q in zip(a.parameters().values(), b.parameters().values(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 5, 8, 24])
@pytest.mark.parametrize("own", [None, GENERATOR.uniform(0.5, 2, 24).astype(np.float32)])
def test_a_class_counts_by_its_weight_in_any_batch(batch_size, own):
    model = built()
    factors = np.where(Y == 1, 3.0, 0.5).astype(np.float32)
    history = fit(model, (X, Y) if own is None else (X, Y, own), batch_size=batch_size, class_weight=WEIGHTS)
    close(model, by_hand(built(), batch_size, factors, own))
    assert np.isfinite(history["loss"]).all()


def test_balanced_is_the_weight_of_the_rarity():
    ours, said = built(), built()
    fit(ours, class_weight="balanced", batch_size=7)
    fit(said, class_weight={0: 24 / (2 * 20), 1: 24 / (2 * 4)}, batch_size=7)
    close(ours, said)


def test_weights_of_one_change_nothing():
    ours, plain = built(), built()
    fit(ours, class_weight={0: 1.0, 1: 1.0}, batch_size=8, epochs=2)
    fit(plain, batch_size=8, epochs=2)
    close(ours, plain)


def test_accumulated_batches_are_one_large_one():
    ours, whole = built(), built()
    fit(ours, class_weight=WEIGHTS, batch_size=6, optimizer=optim.accumulate(optim.SGD(0.3), 4))
    fit(whole, class_weight=WEIGHTS, batch_size=24)
    close(ours, whole)


def test_metrics_and_labels_of_other_kinds():
    history = fit(built(), class_weight=WEIGHTS, metrics=["accuracy"], optimizer=optim.SGD(0.0))
    assert history["accuracy"][0] == fit(built(), metrics=["accuracy"], optimizer=optim.SGD(0.0))["accuracy"][0]
    one = nn.Sequential([nn.Dense(1)])
    fit(one, (X, Y.astype(np.float32)[:, None]), loss="binary_cross_entropy", class_weight={0: 1.0, 1: 4.0})


@pytest.mark.parametrize(("wanted", "text"), [({2: 1.0}, "no sample has"), ({0: -1.0}, "0 or more"),
                                              ("even", "'balanced'"), ([1, 2], "{label: weight}")])
def test_mistakes(wanted, text):
    with pytest.raises(ArgumentError, match=text):
        fit(built(), class_weight=wanted)


def test_targets_that_are_no_labels():
    with pytest.raises(ArgumentError, match="one label for each sample"):
        fit(nn.Sequential([nn.Dense(1)]), (X, X[:, :1]), loss="mean_squared_error", class_weight="balanced")


def test_imbalance_is_said(capsys):
    y = (np.arange(24) == 3).astype(np.int64)
    fit(built(), (X, y), progress="lines")
    assert "class 1 has 4.17% of the samples" in capsys.readouterr().out
    fit(built(), (X, y), progress="lines", class_weight="balanced")
    fit(built(), progress="lines")
    assert "of the samples" not in capsys.readouterr().out


# ---- the best weights

def rising(**options):
    """A run whose validation loss is least after the first epoch, and the weights after each."""
    seen = []

    class Note(train.Callback):
        def after_epoch(self, run, row):
            seen.append([v.numpy() for v in run.model.variables().values()])

    model = built()
    history = fit(model, validation=(X, 1 - Y), epochs=4, callbacks=[Note(), *options.pop("callbacks", [])], **options)
    return history, [v.numpy() for v in model.variables().values()], seen


def test_with_validation_data_the_best_weights_are_kept():
    history, weights, seen = rising()
    best = int(np.argmin(history["validation_loss"]))
    assert best == 0
    assert all(map(np.array_equal, weights, seen[best]))
    assert history.kept == {"epoch": 1, "validation_loss": history["validation_loss"][0]} and "kept epoch 1" in repr(
        history
    )


@pytest.mark.parametrize("options", [{"keep_best": False},
                                     {"callbacks": [train.EarlyStopping(patience=9, restore_best=False)]}])
def test_that_can_be_turned_off(options):
    history, weights, seen = rising(**copy.copy(options))
    assert all(map(np.array_equal, weights, seen[-1]))
    assert history.kept is None


def test_averages_go_before_the_best_weights():
    history, weights, seen = rising(callbacks=[train.SWA(start=3)])
    assert history.kept is None
    assert not any(all(map(np.array_equal, weights, one)) for one in seen)


def test_a_resumed_run_keeps_the_best_of_all_its_epochs(tmp_path):
    options = {"validation": (X, 1 - Y), "checkpoint": tmp_path / "c"}
    whole, parts = built(), built()
    fit(whole, epochs=5, validation=(X, 1 - Y))
    fit(built(), epochs=3, **options)
    assert fit(parts, epochs=5, resume=tmp_path / "c", **options).kept["epoch"] == 1
    close(whole, parts)
