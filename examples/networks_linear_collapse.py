# SPDX-License-Identifier: Apache-2.0
"""Why networks need activations: a deep network without them is one matrix, so it fails at exclusive or; one hidden
layer
with an activation solves it."""

import numpy as np

import chainrule as cr
from chainrule import nn
from chainrule.data import xor

x, y = xor()
right = {"linear": [], "tanh": []}
for seed in range(10):
    cr.random.seed(seed)
    networks = {"linear": nn.Sequential([nn.Dense(8), nn.Dense(8), nn.Dense(2)]),
                "tanh": nn.Sequential([nn.Dense(8, activation="tanh"), nn.Dense(2)])}
    for name, model in networks.items():
        cr.fit(model, (x, y), loss="cross_entropy", optimizer=cr.optim.Adam(0.05), epochs=120, seed=seed,
               progress=False)
        right[name].append(float((model(x).numpy().argmax(1) == y).mean()))
for name, found in right.items():
    print(f"{name:7} right on xor in 10 runs: " + " ".join(f"{100 * r:.0f} %" for r in found))

one = nn.collapse(networks["linear"])  # three layers, 8 hidden units each: the same function as
print("the three linear layers are the one matrix\n", one.weight.numpy().round(3))
assert np.allclose(one(x).numpy(), networks["linear"](x).numpy(), atol=1e-5)
assert max(right["linear"]) <= 0.75 and sum(r == 1 for r in right["tanh"]) >= 9
