# SPDX-License-Identifier: Apache-2.0
"""BLEU against values by hand and of sacreBLEU 2.6 (default settings), however the texts come in batches."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chainrule import metrics
from chainrule.errors import ArgumentError, DTypeError, ShapeError
from chainrule.metrics.text import words_13a

TEXTS = ["The dog bit the man.", "It wasn't surprising, really.", "The man had just bitten him - for $3.50!"]
REFERENCES = [["The dog bit the man.", "The dog had bit the man."],
              ["It was not unexpected.", "No one was surprised, really."],
              ["The man bit him first.", "The man had bitten the dog for $3.50!"]]


def bleu(texts, references, **options):
    metric = metrics.BLEU(**options)
    metric.update(texts, references)
    return metric.result()


@pytest.mark.parametrize("text, words", [
    ("Hello, world!", "Hello , world !"),
    ("It costs 1,234.50 - or 3-4.", "It costs 1,234.50 - or 3 - 4 ."),
    ("well-known don't", "well-known don't"),
    ("a.b,c 3.x x.3", "a . b , c 3 . x x . 3"),
    ("&quot;A&amp;B&quot; &lt;c&gt;", '" A & B " < c >'),
    ("one\ntwo over-\nlap (x/y) 50% #1 a_b", "one two overlap ( x / y ) 50 % # 1 a _ b"),
    ("Männer — „Hut“", "Männer — „Hut“"),
    ("", ""),
])
def test_words(text, words):
    assert words_13a(text) == words.split()


def test_by_hand():
    assert bleu(["the cat sat on a mat"], ["the cat is on the mat"]) == pytest.approx(
        100 * (4 / 6 * 1 / 5 * 0.5 / 4 * 0.25 / 3) ** 0.25, rel=1e-12
    )
    # brevity
    assert bleu(["the cat sat on"], ["the cat sat on the mat"]) == pytest.approx(100 * math.exp(1 - 6 / 4), rel=1e-12)
    clipped = (2 / 7 * 0.5 / 6 * 0.25 / 5 * 0.125 / 4) ** 0.25  # of seven times "the", two count
    assert bleu(["the " * 7],
                [["the cat is on the mat",
                  "there is a cat on the mat"]]) == pytest.approx(100 * clipped * 1.0, rel=1e-12)
    assert bleu(["a b c d e"], ["a b c d e"]) == 100
    # nothing fits; no four words
    assert bleu(["a b c d"], ["e f g h"]) == bleu(["a b c"], ["a b c"]) == bleu([""], ["a b"]) == 0
    assert bleu(["The Cat sat down"], ["the cat sat down"], lowercase=True) == 100
    assert bleu(["a , b. c d"], ["a , b. c d"], tokenize=None) == 100


def test_as_sacrebleu():
    assert bleu(TEXTS, REFERENCES) == pytest.approx(50.808632849961505, rel=1e-12)
    assert bleu(["a big red house stands there"],
                ["the red house is there now"]) == pytest.approx(17.965205598154213, rel=1e-12)


def test_any_batches_and_a_state_in_between():
    whole, parts, later = metrics.BLEU(), metrics.BLEU(), metrics.BLEU()
    whole.update(TEXTS, REFERENCES)
    parts.update(TEXTS[:1], REFERENCES[:1])
    later.restore(parts.state())
    later.update(TEXTS[1:], REFERENCES[1:])
    assert later.result() == whole.result()
    later.reset()
    assert math.isnan(later.result()) and later.interval() is None


def test_interval():
    rng = np.random.default_rng(0)
    references = [" ".join(rng.choice(list("abcdefgh"), 12)) for _ in range(200)]
    texts = [" ".join(word if rng.random() < 0.8 else "x" for word in text.split()) for text in references]
    metric = metrics.BLEU()
    metric.update(texts, references)
    low, high = metric.interval()
    assert low < metric.result() < high and 2 < high - low < 12
    assert metric.statistic(np.ones((1, 200)))[0] == metric.result()
    assert str(metric.estimate()).startswith(f"{metric.result():.3g}"[:2])


def test_mistakes():
    metric = metrics.BLEU()
    with pytest.raises(DTypeError, match=r"update\(\[text\], \[reference\]\)"):
        metric.update("one text", ["one reference"])
    with pytest.raises(ShapeError, match="2 texts, 1 references"):
        metric.update(["a", "b"], ["a"])
    with pytest.raises(DTypeError, match="decode the ids"):
        metric.update([[1, 2]], ["a"])
    with pytest.raises(ArgumentError, match="no reference"):
        metric.update(["a"], [[]])
    with pytest.raises(ArgumentError, match="does not weigh"):
        metric.update(["a"], ["a"], [1.0])
