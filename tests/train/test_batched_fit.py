# SPDX-License-Identifier: Apache-2.0
"""`fit`, `evaluate` and `predict` from sources, loaders and streams, with shares for validation, time limits and
shorter epochs."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim, train
from chainrule.errors import ArgumentError, ChainruleError, DataError

X = np.random.default_rng(0).normal(size=(90, 3)).astype("float32")
Y = X[:, :1] - X[:, 1:2]
OPTIONS = {"loss": "mse", "epochs": 3, "progress": False, "seed": 1}


def model():
    cr.random.seed(2)
    made = nn.Sequential([nn.Dense(6, activation="tanh"), nn.Dropout(0.1), nn.Dense(1)], input_shape=(3,))
    made(X[:1])
    return made


def same(a, b):
    return all(np.array_equal(p.numpy(), q.numpy())
               for p, q in zip(a.parameters().values(), b.parameters().values(), strict=True))


class Objects:
    """Samples by number, as of PyTorch's data sets."""

    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return X[i], Y[i]


def loader(**options):
    return cr.data.Loader(Objects(), 20, seed=1, **options)


def test_a_source_learns_what_the_same_arrays_learn() -> None:
    ours, arrays, objects = model(), model(), model()
    by_loader = cr.fit(ours, loader(shuffle=False), **OPTIONS)
    by_arrays = cr.fit(arrays, (X, Y), batch_size=20, shuffle=False, **OPTIONS)
    by_objects = cr.fit(objects, Objects(), batch_size=20, shuffle=False, metrics=["mae"], **OPTIONS)
    assert same(ours, arrays) and same(objects, arrays)
    assert by_loader["loss"] == by_arrays["loss"] == by_objects["loss"]


def test_pytorchs_loader_is_a_stream_of_batches() -> None:
    torch = pytest.importorskip("torch")
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), 20)
    ours, arrays = model(), model()
    cr.fit(ours, data, **OPTIONS)
    cr.fit(arrays, (X, Y), batch_size=20, shuffle=False, **OPTIONS)
    assert same(ours, arrays)


def test_streams_of_batches_and_of_samples_with_steps_per_epoch() -> None:
    batches = [(X[i:i + 20], Y[i:i + 20]) for i in range(0, 80, 20)]
    ours, samples = model(), model()
    a = cr.fit(ours, itertools.cycle(batches), steps_per_epoch=4, **OPTIONS)
    b = cr.fit(samples, ((X[i % 80], float(Y[i % 80, 0])) for i in itertools.count()), batch_size=20, steps_per_epoch=4,
               **{**OPTIONS, "loss": lambda outputs, targets: (outputs[:, 0] - targets) ** 2})
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)
    with pytest.raises(DataError, match="used up"):
        cr.fit(model(), iter(batches), **OPTIONS)


@pytest.mark.parametrize("progress", ["lines", "bar"])
def test_progress_of_a_stream_of_unknown_length(progress: str) -> None:
    class Unknown:
        def __iter__(self):
            return ((X[i:i + 20], Y[i:i + 20]) for i in range(0, 80, 20))
    assert len(cr.fit(model(), Unknown(), **{**OPTIONS, "progress": progress})) == 3


def test_a_source_is_measured_and_predicted_in_its_order() -> None:
    trained = model()
    found = cr.evaluate(trained, Objects(), loss="mse", metrics=["mae"], batch_size=32)
    whole = cr.evaluate(trained, (X, Y), loss="mse", metrics=["mae"], batch_size=32)
    assert str(found) == str(whole)
    np.testing.assert_array_equal(cr.predict(trained, Objects(), batch_size=32).numpy(),
                                  cr.predict(trained, X, batch_size=32).numpy())
    np.testing.assert_allclose(cr.predict(trained, loader(shuffle=False)).numpy(), cr.predict(trained, X).numpy(),
                               rtol=1e-5, atol=1e-6)
    with pytest.raises(ArgumentError, match="mixes its samples"):
        cr.predict(trained, loader())


def test_validation_from_a_loader_is_the_same_every_time() -> None:
    history = cr.fit(model(), (X, Y), validation=loader(), metrics=["mae"], **OPTIONS)
    best = model()
    again = cr.fit(best, loader(), validation=loader(), metrics=["mae"], **OPTIONS)
    assert again.kept["validation_loss"] == pytest.approx(float(cr.evaluate(best, (X, Y), loss="mse")["loss"]),
                                                          rel=1e-5)
    assert len(history["validation_mae"]) == 3


KILLED = """
import sys, os, signal
sys.path.insert(0, {tests!r})
from test_batched_fit import *

class Kill(train.Callback):
    def after_step(self, run):
        if run.step_number == 8:
            os.kill(os.getpid(), signal.SIGKILL)

cr.fit(model(), loader(workers=2), metrics=["mae"], checkpoint={path!r},
       callbacks=[train.Checkpoint({path!r}, every_steps=3), Kill()], **OPTIONS)
"""


def test_a_killed_run_on_a_loader_goes_on_with_the_same_bits_and_other_workers(tmp_path: Path) -> None:
    path = str(tmp_path / "run.ckpt")
    code = KILLED.format(tests=str(Path(__file__).parent), path=path)
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    whole, resumed = model(), model()
    a = cr.fit(whole, loader(workers=0), metrics=["mae"], **OPTIONS)
    b = cr.fit(resumed, loader(workers=1), metrics=["mae"], resume=path,
               callbacks=[train.Checkpoint(tmp_path / "b", every_steps=100)], **OPTIONS)
    assert same(whole, resumed)
    assert a["loss"] == b["loss"] and a["mae"] == b["mae"]


def test_a_share_of_the_samples_validates() -> None:
    shuffled = cr.fit(model(), (X, Y), validation=0.1, **OPTIONS)
    assert len(shuffled["validation_loss"]) == 3
    ordered, by_hand = model(), model()
    a = cr.fit(ordered, (X, Y), validation=0.1, shuffle=False, **OPTIONS)
    b = cr.fit(by_hand, (X[:81], Y[:81]), validation=(X[81:], Y[81:]), shuffle=False, **OPTIONS)
    assert a["validation_loss"] == b["validation_loss"] and same(ordered, by_hand)
    with pytest.raises(ArgumentError, match="no sample would be left"):
        cr.fit(model(), (X[:1], Y[:1]), validation=0.5, **OPTIONS)
    with pytest.raises(ArgumentError, match="arrays in memory"):
        cr.fit(model(), loader(), validation=0.1, **OPTIONS)


def test_the_last_weights_are_kept_where_it_is_asked_for() -> None:
    options = {**OPTIONS, "optimizer": optim.SGD(1.5), "epochs": 4}
    best, last, old = (cr.fit(model(), (X, Y), validation=0.3, **{**options, "optimizer": optim.SGD(1.5)}, **further)
                       for further in ({}, {"keep": "last"}, {"keep_best": False}))
    assert best.kept is not None and last.kept is None and old.kept is None
    with pytest.raises(ArgumentError, match="which weights the model ends with"):
        cr.fit(model(), (X, Y), keep="first", **options)


def test_shorter_epochs_and_time() -> None:
    seen = []

    class Count(train.Callback):
        def after_step(self, run):
            seen.append(run.step_number)
    cr.fit(model(), (X, Y), batch_size=20, drop_last=True, callbacks=[Count()], **OPTIONS)
    assert seen == list(range(1, 13))
    seen.clear()
    cr.fit(model(), (X, Y), batch_size=20, steps_per_epoch=2, callbacks=[Count()], **OPTIONS)
    assert seen == list(range(1, 7))
    history = cr.fit(model(), (X, Y), max_time=0.1, **{**OPTIONS, "epochs": 10**7})
    assert 0 < len(history) < 10**7


def test_a_run_that_time_ended_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    whole, parts, path = model(), model(), tmp_path / "run.ckpt"
    cr.fit(whole, (X, Y), batch_size=4, **OPTIONS)
    cr.fit(parts, (X, Y), batch_size=4, max_time=1e-9, checkpoint=path, **OPTIONS)
    resumed = model()
    cr.fit(resumed, (X, Y), batch_size=4, resume=path, **OPTIONS)
    assert same(whole, resumed) and not same(parts, whole)


@pytest.mark.parametrize(("options", "text"), [
    ({"class_weight": "balanced"}, "class_weight needs all samples in memory"),
    ({"augment": cr.augment.Flip()}, "changes its samples itself"),
    ({"callbacks": [train.SWA(start=1)]}, None), ({"callbacks": [train.Doctor()]}, None),
    ({"callbacks": [train.Until(gradient=1e-3)]}, "Until works on all training samples"),
    ({"steps_per_epoch": 0}, "no number of steps"), ({"max_time": -1}, "number of seconds"),
])
def test_what_batches_cannot_do_is_told(options, text: str | None) -> None:
    if text is None:
        cr.fit(model(), loader(), **OPTIONS, **options)
        return
    with pytest.raises(ArgumentError, match=text):
        cr.fit(model(), loader(), **OPTIONS, **options)


def test_batches_of_another_structure_are_told() -> None:
    dicts = [{"image": X[:4], "label": Y[:4]}]
    with pytest.raises(ArgumentError, match=r"a dict of image, label(?s:.)*sample\['image'\], sample\['label'\]"):
        cr.fit(model(), iter(dicts), **OPTIONS)
    with pytest.raises(ChainruleError, match=r"number of samples|different lengths"):
        cr.fit(model(), iter([(X[:4], Y[:3])]), **OPTIONS)


# ---- tokens

def test_padding_tokens_count_neither_in_the_loss_nor_in_the_metric() -> None:
    tokens = np.random.default_rng(1).integers(0, 5, (40, 6))
    labels = np.where(np.arange(6) < np.random.default_rng(2).integers(1, 7, (40, 1)), (tokens + 1) % 5, -100)
    net = lambda: nn.Sequential([nn.Embedding(5, 8), nn.Dense(5)])
    ignoring = cr.losses.cross_entropy.using(ignore_label=-100)
    a = cr.fit(first := net(), (tokens, labels), loss=ignoring, metrics=[cr.metrics.Accuracy(ignore_label=-100)],
               epochs=2, progress=False, seed=3)
    weights = (labels >= 0).astype("float32")
    b = cr.fit(second := net(), (tokens, np.maximum(labels, 0), weights), loss="cross_entropy", metrics=["accuracy"],
               epochs=2, progress=False, seed=3)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)
    np.testing.assert_allclose(a["accuracy"], b["accuracy"], rtol=1e-6)
    for p, q in zip(first.parameters().values(), second.parameters().values(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-4, atol=1e-6)
    outputs = cr.predict(first, tokens).numpy().argmax(-1)
    assert float(
        cr.evaluate(first, (tokens, labels), metrics=[cr.metrics.Accuracy(ignore_label=-100)])["accuracy"]
    ) == pytest.approx((outputs == labels)[labels >= 0].mean())


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_thresholds_are_probabilities(threshold: float) -> None:
    scores, labels = np.random.default_rng(0).normal(size=200), np.random.default_rng(1).integers(0, 2, 200)
    chance = 1 / (1 + np.exp(-scores))
    right = ((chance > threshold) == labels).mean()
    for outputs, options in ((scores, {}), (np.stack([np.zeros(200), scores], 1), {}),
                             (chance, {"probabilities": True}),
                             (np.stack([1 - chance, chance], 1), {"probabilities": True})):
        metric = cr.metrics.Accuracy(threshold=threshold, **options)
        metric.update(outputs.astype("float32"), labels)
        assert metric.result() == pytest.approx(right)
    recall = cr.metrics.Recall(threshold=threshold)
    recall.update(scores, labels)
    assert recall.result() == pytest.approx((chance > threshold)[labels == 1].mean())
    for wrong in (lambda: cr.metrics.AUC(threshold=0.5), lambda: cr.metrics.Accuracy(threshold=2),
                  lambda: cr.metrics.LogLoss(threshold=0.3)):
        with pytest.raises(ArgumentError, match="threshold"):
            wrong()


@pytest.mark.parametrize(("name", "ours"), [("on_epoch_ends", "after_epoch"), ("after_epochs", "after_epoch"),
                                            ("before_epoch", "begin"), ("after_batch", "after_step")])
def test_a_misspelt_method_of_a_callback_is_told(name: str, ours: str) -> None:
    kind = type("Mine", (train.Callback,), {name: lambda self, *arguments: None})
    with pytest.raises(ArgumentError, match=rf"(?s){name}.*def {ours}\("):
        cr.fit(model(), (X, Y), callbacks=[kind()], **OPTIONS)


def test_a_method_of_a_callback_with_other_arguments_is_told() -> None:
    class Mine(train.Callback):
        def after_epoch(self, epoch):
            pass
    with pytest.raises(ArgumentError, match=r"after_epoch\(self, run, row\)"):
        cr.fit(model(), (X, Y), callbacks=[Mine()], **OPTIONS)


def test_callbacks_get_a_run() -> None:
    seen = []

    class Mine(train.Callback):
        def after_epoch(self, run: train.Run, row):
            seen.append(all(hasattr(run, name)
                            for name in ("model", "optimizer", "history", "epoch", "epochs", "step_number", "stop",
                                         "validation", "reporter", "save")))
    cr.fit(model(), (X, Y), callbacks=[Mine()], **OPTIONS)
    net, optimizer = model(), optim.SGD(0.1)

    def step(batch):
        loss = cr.mean((net(batch[0]) - batch[1]) ** 2)
        optimizer.update(net, cr.gradients(loss, net))
        return loss
    train.Trainer(step, {"net": net, "optimizer": optimizer}).run((X, Y), epochs=2, callbacks=[Mine()], progress=False)
    assert seen == [True] * 5
