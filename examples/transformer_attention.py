# SPDX-License-Identifier: Apache-2.0
"""Attention: each word asks (query), all words answer (key), and what they hold (value) is mixed by how well they fit.

One convention for masks: True means "may be looked at". PyTorch has two others, which are converted.
"""

import math

import numpy as np

import chainrule as cr
from chainrule import inspect, nn

cr.random.seed(0)
words = "the cat that the dogs chase sleeps".split()
x = np.random.default_rng(0).standard_normal((1, len(words), 16)).astype("float32")
layer = nn.MultiHeadAttention(heads=2)
with nn.recorded_attention() as records:
    y = layer(x, causal=True)
(record,) = records
weights = record.weights.numpy()
print("queries", record.query.shape, "keys", record.key.shape, "values", record.value.shape, "weights", weights.shape)
for t, word in enumerate(words):
    print(f"{word:7}", " ".join(f"{100 * w:3.0f}%" for w in weights[0, 0, t, :t + 1]))
print("written:", inspect.draw_attention(record, "attention.png", tokens=words))

q, k, v = (part.numpy()[0] for part in (record.query, record.key, record.value))  # the same by hand
scores = np.einsum("thd,shd->hts", q, k) / math.sqrt(8)
scores = np.where(np.tril(np.ones((7, 7), bool)), scores, -np.inf)
by_hand = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)

exists = np.arange(7) < 5  # the last two words are padding
ours = layer(x, mask=exists[None]).numpy()
theirs = layer(x, mask=nn.masks.from_torch(key_padding_mask=~exists[None])).numpy()  # PyTorch: True means "do not look"
changed = x.copy()
changed[:, 5:] = 100
print("what is masked bears on nothing:",
      bool(np.allclose(layer(changed, mask=exists[None]).numpy()[:, :5], ours[:, :5], atol=1e-5)))

assert np.allclose(weights[0], by_hand, atol=1e-5)
assert np.allclose(weights.sum(-1), 1, atol=1e-5)
assert np.array_equal(ours, theirs)
assert np.allclose(layer(changed, mask=exists[None]).numpy()[:, :5], ours[:, :5], atol=1e-5)
