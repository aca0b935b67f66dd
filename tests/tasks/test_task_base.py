# SPDX-License-Identifier: Apache-2.0
"""What all tasks share: settings that show, one file with everything, reports beside baselines."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import chainrule as cr
from chainrule import tasks
from chainrule.errors import ArgumentError, DataError
from chainrule.tasks import answers, report

GOOD, BAD = ["good fun", "great film", "good film", "great fun"], ["bad plot", "dull film", "bad end", "dull plot"]
TEXTS, LABELS = (GOOD + BAD) * 4, (["+"] * 4 + ["-"] * 4) * 4


@pytest.fixture(scope="module")
def fitted():
    return tasks.TextClassifier(epochs=20).fit((TEXTS, LABELS), seed=1)


def test_every_setting_shows(fitted):
    assert all(f"{name}=" in repr(fitted) for name in fitted.settings)
    assert tasks.TextClassifier().settings["batch_size"] == 64
    assert fitted.settings["epochs"] == 20


@pytest.mark.parametrize("settings, words", [
    ({"epoch": 3}, "no such setting"), ({"epochs": 0}, "an integer, 1 or more"),
    ({"learning_rate": -1.0}, "a number above 0"),
    ({"dropout": 1.0}, "from 0 to below 1"), ({"model": "gpt"}, "no such model")])
def test_settings_are_checked(settings, words):
    with pytest.raises(ArgumentError, match=words):
        tasks.TextClassifier().fit((TEXTS, LABELS), **settings)


def test_nothing_before_fit(tmp_path):
    task = tasks.TextClassifier()
    for use in (lambda: task.predict(["a"]), lambda: task.evaluate((TEXTS, LABELS)),
                lambda: cr.save(task, tmp_path / "a.safetensors"), lambda: task.network):
        with pytest.raises(ArgumentError, match="has learnt nothing yet"):
            use()


def test_a_file_serves_the_same_bits(fitted, tmp_path):
    loaded = cr.load(cr.save(fitted, tmp_path / "a.safetensors"))
    assert type(loaded) is tasks.TextClassifier and repr(loaded) == repr(fitted) and loaded.notes == fitted.notes
    np.testing.assert_array_equal(loaded.predict_proba([*TEXTS, "never seen"]),
                                  fitted.predict_proba([*TEXTS, "never seen"]))
    assert str(loaded.evaluate((TEXTS, LABELS))) == str(fitted.evaluate((TEXTS, LABELS)))
    assert cr.load(fitted.save(tmp_path / "model.safetensors").parent).classes == ("+", "-")


def test_the_same_seed_gives_the_same_bits(fitted):
    again = tasks.TextClassifier(epochs=20).fit((TEXTS, LABELS), seed=1)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


@pytest.mark.parametrize("through", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_tasks_and_reports_are_copied(fitted, through):
    np.testing.assert_array_equal(through(fitted).predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    measured = fitted.evaluate((TEXTS, LABELS))
    assert str(through(measured)) == str(measured)


def test_a_foreign_name_in_a_file_is_refused(fitted, tmp_path):
    module, extra = fitted.saved()
    extra["task"]["name"] = "os.system"
    with pytest.raises(cr.errors.ChainruleError, match="no task of this name"):
        cr.load(cr.save(module, tmp_path / "a.safetensors", extra=extra))


def test_reports_stand_beside_baselines(fitted):
    found = fitted.evaluate((TEXTS, LABELS))
    assert set(found.baselines) == {"majority", "naive Bayes"} and found.samples == 32
    assert found.beats("majority") and not found.beats("naive Bayes")
    assert float(found["accuracy"]) == 1.0 and found["accuracy"].low < 1
    assert "beside majority: accuracy 50.0 %" in str(found)
    assert found.each.mean() == 1.0


def test_verdicts_are_paired_and_corrected():
    labels = np.array([0, 1] * 100)
    right = np.where(labels[:, None] == np.arange(2), 0.9, 0.1)
    wrong = np.where(np.arange(200)[:, None] < 60, right[:, ::-1], right)
    found = report.of_classes({"network": right, "a": wrong, "b": right}, labels)
    assert found.beats("a") and not found.beats("b")
    by_hand = cr.compare(wrong.argmax(1), right.argmax(1), labels)
    assert found.verdicts["a"].p == pytest.approx(min(1, 2 * by_hand.p)) and found.verdicts["a"].corrected_for == 2
    numbers = report.of_numbers({"network": np.zeros(50), "mean": np.ones(50)}, np.linspace(-0.1, 0.1, 50))
    assert numbers.beats("mean") and float(numbers["rmse"]) == pytest.approx(
        np.sqrt(np.mean(np.linspace(-0.1, 0.1, 50) ** 2))
    )


@pytest.mark.parametrize("by", ["accuracy", "f1", "balanced_accuracy"])
def test_thresholds_are_the_best_ones(by):
    rng = np.random.default_rng(0)
    codes = (rng.random(300) < 0.15).astype(int)
    second = np.clip(0.3 * codes + rng.random(300) * 0.6, 0, 1)

    def value(threshold):
        said = second >= threshold
        hits, alarms, ones = (said & (codes == 1)).sum(), (said & (codes == 0)).sum(), codes.sum()
        return {"accuracy": (said == codes).mean(), "f1": 2 * hits / (hits + alarms + ones),
                "balanced_accuracy": (hits / ones + 1 - alarms / (300 - ones)) / 2}[by]

    chosen = answers.best_threshold(np.stack([1 - second, second], axis=1), codes, by)
    assert value(chosen) == pytest.approx(max(value(t) for t in [0.5, *second]))
    with pytest.raises(ArgumentError, match="not chosen by this"):
        answers.best_threshold(np.stack([1 - second, second], axis=1), codes, "luck")


def test_one_class_and_too_few_samples_are_told():
    with pytest.raises(DataError, match="all samples have one"):
        tasks.TextClassifier().fit((TEXTS, ["+"] * 32))
    with pytest.raises(DataError, match="too little to learn from"):
        tasks.TextClassifier().fit((TEXTS[:3], ["+", "-", "+"]))
