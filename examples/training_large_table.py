# SPDX-License-Identifier: Apache-2.0
"""A table of 200,000 vectors of which each batch takes few: a step touches the rows that occur, and nothing else.

The task: which of two hidden groups a bag of four words comes from.
"""

import numpy as np

import chainrule as cr
from chainrule import nn, optim

WORDS, SAMPLES = 200_000, 4000
generator = np.random.default_rng(0)
common = generator.choice(WORDS, 400, replace=False)  # the words that do occur
group = generator.integers(0, 2, SAMPLES)
x = common[generator.integers(0, 200, (SAMPLES, 4)) + 200 * group[:, None]]

model = nn.Sequential([nn.EmbeddingBag(WORDS, 16), nn.Dense(2)])
model(x[:1])
before = model[0].weight.numpy()

# SGD and Adagrad need no switch: rows without a gradient stay as they are anyway
optimizer = optim.Adam(1e-2, lazy=True)
history = cr.fit(model, (x, group), loss="cross_entropy", optimizer=optimizer, epochs=4, metrics=["accuracy"],
                 progress=False)
changed = np.flatnonzero((model[0].weight.numpy() != before).any(axis=1))
print(f"accuracy {history['accuracy'][-1]:.3f}; {len(changed)} of {WORDS:,} rows have changed, {len(np.unique(x))} "
      "occur")

assert history["accuracy"][-1] > 0.99
np.testing.assert_array_equal(changed, np.unique(x))
