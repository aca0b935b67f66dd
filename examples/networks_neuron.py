# SPDX-License-Identifier: Apache-2.0
"""One neuron: y = f(w . x + b), with every number in it; in a notebook `neuron.look(x)` is a drawing."""

import math

import numpy as np

import chainrule as cr
from chainrule import nn

neuron = nn.Neuron([0.5, -1.5, 2.0], bias=0.25, activation="sigmoid")
view = neuron.look([1.0, 2.0, -0.5])
print(view)
assert math.isclose(view.output, 1 / (1 + math.exp(3.25)), rel_tol=1e-6)

rng = np.random.default_rng(0)  # it learns: which side of a line a point is on
x = rng.normal(size=(300, 2)).astype("float32")
y = (2 * x[:, 0] - x[:, 1] > 0.5).astype("float32")
learner = nn.Neuron()
cr.fit(learner, (x, y), loss="binary_cross_entropy", optimizer=cr.optim.Adam(0.1), epochs=80, progress=False)
w, b = learner.weight.numpy(), learner.bias.numpy()
print(f"learnt: {w[0]:.2f} x0 {w[1]:+.2f} x1 {b:+.2f} > 0, in proportion {w[0] / -w[1]:.2f} : -1 : {-b / w[1]:+.2f}")
assert ((learner(x).numpy() > 0) == (y > 0)).mean() > 0.99 and abs(w[0] / -w[1] - 2) < 0.2
