# SPDX-License-Identifier: Apache-2.0
"""`fit`, `evaluate`, `predict`: what they compute, against sums by hand; resuming, against the run that was not
stopped."""

from __future__ import annotations

import hashlib
import signal

import numpy as np
import pytest

import chainrule as cr
from chainrule import errors, nn, optim, train
from chainrule.train.data import samples

BACKENDS = ("reference", "native")


def data(n=203, features=6, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, features)).astype(np.float32)
    return x, (x @ generator.normal(size=(features, classes))).argmax(-1)


def network(dropout=0.0, norm=False):
    layers = [nn.Dense(16, activation="relu")]
    layers += [nn.BatchNorm()] if norm else []
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential([*layers, nn.Dense(3)])


def run(model, xy, **options):
    settings = {"loss": "cross_entropy", "optimizer": optim.Adam(1e-2), "epochs": 3, "batch_size": 32,
                "progress": False, "backend": "reference"}
    return cr.fit(model, xy, **(settings | options))


def bits(model):
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in model.variables().values())).hexdigest()


@pytest.mark.parametrize("backend", BACKENDS)
def test_learns_a_linear_rule(backend):
    x, y = data(400)
    model = network()
    history = run(model, (x[:300], y[:300]), epochs=20, metrics=["accuracy"], validation=(x[300:], y[300:]),
                  backend=backend)
    assert history["loss"][-1] < 0.4 * history["loss"][0]
    assert history["validation_accuracy"][-1] > 0.9
    assert [row["epoch"] for row in history] == list(range(1, 21))


def test_epoch_loss_is_exact_for_any_batch_size():
    x, y = data()
    losses = [run(network(), (x, y), optimizer=optim.SGD(0.0), epochs=1, batch_size=b, metrics=["accuracy"]).rows[0]
              for b in (7, 32, 203)]
    for row in losses[1:]:
        assert row["loss"] == pytest.approx(losses[0]["loss"], rel=1e-6)
        assert row["accuracy"] == losses[0]["accuracy"]


def test_evaluate_equals_numpy_and_has_an_interval():
    x, y = data()
    model = network()
    run(model, (x, y))
    result = cr.evaluate(model, (x, y), loss="cross_entropy", metrics=["accuracy"], batch_size=50, backend="reference")
    logits = cr.predict(model, x, batch_size=64, backend="reference").numpy().astype(np.float64)
    log_p = (logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
             - logits.max(-1, keepdims=True))
    assert result["loss"] == pytest.approx(-log_p[np.arange(len(y)), y].mean(), rel=1e-5)
    assert result["accuracy"].value == (logits.argmax(-1) == y).mean()
    assert result["accuracy"].low < result["accuracy"].value < result["accuracy"].high


def test_sample_weights_count_as_repetition():
    x, y = data(60)
    weights = np.random.default_rng(1).integers(0, 3, 60).astype(np.float32)
    model = network()
    run(model, (x, y), epochs=0)
    repeated = np.repeat(np.arange(60), weights.astype(int))
    weighted = cr.evaluate(model, (x, y, weights), loss="cross_entropy", backend="reference")
    by_hand = cr.evaluate(model, (x[repeated], y[repeated]), loss="cross_entropy", backend="reference")
    assert weighted["loss"] == pytest.approx(by_hand["loss"], rel=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_same_seed_same_bits(backend):
    x, y = data()
    made = []
    for seed in (0, 0, 1):
        model = network(dropout=0.3)
        run(model, (x, y), seed=seed, backend=backend)
        made.append(bits(model))
    assert made[0] == made[1] != made[2]


class KillAt(train.Callback):
    """Ctrl-C after a step."""

    def __init__(self, step):
        self.step = step

    def after_step(self, run):
        if run.step_number == self.step:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("step", [1, 6, 7, 8, 13, 20])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path, step):
    x, y = data()
    options = {"metrics": ["accuracy", "auc"], "validation": (x[:40], y[:40]), "seed": 3}
    whole = network(dropout=0.3, norm=True)
    history = run(whole, (x, y), **options, callbacks=[train.EarlyStopping(patience=9)])
    killed = network(dropout=0.3, norm=True)
    path = tmp_path / "checkpoint.safetensors"
    stopped = run(killed, (x, y), **options, callbacks=[train.EarlyStopping(patience=9), KillAt(step)], checkpoint=path)
    assert stopped.interrupted and not history.interrupted
    resumed = network(dropout=0.3, norm=True)
    again = run(resumed, (x, y), **options, callbacks=[train.EarlyStopping(patience=9), train.Callback()], resume=path)
    assert bits(resumed) == bits(whole)
    plain = [[{k: v for k, v in row.items() if k != "seconds"} for row in h.rows] for h in (history, again)]
    assert plain[0] == plain[1]


def test_resuming_refuses_another_model(tmp_path):
    x, y = data()
    path = tmp_path / "c.safetensors"
    run(network(), (x, y), epochs=1, checkpoint=path)
    with pytest.raises(errors.DataError, match="do not belong to this model"):
        run(network(norm=True), (x, y), resume=path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    x, y = data()
    path = tmp_path / "c.safetensors"
    run(network(), (x, y), epochs=1, checkpoint=path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(errors.DataError, match=r"c\.safetensors"):
        run(network(), (x, y), resume=path)


def test_early_stopping_restores_the_best_weights():
    x, y = data()
    seen = []

    class Watch(train.Callback):
        def after_epoch(self, run, row):
            seen.append((row["validation_loss"], bits(run.model)))

    model = network()
    history = run(model, (x, y), optimizer=optim.SGD(3.0), epochs=40, validation=data(50, seed=9),
                  callbacks=[Watch(), train.EarlyStopping(patience=3)])
    assert len(history) < 40
    assert bits(model) == min(seen)[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_in_the_data_is_found(backend):
    x, y = data()
    x[17, 2] = np.nan
    model = network()
    with pytest.raises(errors.NonFiniteError, match="the inputs of epoch 1, step") as caught:
        run(model, (x, y), backend=backend)
    assert "nan at position" in str(caught.value)


class Root(nn.Module):
    """sqrt of a number that training drives below zero."""

    def __init__(self):
        self.dense = nn.Dense(3)
        self.inner = nn.Dense(6)

    def forward(self, x):
        return self.dense(cr.sqrt(self.inner(x)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_nan_is_traced_to_operation_and_line(backend):
    x, y = data()
    model = Root()
    with pytest.raises(errors.NonFiniteError, match="`sqrt` made the first value") as caught:
        run(model, (x, y), backend=backend)
    assert "self.dense(cr.sqrt(self.inner(x)))" in str(caught.value)
    assert all(np.isfinite(v.numpy()).all() for v in model.variables().values())


def test_logs_are_written(tmp_path):
    x, y = data()
    run(network(), (x, y), callbacks=[train.json_log(tmp_path / "h.jsonl"), train.csv_log(tmp_path / "h.csv")])
    assert len((tmp_path / "h.jsonl").read_text().splitlines()) == 3
    assert len((tmp_path / "h.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(("bad", "message"), [
    (lambda x, y: x, "must be a pair"), (lambda x, y: (x, y[:-1]), "different lengths"),
    (lambda x, y: (x[:0], y[:0]), "no samples"), (lambda x, y: (x.astype(str), y), "not numeric"),
])
def test_bad_data_is_named(bad, message):
    with pytest.raises(errors.ChainruleError, match=message):
        run(network(), bad(*data()))


def test_compiles_once_per_shape():
    x, y = data(96)
    session = train.Training(network(), samples((x, y)), loss="cross_entropy", optimizer=optim.Adam(1e-2), epochs=3,
                             batch_size=32, validation=None, metric_names=(), seed=0, callbacks=(), penalty=None,
                             shuffle=True, checkpoint=None, progress=False, backend="reference")
    session.run()
    assert len(session.step.entries) == 1


MISTAKES = {
    "a class is no model": (lambda: cr.fit(nn.Dense, data(), loss="cross_entropy"), r"Dense\(\.\.\.\)"),
    "half an epoch": (lambda: run(network(), data(), epochs=2.5), "whole number"),
    "a number is no penalty": (lambda: run(network(), data(), penalty=1e-4), r"penalties\.ridge\(0\.0001\)"),
    "a function is no callback": (lambda: run(network(), data(), callbacks=[lambda row: None]), "class Mine"),
    "a class is no callback": (lambda: run(network(), data(), callbacks=[train.Until]), r"Until\(\.\.\.\)"),
    "weights are not negative": (lambda: run(network(), (*data(), -np.ones(203))), "-1.0 at sample 0"),
    "a name of a metric": (lambda: run(network(), data(), metrics="acuracy"), "did you mean 'accuracy'"),
    "nothing to watch": (lambda: run(network(), data(), callbacks=[train.EarlyStopping(patience=1)]),
                         r"validation=\(x, y\)"),
    "a column of Keras": (lambda: run(network(), data(), validation=data(30))["val_loss"],
                          "did you mean 'validation_loss'"),
    "patience": (lambda: train.EarlyStopping(patience=-1), "patience >= 1"),
    "nothing to validate on": (lambda: run(network(), data(), callbacks=[train.Validation(every_steps=2)]),
                               r"validation=\(x, y\)"),
    "a plateau of Keras": (lambda: run(network(), data(), validation=data(30), callbacks=[optim.Plateau("val_loss")]),
                           "did you mean 'validation_loss'"),
    "L-BFGS": (lambda: run(network(), data(), optimizer=optim.LBFGS()), "minimize"),
    "a number is no rival": (lambda: train.rank({"a": 1.0}), "function of a seed"),
    "a progress": (lambda: run(network(), data(), progress="bars"), '"bar"'),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_remedy(name):
    make, text = MISTAKES[name]
    with pytest.raises(errors.ArgumentError, match="(?s)" + text):
        make()


@pytest.mark.parametrize(("module", "theirs", "ours"), [
    (cr.augment, "ColorJitter", "ColourJitter"), (cr.augment, "RandomHorizontalFlip", "Flip"),
    (cr.augment, "Rotat", "Rotate"), (train, "ModelCheckpoint", "Checkpoint"),
    (train, "EarlyStoping", "EarlyStopping"), (optim, "SparseAdam", "Adam"), (optim, "ReduceLROnPlateau", "Plateau"),
    (optim.schedules, "CosineAnnealingLR", "cosine")])
def test_names_of_other_libraries_lead_to_ours(module, theirs, ours):
    with pytest.raises(AttributeError, match=f"'{ours}'"):
        getattr(module, theirs)
    assert hasattr(module, ours)


def test_one_metric_and_one_callback_need_no_list():
    until = train.Until(steps=3)
    history = run(network(), data(), metrics="accuracy", callbacks=until)
    assert "accuracy" in history.rows[0] and until.reason
    assert "accuracy" in cr.evaluate(built := network(), data(), metrics="accuracy", backend="reference") and built
