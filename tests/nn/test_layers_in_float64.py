# SPDX-License-Identifier: Apache-2.0
"""Every layer of the table in float64: derivatives to second order against finite differences, compiled = eager, and
files."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from tables.layers import LAYERS

import chainrule as cr
from chainrule import nn
from chainrule.nn.core.module import REGISTRY
from chainrule.testing import check_gradient

FLOAT32_ONLY = {"quantized dense"}  # its scales are float32 by definition


def widened(config):
    """The configuration with dtype="float64" wherever a class takes a dtype."""
    if isinstance(config, list):
        return [widened(item) for item in config]
    if not isinstance(config, dict):
        return config
    found = {key: widened(value) for key, value in config.items()}
    if "class" in found:
        taken, arguments = inspect.signature(REGISTRY[found["class"]].__init__).parameters, found["arguments"]
        if "dtype" in taken:
            arguments["dtype"] = "float64"
        elif "options" in taken:  # which go to the layers within
            arguments["options"] = {"dict": [*arguments.get("options", {"dict": []})["dict"], ["dtype", "float64"]]}
    return found


def made(name):
    """(the layer in float64, with no parameter left at 0 or 1; its inputs)."""
    make, shape = LAYERS[name]
    cr.random.seed(3)
    layer, rng = nn.from_config(widened(nn.to_config(make()))), np.random.default_rng(0)
    shapes = shape if isinstance(shape, list) else [shape]
    whole = np.dtype(layer.input_dtype).kind == "i"
    x = [rng.integers(0, 9, s) if whole else rng.standard_normal(s) for s in shapes]
    layer(*x)
    for variable in layer.parameters().values():
        variable.assign(variable.numpy() + 0.1 * rng.standard_normal(variable.shape))
    return layer, x


ROWS = [name for name in LAYERS if name not in FLOAT32_ONLY]


@pytest.mark.parametrize("name", ROWS)
def test_derivatives_by_the_inputs(name):
    layer, x = made(name)
    assert layer(*x).dtype == np.dtype("float64")
    if x[0].dtype.kind == "f":
        check_gradient(lambda *x: layer(*x), *x, rtol=2e-5)


@pytest.mark.parametrize("name", ROWS)
def test_derivatives_by_the_parameters(name):
    layer, x = made(name)
    parameters = list(layer.parameters().values())
    assert all(variable.dtype == np.dtype("float64") for variable in parameters)
    rng, step = np.random.default_rng(1), 1e-6
    weights = rng.standard_normal(layer(*x).shape)
    value = lambda: cr.sum(layer(*x) * weights)
    slopes = cr.gradients(value(), parameters)
    starts = [variable.numpy() for variable in parameters]
    directions = [rng.standard_normal(variable.shape) for variable in parameters]

    def moved(t):
        for variable, start, direction in zip(parameters, starts, directions, strict=True):
            variable.assign(start + t * direction)
        return value().item()
    terms = [np.sum(slope.numpy() * direction) for slope, direction in zip(slopes, directions, strict=True)]
    numeric = (moved(step) - moved(-step)) / (2 * step)
    assert sum(terms) == pytest.approx(numeric, rel=1e-6, abs=1e-7 * max(1.0, *map(abs, terms), abs(numeric)))


@pytest.mark.parametrize("name", ROWS)
def test_compiled_and_from_a_file(name, tmp_path):
    layer, x = made(name)
    expected = layer(*x).numpy()
    np.testing.assert_allclose(cr.compile(layer)(*x).numpy(), expected, rtol=1e-9, atol=1e-11)
    loaded = cr.load(cr.save(layer, tmp_path / "layer.safetensors"))
    np.testing.assert_array_equal(loaded(*x).numpy(), expected)
