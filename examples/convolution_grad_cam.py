# SPDX-License-Identifier: Apache-2.0
"""What a network looks at: Grad-CAM finds the cross or the ring in noise, although only its name was ever told."""

import numpy as np

import chainrule as cr
from chainrule import inspect, losses, nn, optim


def pictures(rng, count):
    """16x16 noise with a cross (0) or a ring (1) of 6x6 pixels; (images, classes, corners)."""
    shapes = np.zeros((2, 6, 6), "float32")
    shapes[0, 2:4], shapes[0, :, 2:4], shapes[1] = 1.5, 1.5, 1.5
    shapes[1, 1:5, 1:5] = 0
    y, corners = rng.integers(0, 2, count), rng.integers(0, 11, (count, 2))
    x = 0.3 * rng.standard_normal((count, 16, 16, 1)).astype("float32")
    for image, kind, (row, column) in zip(x, y, corners, strict=True):
        image[row:row + 6, column:column + 6, 0] += shapes[kind]
    return x, y, corners


cr.random.seed(0)
rng, optimizer = np.random.default_rng(0), optim.Adam(5e-3)
model = nn.Sequential([nn.Conv2D(8, 3, padding="same", activation="relu"),
                       nn.Conv2D(16, 3, padding="same", activation="relu"),
                       nn.MaxPool2D(2), nn.Conv2D(16, 3, padding="same", activation="relu"), nn.GlobalAvgPool2D(),
                       nn.Dense(2)])


@cr.compile
def step(x, y):
    value = losses.cross_entropy(model(x, training=True), y)
    optimizer.update(model, cr.gradients(value, model))
    return value


for _ in range(150):
    x, y, _ = pictures(rng, 32)
    step(x, y)

x, y, corners = pictures(np.random.default_rng(1), 100)
heat = inspect.grad_cam(model, x, layer=3)
peaks = np.array([np.unravel_index(h.argmax(), h.shape) for h in heat])
inside = np.all((corners <= peaks) & (peaks < corners + 6), axis=1).mean()
print(f"named right: {(model(x).numpy().argmax(1) == y).mean():.0%}; the brightest point lies in the object: "
      f"{inside:.0%}")
print("the first picture's map, in tenths:")
print("\n".join("".join(f"{int(9 * value)}" if value > 0.5 else "." for value in row) for row in heat[0]))
print("written:", inspect.draw_grad_cam(model, x[:8], 3, "grad_cam.png"),
      inspect.draw_feature_maps(model, x[0], 1, "maps.png"), inspect.draw_filters(model[0], "filters.png"))

assert inside >= 0.8
