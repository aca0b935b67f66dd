"""
4. Hidden layers: what one neuron cannot do
===========================================

One neuron divides the plane by a straight line. Two spirals cannot be divided like that. Neurons in a *hidden layer*
bend and fold the plane, until the last one can divide it.
"""

import matplotlib.pyplot as plt
import numpy as np

import chainrule as cr
from chainrule import nn, optim
from chainrule.data import two_spirals

x, y = two_spirals(600, seed=0)


def train(*layers):
    model = nn.Sequential([*layers, nn.Dense(2)])
    cr.fit(
        model,
        (x, y),
        loss="cross_entropy",
        optimizer=optim.Adam(1e-2),
        epochs=150,
        batch_size=64,
        progress=False,
        seed=1,
    )
    return model


# %%
# Three models: none, one and two hidden layers. The activation function matters as much as the layers: without it, two
# layers are one (the product of two matrices is a matrix).

models = {
    "no hidden layer": train(),
    "one of 32 neurons": train(nn.Dense(32, activation="relu")),
    "two of 32 neurons": train(
        nn.Dense(32, activation="relu"), nn.Dense(32, activation="relu")
    ),
}
share = {
    name: float((model(x).numpy().argmax(1) == y).mean())
    for name, model in models.items()
}
for name, value in share.items():
    print(f"{name:18} {value:.1%} right")

# %%
# The colours are what each model says about each point of the plane.

size = np.abs(x).max() * 1.1
axis = np.linspace(-size, size, 120, dtype="float32")
plane = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
figure, places = plt.subplots(1, 3, figsize=(11, 3.6))
for place, (name, model) in zip(places, models.items(), strict=True):
    answer = cr.softmax(model(plane)).numpy()[:, 1].reshape(120, 120)
    place.imshow(
        answer,
        extent=(-size, size, -size, size),
        origin="lower",
        cmap="coolwarm",
        alpha=0.6,
        vmin=0,
        vmax=1,
    )
    place.scatter(*x.T, c=y, cmap="coolwarm", s=4)
    place.set_title(f"{name}: {share[name]:.0%}")
plt.show()

# %%
# What one should have seen:

assert share["no hidden layer"] < 0.75
assert share["two of 32 neurons"] > 0.97
