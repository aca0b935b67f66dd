# SPDX-License-Identifier: Apache-2.0
"""Long-term dependencies: a symbol is asked for after 60 others. A plain recurrent network cannot learn it, a GRU with
memory can.
"""

import numpy as np

import chainrule as cr
from chainrule import losses, nn, optim

STEPS, SYMBOLS = 60, 4


def draw(generator, n):
    ids = generator.integers(SYMBOLS, 2 * SYMBOLS, (n, STEPS + 2))
    ids[:, 0], ids[:, -1] = generator.integers(0, SYMBOLS, n), 2 * SYMBOLS
    return np.eye(2 * SYMBOLS + 1, dtype="float32")[ids], ids[:, 0]


def learn(layer):
    cr.random.seed(0)
    generator = np.random.default_rng(0)
    model, optimizer = nn.Sequential([layer, nn.Dense(SYMBOLS)]), optim.Adam(5e-3, clip_norm=1.0)
    model(draw(generator, 2)[0])
    found = cr.diagnose(model, draw(generator, 64), loss="cross_entropy").kinds
    print(f"{type(layer).__name__}: {', '.join(found) or 'nothing found'}")

    @cr.compile
    def step(x, y):
        loss = losses.cross_entropy(model(x, training=True), y)
        optimizer.update(model, cr.gradients(loss, model))
        return loss
    for _ in range(250):
        step(*draw(generator, 32))
    x, y = draw(generator, 400)
    return (cr.predict(model, x).numpy().argmax(-1) == y).mean()


plain, gated = learn(nn.SimpleRNN(32)), learn(nn.GRU(32, memory=STEPS))
print(f"right answers after 250 steps: plain {plain:.0%} (chance {1 / SYMBOLS:.0%}), GRU {gated:.0%}")
assert plain < 0.5 and gated > 0.95
