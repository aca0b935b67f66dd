# SPDX-License-Identifier: Apache-2.0
"""Tables: what columns are taken for, networks of members, baselines, leaks, dates split by time, wrong use, real
tables."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import models, tasks
from chainrule.errors import ArgumentError, DataError
from chainrule.models.ensemble import of_members
from chainrule.tasks import columns

RNG = np.random.default_rng(0)
N = 240
SIZE, COLOUR = RNG.normal(size=N), RNG.choice(["red", "blue"], N)
TABLE = {"size": SIZE, "colour": COLOUR, "kind": np.where((SIZE > 0) == (COLOUR == "red"), "a", "b")}


# ---- columns

def kind_of(values, **options):
    return columns.learn("x", np.asarray(values), options.get("categorical", False))[0]


@pytest.mark.parametrize("values, kind", [
    ([1.0, 2.0, np.nan] * 10, columns.Number), (["1", "2.5", ""] * 10, columns.Number),
    (["a", "b"] * 10, columns.Category),
    ([True, False] * 10, columns.Category), (np.arange("2024-01-01", "2024-02-01", dtype="datetime64[D]"),
                                             columns.Date),
    ([f"2024-01-{i:02}" for i in range(1, 31)], columns.Date),
    ([f"{i}.2.2024 10:30" for i in range(1, 29)], columns.Date),
    ([f"the house number {i} is red" for i in range(30)], columns.Words),
    ([f"key{i}" for i in range(30)], columns.LeftOut),
    (np.arange(30), columns.LeftOut), ([3.0] * 30, columns.LeftOut), ([None] * 30, columns.LeftOut)])
def test_what_a_column_is(values, kind):
    assert type(kind_of(values)) is kind


def test_numbers():
    column = kind_of([1.0, 3.0, np.nan, 8.0])
    assert column.marks and column.median == 3
    expected = (np.array([3.0, 1.0]) - 4) / np.std([1, 3, 8])
    np.testing.assert_allclose(column.numbers(np.array([np.nan, 1.0])), np.stack([expected, [1, 0]], axis=1))
    np.testing.assert_array_equal(column.numbers(np.array(["", "1"])), column.numbers(np.array([None, 1], object)))
    with pytest.raises(DataError, match="row 1, column 'x': 'many' is not a number"):
        column.numbers(np.array(["1", "many"]))


def test_categories_are_the_same_from_files_and_frames():
    column = kind_of([1.0, 2.0, 2.0, 1.0] * 5, categorical=True)
    assert column.categories(np.array([1.0, 2.0, 3.0, np.nan])).ravel().tolist() == [1, 2, 0, 0]
    assert column.categories(np.array(["1", "2", "3", ""])).ravel().tolist() == [1, 2, 0, 0]
    assert column.categories(np.array([1, 2, 3])).ravel().tolist() == [1, 2, 0]


def test_dates():
    assert columns.as_days(np.array(["1970-01-02", "1970-01-01 12:00", "2.1.1970", "1/2/1970",
                                     "x"])).tolist()[:4] == [1.0, 0.5, 1.0, 1.0]
    assert columns.as_days(np.array(["2/1/1970"]), day_first=True).tolist() == [1.0]
    column = kind_of(np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]"))
    assert column.categories(np.array(["1970-01-01", "2024-01-01", None], object)).ravel().tolist() == [1, 5, 0]
    assert column.numbers(np.array([None, "2024-02-01"], object)).shape == (2, 3)
    assert kind_of([f"{d}/{m}/2024" for d in range(1, 29) for m in (1, 2)]).day_first


def test_an_encoder_goes_through_json():
    import json
    table = TABLE | {"text": np.array([f"a {c} thing of number {i}" for i, c in enumerate(COLOUR)]),
                     "day": np.arange(N).astype("datetime64[D]")}
    encoder, _ = columns.Encoder.of(table)
    again = columns.Encoder.from_config(json.loads(json.dumps(encoder.to_config())))
    for a, b in zip(encoder(table), again(table), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(DataError, match="there is no column 'size'"):
        encoder({"colour": COLOUR})


# ---- networks

def test_piecewise_linear_numbers():
    layer = models.PiecewiseLinear([[0.0, 1.0, 3.0], [], [2.0, 4.0]])
    x = np.array([[2.0, 9.0, 1.0], [-1.0, 9.0, 5.0]], "float32")
    np.testing.assert_allclose(layer(x), [[1, 0.5, 0], [0, 0, 1]])


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_members_answer_together(kind):
    network = models.TabularNetwork(3, [[0.0, 1.0]], [4], members=5, width=8, kind=kind, dropout=0.0)
    x = RNG.normal(size=(6, 1)).astype("float32"), RNG.integers(0, 4, (6, 1)), np.zeros((6, 1), np.int64)
    every, together = network(*x, training=True).numpy(), network(*x).numpy()
    assert every.shape == (6, 5, 3)
    softmax = lambda z: np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    expected = np.log(softmax(every).mean(1)) if kind == "classes" else every.mean(1)
    np.testing.assert_allclose(together, expected, rtol=1e-5, atol=1e-6)


def test_each_member_has_its_own_loss():
    outputs, labels = RNG.normal(size=(4, 3, 5)).astype("float32"), np.array([0, 1, 2, 4])
    loss = of_members("cross_entropy")
    expected = np.mean([cr.losses.cross_entropy(outputs[:, m], labels, reduction="none").numpy() for m in range(3)],
                       axis=0)
    np.testing.assert_allclose(loss(cr.asarray(outputs), cr.asarray(labels)), expected, rtol=1e-6)
    np.testing.assert_allclose(loss(cr.asarray(outputs[:, 0]), cr.asarray(labels)),
                               cr.losses.cross_entropy(outputs[:, 0], labels, reduction="none"), rtol=1e-6)


# ---- tasks

@pytest.fixture(scope="module")
def fitted():
    return tasks.TabularClassifier(target="kind", epochs=30, width=32, members=4).fit(TABLE)


def test_a_classifier_beats_its_baselines(fitted, tmp_path):
    report = fitted.evaluate(TABLE)
    assert report.beats("linear") and report.beats("majority") and float(report["accuracy"]) > 0.95
    loaded = cr.load(cr.save(fitted, tmp_path / "a.safetensors"))
    np.testing.assert_array_equal(loaded.predict_proba(TABLE), fitted.predict_proba(TABLE))


def test_all_forms_serve_the_same_bits(fitted, tmp_path):
    expected = fitted.predict_proba(TABLE)
    rows = [{"size": float(s), "colour": str(c)} for s, c in zip(SIZE, COLOUR, strict=True)]
    path = tmp_path / "rows.csv"
    path.write_text("colour,size\n" + "\n".join(f"{row['colour']},{row['size']!r}" for row in rows))
    for form in (rows, path, {"colour": list(COLOUR), "size": SIZE.tolist()}):
        np.testing.assert_array_equal(fitted.predict_proba(form), expected)
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(fitted.predict_proba(pandas.DataFrame(TABLE)), expected)


def test_a_row_alone_gets_the_answer_it_gets_among_others(fitted):
    one = {name: values[:1] for name, values in TABLE.items()}
    np.testing.assert_allclose(fitted.predict_proba(one), fitted.predict_proba(TABLE)[:1], atol=1e-6)


def test_arrays_and_numbers():
    x = np.random.default_rng(5).normal(size=(300, 2))
    y = 5 + 3 * x[:, 0] * x[:, 1]
    task = tasks.TabularRegressor(epochs=20, width=32, members=4).fit((x, y))
    report = task.evaluate((x, y))
    assert report.beats("linear") and float(report["r2"]) > 0.5
    assert task.predict(x).shape == (300,) and abs(task.predict(x).mean() - 5) < 1


def test_missing_unknown_and_odd_values(fitted):
    found = fitted.predict_proba({"size": [np.nan, 0.5, 1e9], "colour": ["red", "green", None]})
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_what_is_found_is_said():
    table = TABLE | {"id": np.arange(N), "same": np.ones(N), "answer": np.where(TABLE["kind"] == "a", "yes", "no")}
    task = tasks.TabularClassifier(target="kind", epochs=1, width=8, members=2).fit(table)
    notes = "\n".join(task.notes)
    assert "id: another whole number in each row" in notes and "same: always 1, left out" in notes
    assert "answer alone tells the target" in notes and "size alone" not in notes
    numbers = tasks.TabularRegressor(epochs=1, width=8, members=2).fit(({"x": SIZE, "y": 2 * SIZE + 1}, SIZE ** 3))
    assert sum("alone tells the target" in note for note in numbers.notes) == 2


def test_rows_that_are_on_both_sides_are_named():
    twice = {name: np.concatenate([values, values]) for name, values in TABLE.items()}
    task = tasks.TabularClassifier(target="kind", epochs=1, width=8, members=2).fit(twice)
    assert any("held-out rows are in the training rows too" in note for note in task.notes)


def test_dates_are_split_by_time():
    days = RNG.permutation(N).astype("datetime64[D]")
    late = days >= np.sort(days)[-36]
    kind = np.where(late, "b", np.where(SIZE > 0, "a", "b"))
    task = tasks.TabularClassifier(target="kind", epochs=1, width=8,
                                   members=2).fit({"day": days, "size": SIZE, "kind": kind})
    assert "the latest 36 rows by day are held out, as what comes will be later too" in task.notes


@pytest.mark.parametrize("by", ["f1", "balanced_accuracy"])
def test_thresholds_of_rare_classes(by):
    rare = np.where(SIZE + 0.5 * RNG.normal(size=N) > 1.5, "yes", "no")
    task = tasks.TabularClassifier(target="y", threshold_by=by, class_weight="balanced", epochs=5, width=8, members=2,
                                   held_out=0.3).fit({"size": SIZE, "y": rare})
    threshold = task.state["threshold"]
    expected = np.where(task.predict_proba({"size": SIZE})[:, 1] >= threshold, "yes", "no")
    np.testing.assert_array_equal(task.predict({"size": SIZE}), expected)
    assert any("classes of unequal size" in note for note in task.notes)


@pytest.mark.parametrize("use, words", [
    (lambda: tasks.TabularClassifier().fit(TABLE), "does not know what to predict"),
    (lambda: tasks.TabularClassifier(target="kin").fit(TABLE), "did you mean 'kind'"),
    (lambda: tasks.TabularClassifier().fit((SIZE[:, None], SIZE)), "TabularRegressor"),
    (lambda: tasks.TabularRegressor(target="kind").fit(TABLE), "TabularClassifier"),
    (lambda: tasks.TabularClassifier().fit((np.zeros((30, 8, 8, 1)), ["a", "b"] * 15)), "ImageClassifier"),
    (lambda: tasks.TabularRegressor().fit((np.ones((30, 1)), np.arange(30.0))), "no column is left"),
    (lambda: tasks.TabularRegressor().fit((SIZE[:5, None], SIZE[:5])), "too little to learn from"),
    (lambda: tasks.TabularRegressor().fit((SIZE[:, None], np.where(SIZE > 2, np.nan, SIZE))), "a target is missing"),
    (lambda: tasks.TabularClassifier(threshold_by="luck"), "not chosen by this"),
    (lambda: tasks.TabularRegressor().fit((SIZE[:, None], np.ones(N))), "all targets are the same")])
def test_wrong_use_is_told(use, words):
    with pytest.raises((ArgumentError, DataError), match=words):
        use()


@pytest.mark.slow
def test_census(shared_data):
    """Better than a linear model on the official split of a real table."""
    from benchmarks.tasks.tabular import ADULT, frame
    train, test = (frame(f"adult-{part}.csv", ADULT) for part in ("train", "test"))
    test["income"] = np.char.rstrip(test["income"].astype(str), ".")
    report = tasks.TabularClassifier(target="income", epochs=8, members=4).fit(train).evaluate(test)
    assert float(report["accuracy"]) > 0.853 and report.beats("linear") and report.beats("majority")
