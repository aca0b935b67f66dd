# SPDX-License-Identifier: Apache-2.0
"""`fit(augment=...)`: what is trained on, resuming with the same bits, and mistakes."""

from __future__ import annotations

import signal

import numpy as np
import pytest

import chainrule as cr
from chainrule import augment, errors, nn, optim, train

GENERATOR = np.random.default_rng(0)
X = GENERATOR.random((70, 8, 8, 1), dtype=np.float32)
Y = GENERATOR.integers(0, 3, 70)
PIPELINE = augment.Compose([augment.Crop(8, padding=2), augment.Flip(), augment.Rotate(20, probability=0.5),
                            augment.MixUp(3)])


@pytest.fixture(autouse=True)
def _same_numbers_in_any_order():
    cr.random.seed(0)
    GENERATOR.bit_generator.state = np.random.default_rng(1).bit_generator.state


class KillAt(train.Callback):
    def __init__(self, step):
        self.step = step

    def after_step(self, run):
        if run.step_number == self.step:
            signal.raise_signal(signal.SIGINT)


def run(xy=(X, Y), **options):
    model = nn.Sequential([nn.Flatten(), nn.Dense(8, "relu"), nn.Dropout(0.2), nn.Dense(3)])
    settings = {"loss": "cross_entropy", "optimizer": optim.Adam(1e-2), "epochs": 3, "batch_size": 32, "seed": 5,
                "augment": PIPELINE,
                "metrics": ["accuracy"], "progress": False, "backend": "reference"}
    history = cr.fit(model, xy, **(settings | options))
    return [v.numpy() for v in model.variables().values()], history


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7])
def test_a_resumed_run_has_the_same_bits(tmp_path, step):
    whole, history = run(callbacks=[train.Callback()])
    run(callbacks=[KillAt(step)], checkpoint=tmp_path / "run")
    again, resumed = run(callbacks=[train.Callback()], resume=tmp_path / "run")
    for a, b in zip(whole, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert history["loss"] == resumed["loss"] and history["accuracy"] == resumed["accuracy"]


def test_the_samples_are_those_of_augmented():
    """One full batch and rate 0: the loss of each epoch is that of the samples that Augmented shows."""
    pipeline = augment.Compose([augment.Rotate(30), augment.MixUp(3, alpha=1.0)])
    model = nn.Sequential([nn.Flatten(), nn.Dense(3)])
    history = cr.fit(model, (X, Y), loss="cross_entropy", optimizer=optim.SGD(0.0), epochs=2, batch_size=70,
                     shuffle=False, seed=5, augment=pipeline, metrics=["accuracy"], progress=False, backend="reference")
    data = augment.Augmented(X, Y, pipeline, seed=5)
    for epoch in (0, 1):
        data.set_epoch(epoch)
        x, y = data.batch(np.arange(70))
        assert history["loss"][epoch] == pytest.approx(cr.losses.cross_entropy(model(x), y).item(), rel=1e-5)
        assert history["accuracy"][epoch] == (model(x).numpy().argmax(-1) == Y).mean()
    assert history["loss"][0] != history["loss"][1]


def test_validation_is_left_alone():
    _, history = run(validation=(X, Y), optimizer=optim.SGD(0.0))
    assert len(set(history["validation_loss"])) == 1 and len(set(history["loss"])) == 3


def test_a_single_operation_will_do_and_masks_follow():
    run(augment=augment.Flip())
    masks = (X > 0.5).astype(np.float32)
    model = nn.Sequential([nn.Conv2D(1, 1)])
    history = cr.fit(model, (masks, masks), loss="mean_squared_error", epochs=60, optimizer=optim.Adam(0.05),
                     progress=False, backend="reference",
                     augment=augment.Compose([augment.Flip(), augment.Translate(0.2)], targets="masks"))
    assert history["loss"][-1] < 0.01


@pytest.mark.parametrize(("bad", "message"),
                         [(augment.Crop(6), "changes the shape"), (lambda x, y: (x, y), "not an augmentation")])
def test_mistakes_are_named(bad, message):
    with pytest.raises(errors.ChainruleError, match=message):
        run(augment=bad)


@pytest.mark.slow
def test_dropout_and_augmentation_shrink_the_gap(shared_data):
    """500 digits, six seeds: the gap between training and validation accuracy, in pairs (t-test)."""
    stats = pytest.importorskip("scipy.stats")
    digits = cr.data.load(shared_data / "mnist")

    def pictures(x, count):
        return x[:count].astype(np.float32) / 255
    held = pictures(digits.x_test, 2000), digits.y_test[:2000]
    gaps, scores = [], []
    for seed in range(6):
        start = 500 * seed
        xy = digits.x_train[start:start + 500].astype(np.float32) / 255, digits.y_train[start:start + 500]
        pair = []
        for dropout, pipeline in ((0.0, None), (0.3, augment.Affine(10, 0.07, 0.1))):
            model = nn.Sequential([nn.Flatten(), nn.Dense(128, "relu"), nn.Dropout(dropout), nn.Dense(10)])
            history = cr.fit(model, xy, loss="cross_entropy", optimizer=optim.Adam(2e-3), epochs=40, seed=seed,
                             augment=pipeline, metrics=["accuracy"], validation=held, progress=False)
            pair.append((history["accuracy"][-1], history["validation_accuracy"][-1]))
        gaps.append([a - b for a, b in pair])
        scores.append([b for _, b in pair])
    gaps, scores = np.array(gaps), np.array(scores)
    print(gaps.mean(0), scores.mean(0))
    assert stats.ttest_rel(gaps[:, 0], gaps[:, 1], alternative="greater").pvalue < 0.05
    assert stats.ttest_rel(scores[:, 1], scores[:, 0], alternative="greater").pvalue < 0.05
