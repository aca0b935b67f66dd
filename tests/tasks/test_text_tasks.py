# SPDX-License-Identifier: Apache-2.0
"""Classes of texts: n-grams, networks, naive Bayes beside scikit-learn's, forms of data, wrong use."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import models, tasks
from chainrule.errors import DataError
from chainrule.tasks.words import Vocabulary, grams, words

GOOD, BAD = ["good fun", "great film", "good film", "great fun"], ["bad plot", "dull film", "bad end", "dull plot"]
TEXTS, LABELS = (GOOD + BAD) * 4, (["+"] * 4 + ["-"] * 4) * 4


def test_words_and_grams():
    assert words("It's GOOD, really") == ["it's", "good", ",", "really"]
    assert grams(["a", "b"], 1) == ["a", "b"]
    assert grams(["a", "b"], 2) == ["a", "b", "< a", "a b", "b >"]
    assert grams(["wonderful"], 1) == ["wonderful", "wonde-", "-ful"]


def test_vocabularies():
    found = Vocabulary.of(["a b", "a c", "a b"], n=2, least=2)
    assert found.known[0] == "< a" and "c" not in found.ids
    ids = found(["a b zzz", ""])
    assert ids.shape[1] >= 1 and (ids[1] == 0).all()
    ordered = Vocabulary.of(["a b", "b a"], ordered=True)
    assert ordered(["b zzz a"]).tolist() == [[ordered.ids["b"], 1, ordered.ids["a"]]]
    assert Vocabulary.from_config(found.to_config())(["a b"]).tolist() == found(["a b"]).tolist()


def test_naive_bayes_is_that_of_counts():
    rng = np.random.default_rng(0)
    counts, labels = rng.integers(0, 4, (40, 9)), rng.integers(0, 3, 40)
    ids = np.zeros((40, counts.sum(1).max()), np.int64)
    for row, count in zip(ids, counts, strict=True):
        found = np.repeat(np.arange(9), count) + 1
        row[:len(found)] = found
    network = models.NaiveBayesBag.of(ids, labels, 3, 10)
    expected = cr.statistics.MultinomialNB().fit(counts, labels).predict_log_proba(counts)
    logits = np.asarray(network(ids, ids))
    np.testing.assert_allclose(logits - np.log(np.exp(logits).sum(1, keepdims=True)), expected, atol=1e-4)


@pytest.mark.parametrize("model", ["ngrams", "cnn", "both"])
def test_every_model_learns(model):
    task = tasks.TextClassifier(model=model, epochs=12).fit((TEXTS, LABELS))
    assert task.predict(["good great", "dull bad"]).tolist() == ["+", "-"]
    np.testing.assert_allclose(task.predict_proba(TEXTS).sum(axis=1), 1)


def test_what_comes_in_together_does_not_matter():
    task = tasks.TextClassifier(model="both", epochs=2).fit((TEXTS, LABELS))
    alone = np.concatenate([task.predict_proba([text])
                            for text in ["good", "a bad and long text that fills a row", ""]])
    together = task.predict_proba(["good", "a bad and long text that fills a row", ""])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_tables_and_held_out_data(tmp_path):
    table = {"review": TEXTS, "mark": LABELS}
    task = tasks.TextClassifier(text="review", target="mark", epochs=12, held_out=0.25).fit(table, validation=None)
    assert float(task.evaluate(table)["accuracy"]) == 1
    path = tmp_path / "reviews.csv"
    path.write_text("review,mark\n" + "\n".join(f"{text},{mark}" for text, mark in zip(TEXTS, LABELS, strict=True)))
    assert task.fit(path, validation=table).predict(path).tolist() == LABELS
    with pytest.raises(DataError, match="no column 'text'"):
        tasks.TextClassifier().fit(table)


def test_numbers_are_told_where_they_belong():
    with pytest.raises(DataError, match=r"cr\.tasks\.TabularClassifier"):
        tasks.TextClassifier().fit(([[1.0, 2.0]] * 8, LABELS[:8]))
    with pytest.raises(DataError, match="come in pairs"):
        tasks.TextClassifier().fit((TEXTS, LABELS[:3]))
    with pytest.raises(DataError, match="not there in training"):
        tasks.TextClassifier(epochs=1).fit((TEXTS, LABELS)).evaluate((TEXTS, ["?"] * 32))
