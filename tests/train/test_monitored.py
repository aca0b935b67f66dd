# SPDX-License-Identifier: Apache-2.0
"""The direction of what is monitored, callbacks in a second run, and what a checkpoint refuses and keeps."""

from __future__ import annotations

import re

import numpy as np
import pytest

import chainrule as cr
from chainrule import metrics, nn, optim, train, tuning
from chainrule.errors import ArgumentError, DataError

GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.normal(size=(48, 5)).astype(np.float32), GENERATOR.integers(0, 2, 48)
PREFIXES = ("", "validation_", "val_", "ema_validation_", "swa_validation_", "polyak_validation_", "test_", "train_")


def network():
    return nn.Sequential([nn.Dense(8, activation="relu"), nn.Dropout(0.2), nn.Dense(2)])


def fit(model, xy=(X, Y), **options):
    settings = {"loss": "cross_entropy", "optimizer": optim.Adam(3e-2), "epochs": 4, "batch_size": 16, "seed": 1,
                "progress": False, "backend": "reference"}
    return cr.fit(model, xy, **(settings | options))


def arrays(model):
    return [v.numpy() for v in model.variables().values()]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(arrays(a), arrays(b), strict=True))


# ---- direction

@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", [*metrics.NAMES, "top_5", "f1_macro", "recall_weighted"])
def test_every_metric_says_its_direction_behind_any_prefix(prefix, name):
    larger = metrics.get(name).higher_is_better
    column, values = prefix + name, [0.1, 0.2, 0.3, 0.4]
    assert metrics.larger_is_better(column) is larger
    assert train.History([{"epoch": i, column: v}
                          for i, v in enumerate(values)]).best(column)["epoch"] == (3 if larger else 0)
    optimizer, plateau = optim.SGD(1.0), optim.Plateau(column, patience=0, factor=0.5)
    for value in values if larger else values[::-1]:
        plateau.observe(value, optimizer)
    assert optimizer.learning_rate == 1.0


@pytest.mark.parametrize("column", [p + name for p in PREFIXES for name in ("loss", "reconstruction_loss")])
def test_losses_fall(column):
    assert metrics.larger_is_better(column) is False


class Scripted(metrics.Metric):
    """A metric whose values are given."""

    name = "score_of_mine"

    def __init__(self, larger):
        self.higher_is_better = larger
        super().__init__()

    def update(self, outputs, targets, weights=None):
        self.total = 1.0

    def reset(self):
        self.broken, self.total = False, 0.0

    def _value(self):
        return VALUES[min(len(SEEN), len(VALUES) - 1)]


VALUES, SEEN = [0.5, 0.7, 0.6, 0.65, 0.66], []


class Note(train.Callback):
    def after_epoch(self, run, row):
        SEEN.append(row["epoch"])


@pytest.mark.parametrize("larger", [True, False])
def test_own_metrics_say_their_direction_everywhere(larger):
    SEEN.clear()
    stop, plateau, until = train.EarlyStopping("validation_score_of_mine",
                                               patience=9), optim.Plateau("validation_score_of_mine", patience=9), \
        train.Until(target={"score_of_mine": 0.69 if larger else 0.51})
    history = fit(network(), epochs=5, metrics=[Scripted(larger)], validation=(X, Y),
                  callbacks=[stop, plateau, until, Note()])
    best = 2 if larger else 1
    assert stop.best_epoch == history.best("score_of_mine")["epoch"] == best
    assert len(history) == best  # `until` has ended it


def test_a_number_without_a_metric_has_no_direction():
    class Column(train.Callback):
        def after_epoch(self, run, row):
            row["gap"] = float(row["epoch"])

    with pytest.raises(ArgumentError, match="larger_is_better=True or False"):
        fit(network(), callbacks=[Column(), train.EarlyStopping("gap")])
    stop = train.EarlyStopping("gap", larger_is_better=True)
    history = fit(network(), callbacks=[Column(), stop])
    assert stop.best_epoch == 4 == history.best("gap", larger_is_better=True)["epoch"]


def test_a_search_in_the_other_direction_is_refused():
    def run(trial):
        history = fit(network(), metrics=["accuracy"], callbacks=[trial.reports("accuracy")], epochs=1)
        return history["accuracy"][-1]

    space = {"rate": tuning.uniform(0.0, 1.0)}
    with pytest.raises(ArgumentError, match="higher_is_better=True"):
        tuning.tune(run, space, 1, method="random", repeats=0)
    assert tuning.tune(run, space, 1, method="random", repeats=0, higher_is_better=True).best.value > 0


# ---- a second run

def made():
    return [train.EarlyStopping("loss", patience=9), train.EMA(0.5), train.SWA(start=2),
            optim.Plateau("loss", patience=1), train.Until(change=1e-9),
            train.Validation(every_steps=2)]


@pytest.mark.parametrize("number", range(len(made())))
def test_a_callback_starts_afresh_in_a_second_run(number):
    used, fresh = made()[number], made()[number]
    fit(network(), (X, 1 - Y), validation=(X, Y), callbacks=[used], seed=5)
    models = network(), network()
    histories = [fit(model, validation=(X, Y), callbacks=[callback])
                 for model, callback in zip(models, (used, fresh), strict=True)]
    assert same(*models)
    assert histories[0]["loss"] == histories[1]["loss"]
    assert used.state().keys() == fresh.state().keys()


def test_callbacks_of_ones_own_with_a_state_start_afresh_too():
    class Count(train.Callback):
        def __init__(self):
            self.steps = 0

        def after_step(self, run):
            self.steps += 1

        def state(self):
            return {"steps": self.steps}

        def restore(self, state):
            self.steps = state["steps"]

    count = Count()
    for _ in range(2):
        fit(network(), callbacks=[count], epochs=1)
    assert count.steps == 3


def test_cross_validation_stops_each_fold_by_itself():
    coins = np.random.default_rng(1).integers(0, 2, 48)
    stop = train.EarlyStopping("loss", patience=1, min_delta=9.0, restore_best=False)  # after two epochs
    scores = [train.cross_validate(network, (X, coins), loss="cross_entropy", metrics=["accuracy"],
                                   optimizer=optim.Adam(3e-3), parts=3, backend="reference",
                                   **options)["accuracy"].values
              for options in ({"epochs": 2}, {"epochs": 9, "callbacks": [stop]})]
    np.testing.assert_array_equal(*scores)


# ---- checkpoints

@pytest.mark.parametrize("callback", [lambda: train.SWA(start=2), lambda: train.EMA(0.9),
                                      lambda: optim.Plateau("loss", patience=0, min_delta=1.0)])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("every_steps", [None, 5])
def test_the_order_of_callbacks_does_not_matter_for_a_checkpoint(tmp_path, callback, first, every_steps):
    def run(epochs, resume=None):
        model, saves = (network(), train.Checkpoint(tmp_path / "c", every=99 if every_steps else 1,
                                                    every_steps=every_steps))
        fit(model, epochs=epochs, resume=resume, callbacks=[saves, callback()] if first else [callback(), saves])
        return model

    whole = run(6)
    run(4)
    assert same(run(6, tmp_path / "c"), whole)


def test_a_callback_that_saves_by_itself_saves_what_all_have_seen(tmp_path):
    class Mine(train.Callback):
        def after_epoch(self, run, row):
            run.save(tmp_path / "c")

    models = network(), network(), network()
    fit(models[0], epochs=6, callbacks=[Mine(), train.SWA(start=2)])
    fit(models[1], callbacks=[Mine(), train.SWA(start=2)])
    fit(models[2], epochs=6, callbacks=[Mine(), train.SWA(start=2)], resume=tmp_path / "c")
    assert same(models[0], models[2])


@pytest.mark.parametrize("stop", [lambda: train.EarlyStopping("validation_loss", patience=1, min_delta=9.0),
                                  lambda: train.Until(steps=5),
                                  lambda: train.Until(steps=6), lambda: train.Until(target={"loss": 9.0})])
def test_a_run_that_ended_stays_ended(tmp_path, stop):
    found = []
    for resume in (None, tmp_path / "c", tmp_path / "c"):
        model = network()
        history = fit(model, epochs=30, validation=(X, Y), callbacks=[train.EMA(0.9, measure=False), stop()],
                      checkpoint=tmp_path / "c", resume=resume)
        found.append(([row["loss"] for row in history], arrays(model)))
        content = (tmp_path / "c").read_bytes()
    assert len(found[0][0]) < 30 and content
    for losses, values in found[1:]:
        assert losses == found[0][0]
        assert all(np.array_equal(a, b) for a, b in zip(values, found[0][1], strict=True))


def test_a_run_that_waits_for_something_else_now_goes_on(tmp_path):
    whole, parts = network(), network()
    fit(whole)
    fit(network(), callbacks=[train.Until(steps=4)], checkpoint=tmp_path / "c")
    fit(network(), callbacks=[train.Until(steps=7)], checkpoint=tmp_path / "c", resume=tmp_path / "c")
    fit(parts, resume=tmp_path / "c", callbacks=[train.Until(steps=99), train.Callback()])
    assert same(whole, parts)
    fit(network(), callbacks=[train.Until(seconds=0.0)], checkpoint=tmp_path / "c")
    assert len(fit(network(), callbacks=[train.Until(seconds=1e6)], resume=tmp_path / "c")) == 4


OTHERS = {
    "optimiser": ({"optimizer": optim.SGD(3e-2)}, "another optimiser"),
    "learning rate": ({"optimizer": optim.Adam(1e-2)}, "another optimiser"),
    "schedule": ({"optimizer": optim.Adam(optim.schedules.cosine(1e-2, 9))}, "another optimiser"),
    "loss": ({"loss": lambda o, t: cr.losses.cross_entropy(o, t, reduction="none")}, "another loss"),
    "metrics": ({"metrics": ["auc"]}, "another list of metrics"),
    "data": ({"xy": (X, 1 - Y)}, "another data set"),
    "one value": ({"xy": (np.where(np.arange(240).reshape(48, 5) == 77, 0, X), Y)}, "another data set"),
    "weights of samples": ({"xy": (X, Y, np.linspace(0, 1, 48))}, "another data set"),
    "validation": ({"validation": (X[:9], Y[:9])}, "another validation data"),
    "order": ({"shuffle": False}, "other batches"),
    "seed": ({"seed": 2}, "other batches"),
    "batch size": ({"batch_size": 8}, "other batches"),
    "precision": ({"precision": "bfloat16"}, "another precision"),
    "callbacks": ({"callbacks": [train.EMA(), train.EarlyStopping("loss")]}, "other callbacks"),
    "augmentation": ({"augment": cr.augment.Compose([cr.augment.Flip()])}, "another augmentation"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_run_is_refused_before_anything_changes(tmp_path, name):
    other, text = OTHERS[name]
    path, model = tmp_path / "c", network()
    settings = {"metrics": ["accuracy"], "validation": (X, Y), "callbacks": [train.EarlyStopping("loss"), train.EMA()],
                "checkpoint": path}
    fit(network(), **settings)
    fit(model, epochs=0)
    before, content = arrays(model), path.read_bytes()
    options = settings | other
    with pytest.raises(ArgumentError, match=text):
        fit(model, options.pop("xy", (X, Y)), resume=path, **options)
    assert path.read_bytes() == content
    assert all(np.array_equal(a, b) for a, b in zip(before, arrays(model), strict=True)) or name == "seed"


def test_another_network_is_refused_before_anything_changes(tmp_path):
    fit(network(), checkpoint=tmp_path / "c")
    model = nn.Sequential([nn.Dense(9, activation="relu"), nn.Dense(2)])
    fit(model, epochs=0)
    before = arrays(model)
    with pytest.raises(DataError, match=r"(does not fit|do not belong to) this model"):
        fit(model, resume=tmp_path / "c")
    assert all(np.array_equal(a, b) for a, b in zip(before, arrays(model), strict=True))


def test_the_same_run_made_again_is_recognised(tmp_path):
    make = lambda: optim.accumulate(optim.AdamW(optim.schedules.warmup(optim.schedules.cosine(1e-2, 90), 5)), 2)
    fit(network(), optimizer=make(), checkpoint=tmp_path / "c", augment=None)
    assert len(fit(network(), optimizer=make(), resume=tmp_path / "c", epochs=5)) == 5


def test_a_changed_bit_is_found(tmp_path):
    path = tmp_path / "c"
    fit(network(), checkpoint=path)
    whole = path.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    state = re.search(rb'"epoch\\": 4', whole) or re.search(rb"epoch", whole)
    for place in [*np.random.default_rng(0).integers(8 + size, len(whole), 20).tolist(), state.end() - 1]:
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="c"):
            fit(network(), resume=path)
