# SPDX-License-Identifier: Apache-2.0
"""Back-propagation through time is one loop and its reverse; in pieces it keeps less and gives the same gradient."""

import numpy as np

import chainrule as cr
from chainrule import nn

x = np.random.default_rng(0).standard_normal((4, 512, 8)).astype("float32")


def train_step(piece):
    """(gradients, bytes kept between the way there and the way back)."""
    cr.random.seed(0)
    layer = nn.LSTM(16, piece=piece)
    layer(x)
    step = cr.compile(lambda x: list(cr.gradients(cr.mean(layer(x) ** 2), layer).values()), backend="native")
    found = [g.numpy() for g in step(x)]
    (entry,) = step.entries.values()
    return found, entry.program.arena.nbytes


whole, much = train_step(None)
pieces, little = train_step(16)
print(f"512 steps at once: {much / 1024:.0f} KiB; in 32 pieces of 16 steps: {little / 1024:.0f} KiB")
print("largest difference of the gradients:", max(np.abs(a - b).max() for a, b in zip(whole, pieces, strict=True)))

assert little < much / 5
assert all(np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(whole, pieces, strict=True))
