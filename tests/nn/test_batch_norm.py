# SPDX-License-Identifier: Apache-2.0
"""Batch normalisation: gradients as PyTorch's with and without scale and shift, and what folding it away keeps."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("backend", ["reference", "native"])
@pytest.mark.parametrize(("scale", "shift"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 5), (2, 3, 4, 5), (2, 2, 3, 4, 19)])
def test_gradients_are_those_of_pytorch(shape, scale, shift, backend):
    torch = pytest.importorskip("torch")
    x, g = (RNG.standard_normal(shape).astype("float32") * 2 + 3 for _ in range(2))
    layer, channels = nn.BatchNorm(scale=scale, shift=shift), shape[-1]
    layer(x)
    for variable in layer.parameters().values():
        variable.assign(RNG.standard_normal(channels).astype("float32"))
    inputs = cr.Variable(x)

    @cr.compile(backend=backend)
    def ours():
        y = layer(inputs, training=True)
        return y, cr.gradients(cr.sum(y * g), [inputs, *layer.parameters().values()])

    source = torch.tensor(x).movedim(-1, 1).requires_grad_()
    weight, bias = (torch.tensor(getattr(layer, name).numpy(), requires_grad=True) if there else None
                    for name, there in (("weight", scale), ("bias", shift)))
    y = torch.nn.functional.batch_norm(source, None, None, weight, bias, training=True)
    wanted = torch.autograd.grad(y, [t for t in (source, weight, bias) if t is not None],
                                 torch.tensor(g).movedim(-1, 1))
    value, grads = ours()
    np.testing.assert_allclose(value.numpy(), y.detach().movedim(1, -1).numpy(), rtol=2e-5, atol=2e-5)
    for mine, other in zip(grads, (wanted[0].movedim(1, -1), *wanted[1:]), strict=True):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-4, atol=1e-4 * float(abs(other).max()))


def test_the_second_derivative_is_that_of_the_formula():
    x = RNG.standard_normal((6, 3))
    layer = nn.BatchNorm(dtype="float64")
    layer(x)
    w = RNG.standard_normal(3)
    layer.weight.assign(w)

    def plain(x):
        centred = x - cr.mean(x, axis=0, keepdims=True)
        return centred / cr.sqrt(cr.mean(centred * centred, axis=0, keepdims=True) + 1e-5) * w
    weights = np.arange(18.0).reshape(6, 3)
    slopes = [cr.grad(lambda x, f=f: cr.sum(cr.grad(lambda x: cr.sum(f(x) ** 3 * weights))(x) ** 2))(x)
              for f in (lambda x: layer(x, training=True), plain)]
    np.testing.assert_allclose(slopes[0].numpy(), slopes[1].numpy(), rtol=1e-8)


FOLDED = {
    "dense": (lambda: [nn.Dense(8), nn.BatchNorm(), nn.ReLU(), nn.Dense(3, bias=False), nn.BatchNorm(scale=False)],
              (9, 5), 2),
    "conv": (lambda: [nn.Conv2D(6, 3, bias=False), nn.BatchNorm(), nn.ReLU(), nn.DepthwiseConv2D(3, padding="same"),
                      nn.BatchNorm(shift=False), nn.Conv2D(4, 1, groups=2), nn.BatchNorm()], (4, 8, 8, 3), 3),
    "inside a block": (lambda: [nn.Residual([nn.Conv1D(3, 3, padding="same"), nn.BatchNorm()], activation="relu")],
                       (4, 8, 3), 1),
    "after an activation": (lambda: [nn.Dense(8, activation="relu"), nn.BatchNorm()], (9, 5), 0),
    "transposed": (lambda: [nn.Conv2DTranspose(6, 3, stride=2, groups=2, bias=False), nn.BatchNorm(),
                            nn.Conv2DTranspose(3, 2, padding="same"), nn.BatchNorm()],
                   (4, 5, 5, 4), 2),
}


@pytest.mark.parametrize("name", FOLDED)
def test_folding_gives_the_same_output(name):
    layers, shape, count = FOLDED[name]
    model = nn.Sequential(layers())
    for _ in range(4):
        model(RNG.standard_normal(shape).astype("float32") * 3 + 1, training=True)
    for variable in model.parameters().values():
        variable.assign(variable.numpy() + RNG.standard_normal(variable.shape).astype("float32") * 0.3)
    x = RNG.standard_normal(shape).astype("float32")
    before = model(x).numpy()
    assert nn.fold_batch_norms(model) == count
    np.testing.assert_allclose(model(x).numpy(), before, rtol=1e-5, atol=1e-5)
    assert sum(isinstance(module, nn.BatchNorm)
               for module in model.modules().values()) == (name == "after an activation")
