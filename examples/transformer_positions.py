# SPDX-License-Identifier: Apache-2.0
"""Positions: attention alone does not see the order of its words; six ways to tell it."""

import numpy as np

import chainrule as cr
from chainrule import nn

cr.random.seed(0)
x = np.random.default_rng(0).standard_normal((1, 6, 16)).astype("float32")
order = [3, 1, 5, 0, 4, 2]


def sees_order(model):
    """How much the outputs differ from those of the same words in another order, put back."""
    return float(np.abs(model(x[:, order]).numpy() - model(x).numpy()[:, order]).max())


blocks = {
    "none": nn.TransformerEncoderLayer(2, 32),
    "sinusoidal": nn.Sequential([nn.PositionalEncoding("sinusoidal"), nn.TransformerEncoderLayer(2, 32)]),
    "learned": nn.Sequential([nn.PositionalEncoding("learned", length=6), nn.TransformerEncoderLayer(2, 32)]),
    "rotary": nn.TransformerEncoderLayer(2, 32, positions="rotary"),
    "ALiBi": nn.TransformerEncoderLayer(2, 32, positions="alibi"),
    "T5's bias": nn.TransformerEncoderLayer(2, 32, positions=nn.RelativeBias()),
    "Shaw's vectors": nn.TransformerEncoderLayer(2, 32, positions=nn.RelativeKeys()),
}
found = {name: sees_order(block) for name, block in blocks.items()}
for name, change in found.items():
    print(f"{name:15} another order changes the outputs by {change:.1e}")

q, k = np.random.default_rng(1).standard_normal((2, 1, 1, 1, 8))
score = lambda m, n: (nn.rotate(cr.asarray(q), m) * nn.rotate(cr.asarray(k), n)).numpy().sum()
print("turned query at 3, key at 1:", score(3, 1).round(6), "- at 12 and 10:", score(12, 10).round(6))

assert found.pop("none") < 1e-5
assert min(found.values()) > 1e-4
assert abs(score(3, 1) - score(12, 10)) < 1e-9
