# SPDX-License-Identifier: Apache-2.0
"""Shared weights: a convolution does the same everywhere, so a shifted image gives shifted maps; padding and pooling
decide how much of that is left."""

import numpy as np

import chainrule as cr
from chainrule import inspect, nn

cr.random.seed(0)
x = np.random.default_rng(0).standard_normal((4, 16, 16, 1)).astype("float32")
models = {
    "convolution, ends joined": nn.Conv2D(4, 3, padding="same", padding_mode="circular"),
    "convolution, zeros around": nn.Conv2D(4, 3, padding="same"),
    "convolution and pooling": nn.Sequential([nn.Conv2D(4, 3, padding="same", padding_mode="circular"),
                                              nn.MaxPool2D(2)]),
    "and the mean of all pixels": nn.Sequential([nn.Conv2D(4, 3, padding="same", padding_mode="circular"), nn.ReLU(),
                                                 nn.GlobalAvgPool2D()]),
    "fully connected": nn.Sequential([nn.Flatten(), nn.Dense(4)]),
}
found = {name: inspect.shifts(model, x, (1, 2)) for name, model in models.items()}
for name, report in found.items():
    print(f"{name}\n  " + str(report).replace("\n", "\n  "))

shared = sum(v.size for v in models["convolution, zeros around"].parameters().values())
print("numbers to learn: convolution", shared, "- fully connected to as many outputs", 16 * 16 * 16 * 16 * 4)

assert found["convolution, ends joined"].equivariance[1] < 1e-5
assert found["convolution, zeros around"].equivariance[1] > 1e-3
assert list(found["convolution and pooling"].equivariance) == [2]  # only by whole steps of the pooling
assert found["and the mean of all pixels"].invariance[1] < 1e-5
assert found["fully connected"].invariance[1] > 0.1
