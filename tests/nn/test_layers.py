# SPDX-License-Identifier: Apache-2.0
"""Every layer of the table: compiled = eager, forward, gradients and state; one trace; rebuilt from its configuration.
"""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
from tables.layers import LAYERS

import chainrule as cr
from chainrule import nn
from chainrule.nn.analysis.summary import summary


def batch(shape, make, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    layer, shapes = make(), shape if isinstance(shape, list) else [shape]
    if np.dtype(layer.input_dtype).kind == "i":
        return [rng.integers(0, 9, shape) for shape in shapes]
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


# take more than arrays of numbers, and have tests of their own
ELSEWHERE = {"MaxUnpool1D", "MaxUnpool2D", "MaxUnpool3D", "Functional", "Adapter", "LowRank", "Scaled"}


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
        results.append([y.numpy(), *(g.numpy() for g in grads), inference.numpy(),
                        *(v.numpy() for v in layer.variables().values())])
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
def test_sizes_that_are_told_or_seen(name):
    """With input_shape= the weights are there before the first call, the same ones that the first batch would make."""
    make, shape = LAYERS[name]
    x, seen = batch(shape, make), fresh(make)
    expected = seen(*x).numpy()
    cr.random.seed(3)
    told = nn.from_config({**nn.to_config(make()), "input_shape": list(shape[1:])})
    assert [v.shape for v in told.variables().values()] == [v.shape for v in seen.variables().values()]
    np.testing.assert_array_equal(told(*x).numpy(), expected)


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


ONE_SAMPLE_AT_LEAST = {"batch norm", "residual"}  # whose statistics need samples


@pytest.mark.parametrize("name", LAYERS)
def test_an_empty_batch_and_the_dtype(name):
    make, shape = LAYERS[name]
    x, layer = batch(shape, make), fresh(make)
    y = layer(*x)
    assert y.dtype == np.dtype("float32")
    empty = layer(*(part[:0] for part in x))
    assert empty.shape == (0, *y.shape[1:])
    if name not in ONE_SAMPLE_AT_LEAST:
        assert layer(*(part[:0] for part in x), training=True).shape == empty.shape


SECOND = {
    "max pool": (lambda: nn.MaxPool2D(2, 1), (1, 4, 3, 2)), "power pool": (lambda: nn.LpPool2D(3.0, 2), (1, 4, 4, 2)),
    "adaptive": (lambda: nn.AdaptiveAvgPool2D(2), (1, 3, 4, 2)),
    "resampling": (lambda: nn.UpSampling1D(3, "linear"), (1, 4, 2)),
    "reflect": (lambda: nn.Conv1D(2, 3, padding=1, padding_mode="reflect", dtype="float64"), (1, 4, 2)),
    "transposed": (lambda: nn.Conv1DTranspose(2, 3, stride=2, dtype="float64"), (1, 4, 2)),
    "instance norm": (lambda: nn.InstanceNorm(dtype="float64"), (2, 4, 2)),
    "weight norm": (lambda: nn.WeightNorm(nn.Dense(3, dtype="float64")), (2, 4)),
    "spectral norm": (lambda: nn.SpectralNorm(nn.Dense(3, "tanh", dtype="float64")), (2, 4)),
    "swiglu": (lambda: nn.Activation("swiglu"), (2, 4)),
    "squareplus": (lambda: nn.Activation("squareplus"), (2, 4)), "celu": (lambda: nn.Activation("celu"), (2, 4)),
    "bilinear": (lambda: nn.EinsumDense("ab,bc->ac", 3, "tanh", "c", dtype="float64"), (2, 4)),
    "cell": (lambda: nn.RNN(nn.LSTMCell(3, dtype="float64")), (2, 3, 2)),
    "gru": (lambda: nn.GRU(3, dtype="float64", reset_after=False), (2, 3, 2)),
    "rotary": (lambda: nn.MultiHeadAttention(2, dtype="float64", key_heads=1, positions="rotary"), (1, 3, 4)),
    "alibi": (lambda: nn.MultiHeadAttention(2, dtype="float64", positions="alibi"), (1, 3, 4)),
    "gated": (lambda: nn.GatedFeedForward(3, dtype="float64"), (2, 4)),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name):
    make, shape = SECOND[name]
    layer, rng, h = fresh(make), np.random.default_rng(5), 1e-6
    x, d = rng.standard_normal(shape), rng.standard_normal(shape)

    def slope(at):
        v = cr.Variable(at)
        y = layer(v)
        return v, cr.gradients(cr.sum(y * y * y), [v])[0]
    v, g = slope(x)
    found = cr.gradients(cr.sum(g * d), [v])[0].numpy()
    numeric = (slope(x + h * d)[1].numpy() - slope(x - h * d)[1].numpy()) / (2 * h)
    np.testing.assert_allclose(found, numeric, rtol=1e-5, atol=1e-6 * max(1.0, np.abs(numeric).max()))
