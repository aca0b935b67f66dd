# SPDX-License-Identifier: Apache-2.0
"""Every layer of the table: compiled = eager, forward, gradients and state; one trace; rebuilt from its configuration."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
from tables.layers import LAYERS

import chainrule as cr
from chainrule import nn
from chainrule.nn.summary import summary


def batch(shape, make, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    layer, shapes = make(), shape if isinstance(shape, list) else [shape]
    if np.dtype(layer.input_dtype).kind == "i":
        return [rng.integers(0, 9, shape) for shape in shapes]
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


ELSEWHERE = {"MaxUnpool1D", "MaxUnpool2D", "MaxUnpool3D", "Functional"}  # take more than arrays of numbers, and have tests of their own


def fresh(make):
    cr.random.seed(3)
    return make()


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize("name", LAYERS)
def test_compiled_equals_eager(name, backend):
    make, shape = LAYERS[name]
    x = batch(shape, make)
    results = []
    for compiled in (False, True):
        layer = fresh(make)

        def step(*x, layer=layer):
            y = layer(*x, training=True)
            grads = cr.gradients(cr.sum(y * y), layer)
            return y, list(grads.values()), layer(*x)
        run = cr.compile(step, backend=backend) if compiled else step
        y, grads, inference = run(*x)
        run(*batch(shape, make, 1))
        if compiled:
            assert len(run.entries) == 1
        results.append([y.numpy(), *(g.numpy() for g in grads), inference.numpy(), *(v.numpy() for v in layer.variables().values())])
    scale = max(1.0, *(float(np.abs(a).max()) for a in results[0] if a.dtype.kind == "f"))
    for eager, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=2e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("name", LAYERS)
def test_rebuilt_from_configuration(name):
    make, shape = LAYERS[name]
    x, layer = batch(shape, make), fresh(make)
    expected = layer(*x).numpy()
    again = nn.from_config(json.loads(json.dumps(nn.to_config(layer))))
    assert list(again.variables()) == list(layer.variables())
    for target, source in zip(again.variables().values(), layer.variables().values(), strict=True):
        target.assign(source.numpy())
    np.testing.assert_array_equal(again(*x).numpy(), expected)
    assert repr(again) == repr(layer)


@pytest.mark.parametrize("name", [name for name, (_, shape) in LAYERS.items() if not isinstance(shape, list)])
def test_summary_before_and_after_the_first_call(name):
    make, shape = LAYERS[name]
    layer = make()
    before = summary(layer, shape[1:])
    layer(*batch(shape, make))
    assert summary(layer) == before
    assert str(layer(*batch(shape, make)).shape[1:]) in before or len(layer.modules()) > 1


def test_every_layer_has_a_row():
    made = {type(m) for make, _ in LAYERS.values() for m in make().modules().values()}
    missing = [name for name in nn.__all__ if inspect.isclass(kind := getattr(nn, name)) and issubclass(kind, nn.Module)
               and kind not in made and kind is not nn.Module and name not in ELSEWHERE]
    assert missing == []
