# SPDX-License-Identifier: Apache-2.0
"""`SoundClassifier`: tones by their pitch, whatever their length; files; that a saved one gives the same bits; wrong
use."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import chainrule as cr
from chainrule.errors import ArgumentError, ChainruleError, DataError

RATE = 8000


def tones(n: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Noisy rising and falling tones of several lengths."""
    rng = np.random.default_rng(seed)
    rising, found = rng.integers(0, 2, n).astype(bool), []
    for up in rising:
        t = np.arange(int(rng.integers(1600, 2400))) / RATE
        found.append(np.sin(2 * np.pi * ((400 + 1200 * t) if up else (800 - 1200 * t)) * t) + 0.2
                     * rng.standard_normal(len(t)))
    return found, np.where(rising, "up", "down")


@pytest.fixture(scope="module")
def task() -> cr.tasks.SoundClassifier:
    return cr.tasks.SoundClassifier(rate=RATE, epochs=10).fit(tones(160), seed=0)


def test_tones_are_told_apart(task: cr.tasks.SoundClassifier) -> None:
    report = task.evaluate(tones(100, seed=1))
    assert report["accuracy"] > 0.9 and report.baselines["majority"]["accuracy"] < 0.7
    assert (
        task.classes == ("down", "up")
        and task.feature_shape[1:] == (40, 1)
        and "8,000 steps per second" in task.notes[0]
    )


def test_a_saved_task_gives_the_same_bits(task: cr.tasks.SoundClassifier, tmp_path: Path) -> None:
    sounds, _ = tones(20, seed=2)
    again = cr.load(cr.save(task, tmp_path / "tones.safetensors"))
    assert np.array_equal(again.predict_proba(sounds), task.predict_proba(sounds))


def test_files_are_what_arrays_are(task: cr.tasks.SoundClassifier, tmp_path: Path) -> None:
    sounds, labels = tones(40, seed=3)
    sounds = [0.5 * x / np.abs(x).max() for x in sounds]
    for i, (sound, label) in enumerate(zip(sounds, labels, strict=True)):
        (tmp_path / label).mkdir(exist_ok=True)
        cr.data.write_sound(tmp_path / label / f"{i:02}.wav", sound, RATE)
    of_files = cr.tasks.SoundClassifier(epochs=2).fit(tmp_path, seed=1)
    assert of_files.classes == ("down", "up")
    paths = [tmp_path / label / f"{i:02}.wav" for i, label in enumerate(labels)]
    np.testing.assert_allclose(task.predict_proba(paths), task.predict_proba(sounds), atol=2e-3)
    assert task.predict(str(paths[0])).shape == (1,) and len(of_files.evaluate(tmp_path).verdicts) == 2
    cr.data.write_sound(tmp_path / "fast.wav", sounds[0], 2 * RATE)
    with pytest.raises(DataError, match="another rate"):
        task.predict([tmp_path / "fast.wav"])


X, Y = tones(30)


@pytest.mark.parametrize(("data", "text"), [
    ((X, Y[:3]), "come in pairs"), ((X, ["a"] * 30), "all samples have one"), (X[0], "no sounds with their classes"),
    ((["a"], ["b"]), "a"),
    ((X[0], Y), "this is one sound"), (([np.zeros((3, 3, 3))] * 30, Y), "this is no sound"),
    ((3, Y), "these are no sounds"), (([[]] * 30, Y), "this is no sound")])
def test_wrong_data(data: object, text: str) -> None:
    with pytest.raises(ChainruleError, match=text):
        cr.tasks.SoundClassifier(rate=RATE).fit(data)  # type: ignore[arg-type]


def test_wrong_settings() -> None:
    with pytest.raises(ArgumentError, match="rate of the sounds is not known"):
        cr.tasks.SoundClassifier().fit((X, Y))
    for options in ({"rate": 0}, {"seconds": -1.0}, {"rate": "8000"}, {"bands": 0}):
        with pytest.raises(ArgumentError):
            cr.tasks.SoundClassifier(**options)
