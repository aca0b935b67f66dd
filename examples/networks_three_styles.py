# SPDX-License-Identifier: Apache-2.0
"""The same network as a list, as a drawn graph, and as a class: the same names, the same numbers, bit for bit."""

import numpy as np

import chainrule as cr
from chainrule import nn

x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")


class Network(nn.Module):
    def __init__(self):
        self.layers = [nn.Dense(8, activation="relu"), nn.Dense(3)]

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def drawn():
    entry = nn.Input((6,))
    return nn.Functional(entry, nn.Dense(3)(nn.Dense(8, activation="relu")(entry)))


outputs = {}
for style, make in (("list", lambda: nn.Sequential([nn.Dense(8, activation="relu"), nn.Dense(3)])), ("graph", drawn),
                    ("class", Network)):
    cr.random.seed(0)
    model = make()
    outputs[style] = model(x).numpy()
    print(f"{style:6}", {name: v.shape for name, v in model.parameters().items()})
nn.Sequential([nn.Dense(8, activation="relu", input_shape=(6,)), nn.Dense(3)]).summary()

assert np.array_equal(outputs["list"], outputs["graph"]) and np.array_equal(outputs["list"], outputs["class"])
assert nn.count_parameters(model) == {"float32": 6 * 8 + 8 + 8 * 3 + 3}

seen = cr.inspect.capture(model, x)["layers.0"]  # what is inside: the weighted sums before the activation
weights = model.layers[0]
assert np.allclose(seen.weighted_sum, x @ weights.weight.numpy() + weights.bias.numpy(), atol=1e-6)
assert np.array_equal(seen.output, np.maximum(seen.weighted_sum, 0))
