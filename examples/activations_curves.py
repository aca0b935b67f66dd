# SPDX-License-Identifier: Apache-2.0
"""Activations with their derivatives, one of your own beside them, and what they do to a deep network's gradients.

The picture goes to activations.png. ReLU's derivative at 0 is 0; leaky ReLU maps to all real numbers.
"""

import numpy as np

import chainrule as cr
from chainrule import inspect, nn, train


def bent(x):
    """(sqrt(x^2 + 1) - 1) / 2 + x."""
    return (cr.sqrt(x * x + 1) - 1) / 2 + x


print("picture:", inspect.draw_activations(["sigmoid", "tanh", "relu", "leaky_relu", "gelu", "silu", "mish", bent],
                                           "activations.png"))
x, y, slope = inspect.activation_curve(bent)
np.testing.assert_allclose(slope, x / (2 * np.sqrt(x * x + 1)) + 1, atol=1e-12)
assert inspect.activation_curve("relu")[2][200] == 0 and inspect.activation_curve("leaky_relu")[1].min() < 0

inputs = np.random.default_rng(0).normal(size=(100, 16)).astype("float32")
labels = np.arange(100) % 4
ratio = {}
for name, initializer in (("sigmoid", "glorot_uniform"), ("tanh", "glorot_uniform"), ("relu", "he_normal")):
    cr.random.seed(0)
    model = nn.Sequential([*[nn.Dense(64, activation=name, weight_initializer=initializer) for _ in range(20)],
                           nn.Dense(4)])
    report = train.gradient_report(model, (inputs, labels), loss="cross_entropy")
    ratio[name] = report[-1].gradient / report[0].gradient
    print(f"20 layers of {name:8} gradient of the first layer / of the last: {ratio[name]:.2g}")

print("softmax of logits around 10000:", cr.softmax(np.array([1e4, 1e4 + 1])).numpy().round(3))

assert ratio["sigmoid"] < 1e-6 and 0.1 < ratio["relu"] < 10
