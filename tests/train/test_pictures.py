# SPDX-License-Identifier: Apache-2.0
"""Pictures are drawn for every sort of input, hold what they should say, and leave no half-written file."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from chainrule import errors
from chainrule.inspect import draw_confusion_matrix, draw_history, draw_mistakes, draw_regression, pictures


@pytest.fixture
def texts(monkeypatch):
    """All texts and data lines of the last picture, read from the figure before it is written."""
    found = {}
    original = pictures._picture

    def spy(width, height, path, paint, ax=None):
        def paint_and_read(figure):
            from matplotlib.text import Text

            paint(figure)
            found["text"] = [text.get_text() for text in figure.findobj(Text) if text.get_text()]
            found["lines"] = [line for axes in figure.axes for line in axes.lines]
            found["axes"] = figure.axes

        return original(width, height, path, paint_and_read, ax)

    monkeypatch.setattr(pictures, "_picture", spy)
    return found


def is_png(figure):
    from matplotlib.image import imread

    image = imread(figure)
    return figure.path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and image.shape[0] > 300 and image.std() > 0


def course(epochs):
    return [{"epoch": e, "loss": 1 / e, "validation_loss": 0.4 + abs(e - 4) / 10, "accuracy": 1 - 0.5 / e,
             "validation_accuracy": 0.8 - 0.1 / e, "seconds": 1.5, "note": "text"} for e in range(1, epochs + 1)]


def test_history(tmp_path, texts):
    assert is_png(draw_history(course(9), tmp_path / "new" / "history.png"))
    assert {"loss", "accuracy", "training", "validation", "best epoch: 4"} <= set(texts["text"])
    assert not {"seconds", "note"} & set(texts["text"]) and len(texts["axes"]) == 2
    np.testing.assert_array_equal(texts["lines"][0].get_ydata(), [1 / e for e in range(1, 10)])


@pytest.mark.parametrize("history", [
    [{"epoch": 1, "loss": 0.5}],
    [{"epoch": 1, "loss": math.nan}, {"epoch": 2, "loss": None}],
    [{"loss": np.float32(10.0 ** -e), "accuracy": math.inf} for e in range(9)],
    [{"epoch": e, "loss": 1.0, **{f"metric_{i}": e * i for i in range(12)}} for e in range(1, 50)],
])
def test_odd_histories(tmp_path, history):
    assert is_png(draw_history(history, tmp_path / "history.png"))


@pytest.mark.parametrize("classes", [1, 2, 10, 20, 130])
def test_confusion_matrix(tmp_path, texts, classes):
    matrix = np.random.default_rng(0).integers(0, 20, (classes, classes)) + 500 * np.eye(classes, dtype=int)
    matrix[-1] = 0  # a class without examples
    names = [f"a rather long class name {i}" for i in range(classes)]
    assert is_png(draw_confusion_matrix(matrix, names, tmp_path / "matrix.png"))
    said = " ".join(texts["text"])
    assert f"{np.trace(matrix)} of {matrix.sum()} right" in said or not matrix.sum()
    if 2 <= classes <= 30:
        assert f"{matrix[0, 0]}\n" in said
    assert ("Most frequent confusions" in said) == (classes > 12)


def test_mistakes_are_the_most_confident_ones(tmp_path, texts):
    true = np.zeros(40, int)
    predicted = np.arange(40) % 2
    confidence = np.arange(40) / 40
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    assert is_png(draw_mistakes(images, true, predicted, confidence, ["c$t", "d$g"], tmp_path / "m.png", most=6))
    assert "20 mistakes in 40, the 6 most confident" in texts["text"]
    shown = [text for text in texts["text"] if text.startswith("true")]
    assert len(shown) == 6 and shown[0] == "true: c\\$t\nsaid: d\\$g, 97.5 %"


@pytest.mark.parametrize("shape,kind", [((6, 8, 8, 1), "float32"), ((6, 8, 8), "uint8"), ((6, 8, 8, 4), "float64"),
                                        ((6, 20), "float32"), ((6, 3, 5, 7), "float32"), ((6, 2), "int64")])
def test_mistakes_in_any_data(tmp_path, shape, kind):
    data = (np.random.default_rng(0).normal(size=shape) * 60 + 100).astype(kind)
    labels = np.arange(6)
    assert is_png(draw_mistakes(data, labels, labels[::-1], np.full(6, 0.5), None, tmp_path / "m.png"))


def test_no_mistakes(tmp_path, texts):
    labels = np.arange(5)
    assert is_png(draw_mistakes(np.zeros((5, 4)), labels, labels, np.ones(5), None, tmp_path / "m.png"))
    assert "No mistakes in 5 examples" in texts["text"]


@pytest.mark.parametrize("count", [1, 300, 30_000])
def test_regression(tmp_path, texts, count):
    generator = np.random.default_rng(0)
    true = generator.normal(size=(count, 1))
    predicted = true + 0.5
    assert is_png(draw_regression(true, predicted, tmp_path / "r.png"))
    assert "mean absolute error 0.5, root mean squared error 0.5" in texts["text"]
    identity = texts["lines"][0]
    np.testing.assert_array_equal(identity.get_xdata(), identity.get_ydata())


def test_mistakes_of_the_caller_are_told(tmp_path):
    with pytest.raises(errors.ArgumentError, match="nothing to draw"):
        draw_history([], tmp_path / "x.png")
    with pytest.raises(errors.ShapeError, match="2 names"):
        draw_confusion_matrix(np.zeros((3, 3)), ["a", "b"], tmp_path / "x.png")
    with pytest.raises(errors.ShapeError, match="3 true labels"):
        draw_mistakes(np.zeros((4, 2)), np.zeros(3), np.zeros(4), np.zeros(4), None, tmp_path / "x.png")
    with pytest.raises(errors.ShapeError, match="different shapes"):
        draw_regression(np.zeros(3), np.zeros((3, 1)), tmp_path / "x.png")
    with pytest.raises(errors.ArgumentError, match="no finite pair"):
        draw_regression(np.array([math.nan]), np.zeros(1), tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_matplotlib_is_loaded_when_a_picture_is_drawn():
    code = "import sys, chainrule.inspect, chainrule.metrics\n" \
           "assert not {'matplotlib', 'tensorboard', 'scipy', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
