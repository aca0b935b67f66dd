# SPDX-License-Identifier: Apache-2.0
"""`ImageClassifier`: what it learns, that a saved one gives the same bits, its temperature by search, and wrong use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, DataError, ShapeError
from chainrule.metrics.scores import softmax
from chainrule.tasks.grids import best_temperature


@pytest.fixture(scope="module")
def task() -> cr.tasks.ImageClassifier:
    return cr.tasks.ImageClassifier(epochs=6).fit(cr.data.digits(), seed=1)


def stripes(n: int, size: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright rows or bright columns on noise, uint8."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 80, (n, size, size)), rng.integers(0, 2, n)
    for image, upright, place in zip(x, y, rng.integers(0, size, n), strict=True):
        image[slice(None) if upright else place, place if upright else slice(None)] = 250
    return x.astype("uint8"), np.array(["lying", "upright"])[y]


def test_it_learns_digits_and_says_what_it_did(task: cr.tasks.ImageClassifier) -> None:
    report = task.evaluate(cr.data.digits())
    assert (
        report["accuracy"] > 0.93
        and report.baselines["majority"]["accuracy"] < 0.2
        and report.baselines["linear"]["accuracy"] > 0.85
    )
    assert any("flipping changes what they mean" in note for note in task.notes) and "8x8x1" in task.notes[0]
    assert task.feature_shape == (8, 8, 1) and task.classes == tuple("0123456789")
    np.testing.assert_allclose(task.predict_proba(cr.data.digits().x_test).sum(axis=1), 1, atol=1e-12)


def test_the_same_seed_gives_the_same_bits() -> None:
    x, y = stripes(120)
    a, b = (cr.tasks.ImageClassifier(epochs=2).fit((x, y), seed=3).predict_proba(x) for _ in range(2))
    assert np.array_equal(a, b)


def test_a_saved_task_gives_the_same_bits(task: cr.tasks.ImageClassifier, tmp_path: Path) -> None:
    x = cr.data.digits().x_test
    again = cr.load(cr.save(task, tmp_path / "digits.safetensors"))
    assert np.array_equal(again.predict_proba(x),
                          task.predict_proba(x)) and repr(again) == repr(task) and again.notes == task.notes


def test_folders_of_files(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    x, y = stripes(160)
    for i, (pixels, label) in enumerate(zip(x, y, strict=True)):
        (tmp_path / "all" / label).mkdir(parents=True, exist_ok=True)
        image.fromarray(pixels).resize((12 + i % 2, 12)).save(tmp_path / "all" / label / f"{i}.png")
    task = cr.tasks.ImageClassifier(epochs=8, size=12).fit(tmp_path / "all")
    assert task.evaluate(tmp_path / "all")["accuracy"] > 0.9 and task.classes == ("lying", "upright")
    one = next((tmp_path / "all" / "lying").iterdir())
    assert task.predict(str(one)).shape == (1,) and task.predict([one, one]).shape == (2,)
    mixed = cr.tasks.ImageClassifier(epochs=1).fit(tmp_path / "all")
    assert any("2 sizes are brought to 64 x 64" in note for note in mixed.notes) and mixed.feature_shape[:2] == (64, 64)


@pytest.mark.parametrize("seed", range(4))
def test_the_temperature_is_the_best_of_a_fine_grid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, 400)
    logits = 4 * rng.random() * (rng.standard_normal((400, 3)) + 2 * np.eye(3)[codes])

    def value(t: float) -> float:
        targets = np.full((400, 3), 1 / 402 / 2)
        targets[np.arange(400), codes] = 1 - 1 / 402
        return -(targets * np.log(softmax(logits / t))).sum()
    grid = np.geomspace(0.05, 20, 4001)
    best = min(grid, key=value)
    assert best_temperature(logits, codes) == pytest.approx(best, rel=2e-3)


def test_a_temperature_where_all_are_right_is_no_zero() -> None:
    logits = 3.0 * np.eye(4)[np.arange(40) % 4]
    assert 0.3 < best_temperature(logits, np.arange(40) % 4) < 2


X, Y = stripes(40)


@pytest.mark.parametrize(("data", "error", "text"), [
    ((X.reshape(40, -1), Y), DataError, "TabularClassifier"), ((X, Y[:3]), ShapeError, "come in pairs"),
    ((X, np.full(40, "a")), DataError, "all samples have one"),
    ((X[:3], Y[:3]), DataError, "too little"),
    ((np.zeros((40, 3, 16, 16)), Y), DataError, "channels of an image come last"),
    (3, DataError, "no images with their classes"),
    ((np.zeros((40, 8, 8)), Y), DataError, "all the same"), ((["a"] * 40, Y), DataError, "no images")])
def test_wrong_data(data: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        cr.tasks.ImageClassifier().fit(data)  # type: ignore[arg-type]


def test_wrong_settings(task: cr.tasks.ImageClassifier) -> None:
    for options in ({"model": "vgg"}, {"label_smoothing": 1.0}, {"epochs": 0}, {"held_out": 1.0}):
        with pytest.raises(ArgumentError):
            cr.tasks.ImageClassifier(**options)
    with pytest.raises(DataError, match="does not fit"):
        task.predict(X)
    with pytest.raises(DataError, match="not there in training"):
        task.evaluate((cr.data.digits().x_test, np.full(360, "ten")))
