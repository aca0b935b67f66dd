# SPDX-License-Identifier: Apache-2.0
"""Clips: which way does a dot move? A convolution over space and time, and a recurrent one that sees image after image;
then the picture that a filter of the first network likes best."""

import numpy as np

import chainrule as cr
from chainrule import inspect, losses, nn, optim

rng = np.random.default_rng(0)
cr.random.seed(0)
WAYS = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])


def clips(count, steps=4, size=8):
    """Noise with a bright dot that goes right, left, down or up; (clips, ways)."""
    ways, places = rng.integers(0, 4, count), rng.integers(3, size - 3, (count, 2))
    x = 0.2 * rng.standard_normal((count, steps, size, size, 1)).astype("float32")
    for clip, way, place in zip(x, ways, places, strict=True):
        for t in range(steps):
            row, column = (place + (t - 1) * WAYS[way]) % size
            clip[t, row, column] += 2
    return x, ways


NETWORKS = {
    "over space and time": nn.Sequential([nn.Conv3D(12, 3, activation="relu"), nn.GlobalMaxPool3D(), nn.Dense(4)]),
    "image after image": nn.Sequential([nn.ConvLSTM2D(8, 3), nn.Flatten(), nn.Dense(4)]),
}
for name, model in NETWORKS.items():
    optimizer = optim.Adam(1e-2)

    @cr.compile
    def step(x, y, model=model, optimizer=optimizer):
        value = losses.cross_entropy(model(x, training=True), y)
        optimizer.update(model, cr.gradients(value, model))
        return value
    for _ in range(150):
        value = step(*clips(32))
    x, y = clips(300)
    right = (model(x).numpy().argmax(1) == y).mean()
    print(f"{name}: loss {value.item():.3f}, {right:.0%} of new clips right")
    assert right > 0.9

liked = inspect.maximize_activation(NETWORKS["over space and time"], 0, 0, seed=0)
print("where the clip that its first filter likes best is brightest, image by image:",
      [tuple(int(i) for i in np.unravel_index(image.argmax(), image.shape[:2])) for image in liked])
assert liked.shape == (4, 8, 8, 1)
