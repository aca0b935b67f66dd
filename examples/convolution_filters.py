# SPDX-License-Identifier: Apache-2.0
"""Filters: fixed ones that find edges and blur, and one that learns to be Sobel's from examples of what it does."""

import numpy as np

import chainrule as cr
from chainrule import losses, nn, optim

SOBEL = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], "float32")

image = np.zeros((8, 8), "float32")
image[:, 4:] = 1  # dark on the left, light on the right
print("Sobel on an upright edge, one row:", cr.correlate(image, SOBEL, "same").numpy()[3, 1:7])
print("all ones, 3x3, is nine times the mean of the neighbours:",
      cr.correlate(image, np.ones((3, 3)), "same").numpy()[3, 2:6])


def fixed(kernel):
    """A layer whose kernel is given and is not trained."""
    layer = nn.Conv2D(1, 3, padding="same", bias=False,
                      weight_initializer=lambda shape, dtype: kernel.reshape(shape).astype(dtype))
    layer(np.zeros((1, 8, 8, 1), "float32"))
    layer.freeze()
    return layer


edges = fixed(SOBEL)
learner, optimizer = nn.Conv2D(1, 3, padding="same", bias=False), optim.Adam(0.05)
rng = np.random.default_rng(0)


@cr.compile
def step(x):
    value = losses.mean_squared_error(learner(x), edges(x))
    optimizer.update(learner, cr.gradients(value, learner))
    return value


for _ in range(300):
    value = step(rng.standard_normal((16, 8, 8, 1)).astype("float32"))
found = learner.weight.numpy()[:, :, 0, 0]
print("learnt from examples (loss", f"{value.item():.2e})\n", found.round(2))

ramp = np.broadcast_to(np.arange(8.0), (8, 8)).astype("float32")
assert np.all(cr.correlate(ramp, SOBEL, "valid").numpy() == 8)
assert np.abs(found - SOBEL).max() < 0.05
