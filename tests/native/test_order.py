# SPDX-License-Identifier: Apache-2.0
"""The order of steps, and what of a convolutional network is computed where."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.native.buffers import Buffer
from chainrule.native.plan.order import early
from chainrule.native.plan.steps import ProductStep


def network(depth: int = 4):
    model = nn.Sequential([layer for _ in range(depth)
                           for layer in (nn.Conv2D(16, 3, padding="same", bias=False), nn.BatchNorm(), nn.ReLU())])
    model(np.zeros((2, 12, 12, 16), "float32"))
    x = np.random.default_rng(0).standard_normal((4, 12, 12, 16)).astype("float32")

    def step(x):
        loss = cr.mean(model(x, training=True) ** 2)
        return loss, cr.gradients(loss, model)
    return step, x


def compiled(step, x):
    function = cr.compile(step, backend="native")
    value = function(x)
    return function.lower(x).program.plan, value


def kind(step) -> str:
    return getattr(getattr(step, "spec", None), "kind", "")


def test_the_gradient_of_a_weight_follows_that_of_its_layer():
    plan, _ = compiled(*network())
    kinds = [kind(s) for s in plan.steps if kind(s) != "forward" and kind(s)]
    assert kinds == ["filter_gradient", "input_gradient"] * 3 + ["filter_gradient"]


def test_a_product_does_not_pass_what_it_reads():
    item = lambda reads, writes: SimpleNamespace(reads=reads, writes=writes)
    a, b, c, small = (Buffer((n,), "float32") for n in (100, 100, 100, 4))
    product = ProductStep(None, [a, b], [small], None)
    items = [item([], [a]), item([], [b]), item([b], [c]), item([c], []), product]
    assert [items.index(x) for x in early(items)] == [0, 1, 4, 2, 3]
    large = ProductStep(None, [a, b], [Buffer((900,), "float32")], None)
    assert early([*items[:4], large])[-1] is large


def test_the_mask_of_an_activation_is_part_of_the_convolution_behind_it():
    step, x = network()
    plan, value = compiled(step, x)
    gradients = [s for s in plan.steps if kind(s) == "input_gradient"]
    assert len(gradients) == 3 and all(s.finish is not None for s in gradients)
    wanted = cr.compile(step, backend="reference")(x)
    for a, b in zip(value[1].values(), wanted[1].values(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-5 * max(1.0, float(abs(b.numpy()).max())))


def test_the_gradient_of_overlapping_maxima_is_computed_where_it_is_added_up():
    layer, random = nn.MaxPool2D(3, 2, padding=1), np.random.default_rng(1)
    x, g = (random.standard_normal((2, 9, 10, 5)).astype("float32"),
            random.standard_normal((2, 5, 5, 5)).astype("float32"))
    step = lambda x: cr.grad(lambda x: cr.sum(layer(x) * g))(x)
    plan, value = compiled(step, x)
    assert max(b.bytes for s in plan.steps for b in s.writes) < 9 * g.nbytes  # no window is stored
    np.testing.assert_allclose(value.numpy(), cr.compile(step, backend="reference")(x).numpy(), rtol=1e-6)
