# SPDX-License-Identifier: Apache-2.0
"""Residual connections over fifty blocks, stochastic depth, position-wise networks and the induction head."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# ---- residual connections

def test_a_block_whose_body_is_zero_is_the_identity():
    block, x = (nn.Residual([nn.Dense(8, dtype="float64"), nn.ReLU(),
                             nn.Dense(8, dtype="float64", weight_initializer="zeros")]), normal(3, 8))
    np.testing.assert_array_equal(block(x).numpy(), x)
    variable = cr.Variable(x)
    np.testing.assert_array_equal(cr.gradients(cr.sum(block(variable)), [variable])[0].numpy(), np.ones((3, 8)))


def gradient_norms(depth, residual):
    """|dL/dx| after each block, from the last to the first, over that at the end."""
    cr.random.seed(0)
    bodies = [[nn.LayerNorm(), nn.Dense(32, weight_initializer="glorot_normal"), nn.ReLU(),
               nn.Dense(32, weight_initializer="glorot_normal")]
              for _ in range(depth)]
    blocks = [nn.Residual(body) if residual else nn.Sequential(body[1:]) for body in bodies]
    x = cr.Variable(normal(16, 32).astype("float32"))
    results, y = [x], x
    for block in blocks:
        y = block(y)
        results.append(y)
    g = cr.gradients(cr.sum(y * normal(16, 32, seed=1).astype("float32")), results)
    norms = np.array([float(np.linalg.norm(v.numpy())) for v in g])
    return norms / norms[-1]


def test_the_gradient_keeps_its_size_over_fifty_blocks():
    norms = gradient_norms(50, residual=True)
    assert len(norms) == 51 and 0.3 < norms.min() and norms.max() < 10
    assert gradient_norms(50, residual=False)[0] < 1e-6  # without the way round it vanishes


def test_stochastic_depth_passes_blocks_by():
    block = nn.Residual([nn.Dense(4, dtype="float64"), nn.StochasticDepth(0.5)])
    x = normal(400, 4)
    plain, trained = block(x).numpy(), block(x, training=True).numpy()
    gone = np.all(trained == x, axis=1)
    assert 0.4 < gone.mean() < 0.6
    np.testing.assert_allclose(trained[~gone] - x[~gone], 2 * (plain - x)[~gone], rtol=1e-10)


@pytest.mark.parametrize("make", [lambda: nn.GatedFeedForward(6, dtype="float64"),
                                  lambda: nn.Sequential([nn.Dense(6, activation="gelu", dtype="float64"),
                                                         nn.Dense(4, dtype="float64")])])
def test_position_wise_networks_see_one_position(make):
    network, x = make(), normal(3, 5, 4)
    whole = network(x).numpy()
    np.testing.assert_allclose(np.stack([network(x[:, t]).numpy() for t in range(5)], 1), whole, rtol=1e-12, atol=1e-14)


# ---- which token attends to which

class TwoLayers(nn.Module):
    """A causal transformer of two attention layers without networks: what an induction head needs."""

    def __init__(self, vocabulary, width=32):
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.PositionalEncoding("learned", length=64)
        self.attentions = [nn.MultiHeadAttention(2) for _ in range(2)]
        self.norms = [nn.LayerNorm() for _ in range(3)]
        self.logits = nn.Dense(vocabulary)

    def forward(self, ids):
        x = self.positions(self.embedding(ids))
        for norm, attention in zip(self.norms, self.attentions, strict=False):
            x = x + attention(norm(x), causal=True)
        return self.logits(self.norms[2](x))


def repeated(rng, count, vocabulary=16, length=12):
    """(ids, places): different tokens, then two neighbours of them again, so that the second is what followed the first
    before; their places say nothing."""
    first, places = (np.stack([rng.permutation(vocabulary)[:length] for _ in range(count)]),
                     rng.integers(0, length - 1, count))
    rows = np.arange(count)
    return np.concatenate([first, np.stack([first[rows, places], first[rows, places + 1]], axis=1)], axis=1), places


@pytest.mark.slow
def test_induction_head():
    cr.random.seed(0)
    model, rng, optimizer = TwoLayers(16, 64), np.random.default_rng(0), optim.Adam(optim.schedules.warmup(3e-3, 100))

    @cr.compile
    def step(ids):
        logits = model(ids[:, :-1], training=True)
        value = losses.cross_entropy(logits[:, 12:], ids[:, 13:])
        optimizer.update(model, cr.gradients(value, model))
        return value
    for _ in range(1500):
        step(repeated(rng, 64)[0])
    ids, places = repeated(np.random.default_rng(1), 200)
    with nn.recorded_attention() as records:
        right = (model(ids[:, :-1]).numpy()[:, 12].argmax(-1) == ids[:, 13]).mean()
    assert right >= 0.99
    weights = [record.weights.numpy() for record in records]  # of each layer, (texts, heads, steps, sources)
    for rows in weights:
        np.testing.assert_allclose(rows.sum(-1), 1, rtol=1e-5)
    after = weights[1][np.arange(200), :, 12, places + 1]  # from the second occurrence to what followed the first
    assert after.mean(0).max() > 0.9
    before = weights[0][:, :, np.arange(1, 12), np.arange(11)]  # which the layer below has told: it looks one step back
    assert before.mean((0, 2)).max() > 0.8


# ---- tables and precision

def test_sinusoids_are_those_of_the_paper():
    found = nn.PositionalEncoding()(np.zeros((1, 7, 6), "float32")).numpy()[0]
    for t in range(7):
        for i in range(3):
            angle = t / 10000 ** (2 * i / 6)
            np.testing.assert_allclose(found[t, 2 * i:2 * i + 2], [np.sin(angle), np.cos(angle)], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("make", [lambda: nn.LayerNorm(), lambda: nn.RMSNorm(), lambda: nn.GroupNorm(4),
                                  lambda: nn.BatchNorm()])
def test_norms_stay_in_float32_where_products_are_bfloat16(make):
    layer, x = make(), (1000 + normal(64, 32)).astype("float32")
    layer(x, training=True)
    run = cr.compile(lambda x: (layer(x, training=True), cr.gradients(cr.sum(layer(x, training=True) ** 3), [x])[0]),
                     precision="bfloat16")
    wide = cr.compile(lambda x: (layer(x, training=True), cr.gradients(cr.sum(layer(x, training=True) ** 3), [x])[0]))
    for a, b in zip(run(x), wide(x), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
