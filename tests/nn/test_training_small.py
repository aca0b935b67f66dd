# SPDX-License-Identifier: Apache-2.0
"""Small networks learn what they must: a causal transformer to count, a recurrent one to remember, a CNN to see a bar.
"""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import losses, nn, optim


class CausalModel(nn.Module):
    """Tokens in, logits of the next token out."""

    def __init__(self, vocabulary, width, depth):
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.PositionalEncoding()
        self.blocks = [nn.TransformerEncoderLayer(2, 2 * width, dropout=0.05) for _ in range(depth)]
        self.norm = nn.LayerNorm()
        self.logits = nn.Dense(vocabulary)

    def forward(self, ids):
        x = self.positions(self.embedding(ids))
        for block in self.blocks:
            x = block(x, causal=True)
        return self.logits(self.norm(x))


def train(model, batches, loss, optimizer, backend):
    @cr.compile(backend=backend)
    def step(x, y):
        value = loss(model(x, training=True), y)
        optimizer.update(model, cr.gradients(value, model))
        return value
    values = [step(x, y).item() for x, y in batches]
    assert len(step.entries) == 1
    return values


@pytest.mark.parametrize("backend", ["reference", "native"])
def test_a_transformer_counts(backend):
    cr.random.seed(0)
    rng = np.random.default_rng(0)
    sequences = [(rng.integers(0, 7, (16, 1)) + np.arange(9)) % 7 for _ in range(60)]
    model = CausalModel(7, 16, 1)
    values = train(model, [(s[:, :-1], s[:, 1:]) for s in sequences], losses.cross_entropy, optim.AdamW(1e-2), backend)
    assert values[0] > 1.5
    assert values[-1] < 0.2
    assert (model(sequences[0][:, :-1]).numpy().argmax(-1) == sequences[0][:, 1:]).mean() > 0.95


def test_a_recurrent_network_remembers_the_first_number():
    cr.random.seed(0)
    rng = np.random.default_rng(0)
    data = [rng.standard_normal((32, 6, 1)).astype("float32") for _ in range(150)]
    model = nn.Sequential([nn.GRU(8), nn.Dense(1)])
    values = train(model, [(x, x[:, 0]) for x in data], losses.mean_squared_error, optim.Adam(3e-2), "reference")
    assert np.mean(values[-10:]) < 0.15 * values[0]


def test_a_convolutional_network_sees_bars():
    cr.random.seed(0)
    rng = np.random.default_rng(0)

    def batch():
        x, y = 0.3 * rng.standard_normal((32, 8, 8, 1)), rng.integers(0, 2, 32)
        for image, upright, place in zip(x, y, rng.integers(0, 8, 32), strict=True):
            image[:, place] += upright
            image[place] += 1 - upright
        return x.astype("float32"), y
    model = nn.Sequential([nn.Conv2D(8, 3, bias=False), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(),
                           nn.Dense(2)])
    values = train(model, [batch() for _ in range(60)], losses.cross_entropy,
                   optim.SGD(0.1, momentum=0.9, nesterov=True), "reference")
    assert np.mean(values[-5:]) < 0.2
    x, y = batch()
    assert (model(x).numpy().argmax(-1) == y).mean() > 0.85
