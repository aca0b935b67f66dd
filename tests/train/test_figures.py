# SPDX-License-Identifier: Apache-2.0
"""Pictures are figures: they show themselves in notebooks, are written where one says, and go into the place of axes.
"""

from __future__ import annotations

import inspect as python
import os

import numpy as np
import pytest

import chainrule as cr
from chainrule import inspect, nn, optim, statistics
from chainrule.errors import ArgumentError

pytest.importorskip("matplotlib")
RNG = np.random.default_rng(0)
X, Y = RNG.random((12, 8, 8, 1), dtype=np.float32), RNG.integers(0, 3, 12)
HISTORY = [{"epoch": i, "loss": 1 / i, "validation_loss": 1.2 / i, "accuracy": 0.1 * i} for i in range(1, 6)]


def network():
    model = nn.Sequential([nn.Conv2D(3, 3, activation="relu"), nn.Flatten(), nn.Dense(3)])
    model(X)
    return model


def lstm():
    layer = nn.LSTM(3)
    layer(X[:, :, :, 0])
    return layer


PICTURES = {
    "draw_history": lambda **o: inspect.draw_history(HISTORY, **o),
    "draw_confusion_matrix": lambda **o: inspect.draw_confusion_matrix(np.eye(3), **o),
    "draw_mistakes": lambda **o: inspect.draw_mistakes(X, Y, Y[::-1], np.ones(12), **o),
    "draw_regression": lambda **o: inspect.draw_regression(Y, Y + 0.1, **o),
    "draw_tiles": lambda **o: inspect.draw_tiles(X, **o),
    "draw_filters": lambda **o: inspect.draw_filters(network()[0], **o),
    "draw_feature_maps": lambda **o: inspect.draw_feature_maps(network(), X[0], 0, **o),
    "draw_grad_cam": lambda **o: inspect.draw_grad_cam(network(), X, 0, **o),
    "draw_attention": lambda **o: inspect.draw_attention(np.full((2, 3, 3), 1 / 3), **o),
    "draw_gates": lambda **o: inspect.draw_gates(lstm(), X[:, :, :, 0], **o),
    "draw_activations": lambda **o: inspect.draw_activations(["relu", "tanh"], **o),
    "draw_scatter": lambda **o: inspect.draw_scatter(X[:, 0, :2, 0], labels=Y, **o),
    "draw_schedules": lambda **o: inspect.draw_schedules(optim.schedules.cosine(0.1, 9), 12, **o),
    "draw_descent": lambda **o: inspect.draw_descent(lambda w: (w * w).sum(), RNG.normal(size=(4, 2)), resolution=9,
                                                     **o),
    "draw_explained_variance": lambda **o: inspect.draw_explained_variance([0.6, 0.3], **o),
}


def test_every_picture_is_tried():
    assert set(PICTURES) == {name for name in inspect.__all__ if name.startswith("draw_")}
    for name in PICTURES:
        parameters = python.signature(getattr(inspect, name)).parameters
        assert parameters["path"].default is None and parameters["ax"].default is None


@pytest.mark.parametrize("name", PICTURES)
def test_a_figure_that_shows_itself(name, tmp_path):
    from matplotlib.figure import Figure

    figure = PICTURES[name]()
    assert (
        isinstance(figure, Figure)
        and figure.path is None
        and figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"
        and "pixels" in repr(figure)
    )
    with pytest.raises(ArgumentError, match="not written"):
        os.fspath(figure)
    written = PICTURES[name](path=tmp_path / "picture.png")
    assert (
        written.path == tmp_path / "picture.png"
        and os.path.getsize(written) > 1000
        and str(written) == str(written.path)
    )


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("name", PICTURES)
def test_in_the_place_of_axes(name, by_hand):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4))
    left, right = (figure.add_axes((0.05, 0.1, 0.4, 0.8)),
                   figure.add_axes((0.55, 0.1, 0.4, 0.8))) if by_hand else figure.subplots(1, 2)
    left.plot([0, 1])
    assert PICTURES[name](ax=right) is figure and left in figure.axes
    places = [axes.get_position() for axes in figure.findobj(type(left)) if axes is not left and not axes.get_label()
              == "<colorbar>"]
    figure.canvas.draw()
    drawn = [artist for part in (figure, *figure.subfigs) for axes in part.axes if axes is not left
             for artist in (*axes.lines, *axes.images, *axes.collections)]
    assert places and drawn


def test_a_reliability_diagram():
    table = statistics.reliability(np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]]), np.array([0, 1, 1]))
    assert table.draw()._repr_png_()[:4] == b"\x89PNG"


def test_a_summary_is_printed_once(capsys):
    model = network()
    text = model.summary()
    assert capsys.readouterr().out == text + "\n" and "model[0] Conv2D" in text and "\n" not in repr(text)
    assert (
        repr(text).startswith("<Summary of Sequential: ")
        and str(model.summary(show=False)) == text
        and not capsys.readouterr().out
    )


def test_a_printed_summary_is_told_in_one_line(capsys):
    print(network().summary())
    table, heading = capsys.readouterr().out.rsplit("\n", 2)[:2]
    assert table.count("model[0] Conv2D") == 1 and heading.startswith("<Summary of Sequential: ")
    text = network().summary(show=False)
    print(text)
    assert capsys.readouterr().out == f"{text}\n" == text + "\n" and "model[0] Conv2D" in text
    assert f"{network().summary()}" == text


CELLS = ["import numpy as np, chainrule as cr\nfrom chainrule import inspect, nn\nmodel = nn.Sequential([nn.Dense(3, "
         "input_shape=(4,))])\nmodel.summary()",
         "inspect.draw_confusion_matrix(np.eye(3))", "cr.asarray([1.0, 2.0])",
         "cr.Variable(np.zeros((100, 100)), name='w')"]


def test_a_notebook():
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    table, picture, tensor, variable = (cell.outputs for cell in notebook.cells)
    whole = "".join(str(output) for output in table)
    assert whole.count("receptive field") == 1 and "Summary of Sequential: 15 parameters" in whole
    assert (
        "image/png" in picture[0]["data"]
        and tensor[0]["data"]["text/plain"] == repr(cr.asarray([1.0, 2.0]))
        and len(variable[0]["data"]["text/plain"]) < 80
    )
