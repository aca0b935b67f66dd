# SPDX-License-Identifier: Apache-2.0
"""The LSTM's memory cell: three gates decide what is forgotten, what is written and what is shown, and an error travels
back through an open cell unchanged."""

import numpy as np

import chainrule as cr
from chainrule import inspect, nn

layer = nn.LSTM(2, return_state=True, dtype="float64")
x = np.random.default_rng(0).standard_normal((1, 8, 3))
layer(x)
for weight in (layer.weight, layer.recurrent_weight):
    weight.assign(np.zeros(weight.shape))  # the gates obey the bias alone
OPEN, SHUT = 1000.0, -1000.0


def after(forget, write, show):
    """(h, c) after eight steps that begin with c = 0.7."""
    layer.bias.assign(np.repeat([write, forget, 1.0, show], 2))
    return [state.numpy()[0] for state in layer(x, states=[np.zeros((1, 2)), np.full((1, 2), 0.7)])[1]]


print("kept:    forget gate open, input gate shut:  c =", after(OPEN, SHUT, OPEN)[1])
print("erased:  forget gate shut, input gate shut:  c =", after(SHUT, SHUT, OPEN)[1])
print("counted: forget gate open, input gate open:  c =", after(OPEN, OPEN, OPEN)[1], "= 0.7 + 8 tanh(1)")
print("hidden:  output gate shut:                   h =", after(OPEN, OPEN, SHUT)[0])

layer.bias.assign(np.repeat([SHUT, OPEN, 1.0, OPEN], 2))
start = cr.Variable(np.full((1, 2), 0.7))
slope = cr.gradients(cr.sum(layer(x, states=[np.zeros((1, 2)), start])[1][1]), [start])[0].numpy()
print("d c after eight steps / d c at the beginning =", slope[0])

free = nn.LSTM(4)
gates = free.inspect(x.astype("float32"))
print("every step of every gate:", {name: value.shape for name, value in gates.items()})
print("written:", inspect.draw_gates(free, x.astype("float32"), "gates.png"))

assert np.all(after(OPEN, SHUT, OPEN)[1] == 0.7) and np.all(after(SHUT, SHUT, OPEN)[1] == 0)
assert np.allclose(after(OPEN, OPEN, OPEN)[1], 0.7 + 8 * np.tanh(1)) and np.all(after(OPEN, OPEN, SHUT)[0] == 0)
assert np.all(slope == 1)
