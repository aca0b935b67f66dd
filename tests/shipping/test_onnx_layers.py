# SPDX-License-Identifier: Apache-2.0
"""Each layer as an ONNX file: with a free batch all of them, with free time those that take it. Oracle: the layer
itself."""

from __future__ import annotations

import numpy as np
import pytest
from shipping.onnx_runs import leaves, run, same, session
from tables.layers import LAYERS, STEPS

import chainrule as cr
from chainrule import nn
from chainrule.errors import ArgumentError

CANNOT_BE_LONGER = {  # layers on steps whose program is another one for another length, or that take none
    "layer norm of two axes": "built for a shape", "learned positions": "no more positions",
    "lstm in pieces": "as many pieces as fit",
    "bilinear": "no steps", "UpSampling 1d": "weights at borders", "AdaptiveAvgPool 1d": "windows by the length",
    "AdaptiveMaxPool 1d": "windows by the length",
}


def draws(name, shapes, sizes):
    rng = np.random.default_rng(0)
    whole = (lambda shape: rng.integers(0, 9, shape) if "embedding" in name
             else rng.standard_normal(shape).astype("float32"))
    return [[whole((batch, *more(shape[1:]))) for shape in shapes] for batch, more in sizes]


def called(layer, inputs):
    """Layers that merge take a list."""
    if len(inputs) > 1 and type(layer).__name__ in ("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum",
                                                    "Multiply", "Subtract"):
        return lambda *arrays: layer(list(arrays))
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_gives_the_same_at_any_batch(name, tmp_path):
    make, shape = LAYERS[name]
    shapes = shape if isinstance(shape, list) else [shape]
    model, still = make(), lambda rest: rest
    given = draws(name, shapes, [(shapes[0][0], still), (1, still), (6, still)])
    same(called(model, shapes), tmp_path / "layer.onnx", given)
    found = cr.io.load_onnx(tmp_path / "layer.onnx")(*given[2])  # and read again
    np.testing.assert_allclose(leaves(found), leaves(called(model, shapes)(*given[2])), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", [name for name, (_, shape) in LAYERS.items() if shape == STEPS
                                  or isinstance(shape, list)])
def test_a_layer_gives_the_same_at_any_length(name, tmp_path):
    make, shape = LAYERS[name]
    shapes = shape if isinstance(shape, list) else [shape]
    sizes = [(3, lambda rest: rest), (2, lambda rest: (rest[0] + 7, *rest[1:])),
             (1, lambda rest: (rest[0] + 1, *rest[1:]))]
    model = called(make(), shapes)
    if name in CANNOT_BE_LONGER:
        with pytest.raises(ArgumentError, match="fix the sizes"):
            cr.export(model, tmp_path / "layer.onnx", tuple(draws(name, shapes, sizes[:1])[0]), free=(0, 1))
        assert not list(tmp_path.iterdir())
    else:
        same(model, tmp_path / "layer.onnx", draws(name, shapes, sizes), free=(0, 1), longest=64)


def test_images_of_any_size(tmp_path):
    model = nn.Sequential([nn.Conv2D(4, 3, padding="same", activation="relu"), nn.BatchNorm(), nn.MaxPool2D(2),
                           nn.Conv2D(3, 3, stride=2), nn.AvgPool2D(2, stride=1),
                           nn.ReflectPad2D(1), nn.Conv2DTranspose(2, 3, stride=2), nn.GlobalAvgPool2D(), nn.Dense(3)])
    images = [[np.random.default_rng(0).standard_normal(shape).astype("float32")]
              for shape in [(2, 20, 24, 3), (1, 21, 37, 3), (5, 31, 18, 3)]]
    same(model, tmp_path / "model.onnx", images, free=(0, 1, 2))


def test_axes_have_the_names_that_they_are_given(tmp_path):
    model = models_of_two()
    x = np.ones((2, 5, 3), "float32"), np.ones((2, 4, 3), "float32")
    ready = session(cr.export(model, tmp_path / "model.onnx", x,
                              free={"a": {0: "batch", 1: "here"}, "b": {0: "batch", 1: "there"}}))
    assert [item.shape for item in ready.get_inputs()] == [["batch", "here", 3], ["batch", "there", 3]]
    assert ready.get_outputs()[0].shape == ["batch", "here", "there"]
    a, b = np.random.default_rng(0).standard_normal((2, 3, 7, 3)).astype("float32")
    np.testing.assert_allclose(run(ready, [a, b[:, :2]])[0], a @ b[:, :2].swapaxes(1, 2), rtol=1e-5, atol=1e-5)


def models_of_two():
    def forward(a, b):
        return cr.matmul(a, cr.permute_dims(b, (0, 2, 1)))
    return forward


def test_an_operation_that_onnx_does_not_have_names_its_layer(tmp_path):
    class Whitened(nn.Module):
        def forward(self, x):
            return cr.linalg.cholesky(x)

    model = nn.Sequential([nn.Dense(3), Whitened()])
    with pytest.raises(ArgumentError, match=r"model\[1\] Whitened: cholesky has no counterpart in ONNX"):
        cr.export(model, tmp_path / "model.onnx", np.ones((3, 3), "float32"), free=())


def test_a_model_that_changes_itself_is_refused(tmp_path):
    class Counter(nn.Module):
        def build(self, x):
            self.calls = cr.Variable(np.float32(0), trainable=False)

        def forward(self, x):
            self.calls.assign(self.calls + 1)
            return x * self.calls

    with pytest.raises(ArgumentError, match="it assigns calls"):
        cr.export(Counter(), tmp_path / "model.onnx", np.ones((3, 3), "float32"))


def test_a_program_that_depends_on_the_size_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="fix the sizes"):
        cr.export(lambda x: x * 2 if x.shape[0] > 2 else x, tmp_path / "model.onnx", np.ones((3, 3), "float32"))
    assert cr.export(lambda x: x * 2 if x.shape[0] > 2 else x, tmp_path / "model.onnx", np.ones((3, 3), "float32"),
                     free=()).exists()
    with pytest.raises(ArgumentError, match="no input has such an axis"):
        cr.export(lambda x: x, tmp_path / "model.onnx", np.ones((3, 3), "float32"), free=(2,))
    with pytest.raises(ArgumentError, match=r"\.onnx"):
        cr.export(lambda x: x, tmp_path / "model.tflite", np.ones((3, 3), "float32"))
